//! Problems, and what dataplanes say, to conditions.

use policy::problem::{Problem, ProblemKind, Severity};
use policy::status::{Condition, ConditionStatus, ObjectStatus};

/// The longest message of a condition, in characters.
const MAX_MESSAGE: usize = 8192;

/// What dataplanes say of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many run it as it is now.
    pub running: usize,
    /// Of how many.
    pub following: usize,
    /// Why one does not.
    pub refused: Option<String>,
}

/// All that is known of one object.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// Its generation.
    pub generation: Option<i64>,
    /// What is wrong with it.
    pub problems: &'a [&'a Problem],
    /// What dataplanes say.
    pub standing: &'a Standing,
    /// The time, as RFC 3339.
    pub now: &'a str,
}

/// The status that says so; times of what did not change stay.
#[must_use]
pub fn verdict(of: &Verdict<'_>, before: &ObjectStatus) -> ObjectStatus {
    let Standing { running, following, .. } = of.standing;
    let conditions = [accepted(of.problems), resolved(of.problems), programmed(of)];
    let conditions = conditions.into_iter().map(|(type_, status, reason, message)| {
        let known = before.conditions.iter().find(|known| known.type_ == type_ && known.status == status);
        let since = known.map_or_else(|| of.now.to_owned(), |known| known.last_transition_time.clone());
        Condition {
            type_: type_.to_owned(),
            status,
            reason: format!("{reason:?}"),
            message,
            observed_generation: of.generation,
            last_transition_time: since,
        }
    });
    ObjectStatus { conditions: conditions.collect(), dataplanes: Some(format!("{running}/{following}")) }
}

/// Why a condition stands as it does. Each has its row in `docs/operator.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionReason {
    /// It is right.
    Accepted,
    /// The object is wrong in itself.
    Invalid,
    /// Its Tenant does not allow it.
    NotAllowed,
    /// An older Tenant holds what it claims.
    Conflict,
    /// This version does not enforce what it asks for.
    NotEnforced,
    /// All that it names is there.
    ResolvedRefs,
    /// Something that it names is missing, or not granted.
    RefNotResolved,
    /// Every dataplane runs it.
    Programmed,
    /// It is not programmed as written.
    LastGood,
    /// A dataplane does not take it.
    Refused,
    /// No dataplane is there to take it.
    NoDataplanes,
    /// Some dataplanes have not answered.
    Pending,
}

impl ConditionReason {
    /// All of them, in the order of their conditions.
    pub const ALL: [Self; 12] = [
        Self::Accepted,
        Self::Invalid,
        Self::NotAllowed,
        Self::Conflict,
        Self::NotEnforced,
        Self::ResolvedRefs,
        Self::RefNotResolved,
        Self::Programmed,
        Self::LastGood,
        Self::Refused,
        Self::NoDataplanes,
        Self::Pending,
    ];
}

type Said = (&'static str, ConditionStatus, ConditionReason, String);

fn accepted(problems: &[&Problem]) -> Said {
    let wrong: Vec<&Problem> = errors(problems).filter(|problem| problem.kind != ProblemKind::UnresolvedRef).collect();
    let reason = match wrong.first().map(|problem| problem.kind) {
        None => {
            let warnings: Vec<&Problem> =
                problems.iter().copied().filter(|problem| problem.severity == Severity::Warning).collect();
            return ("Accepted", ConditionStatus::True, ConditionReason::Accepted, message(&warnings));
        }
        Some(ProblemKind::Conflict) => ConditionReason::Conflict,
        Some(ProblemKind::NotAllowed) => ConditionReason::NotAllowed,
        Some(ProblemKind::NotEnforced) => ConditionReason::NotEnforced,
        Some(ProblemKind::Invalid | ProblemKind::UnresolvedRef) => ConditionReason::Invalid,
    };
    ("Accepted", ConditionStatus::False, reason, message(&wrong))
}

fn resolved(problems: &[&Problem]) -> Said {
    let missing: Vec<&Problem> =
        errors(problems).filter(|problem| problem.kind == ProblemKind::UnresolvedRef).collect();
    if missing.is_empty() {
        return ("ResolvedRefs", ConditionStatus::True, ConditionReason::ResolvedRefs, String::new());
    }
    ("ResolvedRefs", ConditionStatus::False, ConditionReason::RefNotResolved, message(&missing))
}

fn programmed(of: &Verdict<'_>) -> Said {
    let Standing { running, following, refused } = of.standing;
    let not = |reason, message: String| ("Programmed", ConditionStatus::False, reason, message);
    if errors(of.problems).next().is_some() {
        return not(
            ConditionReason::LastGood,
            "not as written: see the other conditions; its traffic settings are those of before, or it refuses"
                .to_owned(),
        );
    }
    if let Some(why) = refused {
        return not(
            ConditionReason::Refused,
            bounded(format!("a dataplane cannot read it and refuses where it answers: {why}")),
        );
    }
    match following {
        0 => not(ConditionReason::NoDataplanes, "no dataplane that gets it follows the operator".to_owned()),
        all if running < all => not(
            ConditionReason::Pending,
            format!("{} of {all} dataplanes have not said that they run it", all - running),
        ),
        _ => ("Programmed", ConditionStatus::True, ConditionReason::Programmed, String::new()),
    }
}

fn errors<'p>(problems: &'p [&'p Problem]) -> impl Iterator<Item = &'p Problem> {
    problems.iter().copied().filter(|problem| problem.severity == Severity::Error)
}

fn message(problems: &[&Problem]) -> String {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("{}: {}; {}", problem.field, problem.message, problem.help)).collect();
    bounded(lines.join("\n"))
}

fn bounded(text: String) -> String {
    if text.chars().count() <= MAX_MESSAGE {
        text
    } else {
        text.chars().take(MAX_MESSAGE).chain("...".chars()).collect()
    }
}

/// Whether a status says something that the one before did not. A dataplane that comes or goes says nothing of an
/// object that did not change, unless it refuses it.
#[must_use]
pub fn worth_writing(before: &ObjectStatus, now: &ObjectStatus, refused: bool) -> bool {
    let timeless = |status: &ObjectStatus| -> Vec<Condition> {
        let without = |condition: &Condition| Condition { last_transition_time: String::new(), ..condition.clone() };
        status.conditions.iter().map(without).collect()
    };
    let (old, new) = (timeless(before), timeless(now));
    if old == new {
        // How many there are is told with the next change.
        return before.dataplanes.is_none();
    }
    let programmed = |conditions: &[Condition]| conditions.iter().position(|one| one.type_ == "Programmed");
    let was = programmed(&old).and_then(|at| old.get(at)).is_some_and(|one| one.status == ConditionStatus::True);
    let others = |conditions: &[Condition]| -> Vec<Condition> {
        conditions.iter().filter(|one| one.type_ != "Programmed").cloned().collect()
    };
    refused || !was || others(&old) != others(&new)
}

#[cfg(test)]
mod tests {
    use policy::names::{Kind, ObjectRef};

    use super::*;

    fn problem(kind: ProblemKind) -> Problem {
        Problem {
            object: ObjectRef::new(Kind::Route, "acme", "r"),
            field: "spec.rules[0]".to_owned(),
            message: "is wrong".to_owned(),
            help: "write it right".to_owned(),
            severity: Severity::Error,
            kind,
        }
    }

    fn said(
        generation: i64,
        problems: &[&Problem],
        running: usize,
        following: usize,
        before: &ObjectStatus,
    ) -> ObjectStatus {
        let standing = Standing { running, following, refused: None };
        let now = format!("2026-01-0{generation}T00:00:00Z");
        verdict(&Verdict { generation: Some(generation), problems, standing: &standing, now: &now }, before)
    }

    fn short(status: &ObjectStatus) -> Vec<(String, ConditionStatus, String)> {
        status.conditions.iter().map(|one| (one.type_.clone(), one.status, one.reason.clone())).collect()
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_the_yaml_and_where_it_belongs() {
        let (invalid, missing) = (problem(ProblemKind::Invalid), problem(ProblemKind::UnresolvedRef));
        let status = said(1, &[&invalid, &missing], 1, 1, &ObjectStatus::default());
        let reasons: Vec<String> = short(&status).into_iter().map(|(_, _, reason)| reason).collect();
        assert_eq!(reasons, ["Invalid", "RefNotResolved", "LastGood"]);
        assert_eq!(status.conditions.first().unwrap().message, "spec.rules[0]: is wrong; write it right");
        assert_eq!(status.dataplanes.as_deref(), Some("1/1"));
    }

    #[test]
    fn a_time_is_when_its_condition_last_turned() {
        let first = said(1, &[], 1, 1, &ObjectStatus::default());
        let wrong = problem(ProblemKind::UnresolvedRef);
        let second = said(2, &[&wrong], 1, 1, &first);
        let times: Vec<&str> = second.conditions.iter().map(|one| one.last_transition_time.as_str()).collect();
        assert_eq!(times, ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z"]);
    }

    #[test]
    fn a_dataplane_that_comes_or_goes_writes_nothing() {
        let good = said(1, &[], 2, 2, &ObjectStatus::default());
        for (running, following) in [(0, 0), (1, 1), (2, 3), (3, 3)] {
            let now = said(1, &[], running, following, &good);
            assert!(!worth_writing(&good, &now, false), "{running}/{following}");
        }
        let refused = said(1, &[], 1, 2, &good);
        assert!(worth_writing(&good, &refused, true));
        assert!(worth_writing(&good, &said(2, &[], 2, 2, &good), false), "another generation is news");
        assert!(worth_writing(&ObjectStatus::default(), &good, false));
    }
}
