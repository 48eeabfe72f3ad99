//! What became of what was acknowledged: lost, overtaken, repeated, or come under another number.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::traffic::{Acknowledged, Sent};
use crate::upstream::{Received, Upstream};

/// How long nothing that is missing may come before it counts as lost. A shard has what it drained to a broker that
/// forgot it drained again after two minutes.
const SILENCE: Duration = Duration::from_secs(180);
/// How long one destination is looked at before the next.
const PACE: Duration = Duration::from_millis(100);
/// How many offences are told whole.
const TOLD: usize = 5;

/// One attempt to deliver, as the destination saw it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The provider's id, which is the event's.
    pub id: String,
    /// Its number.
    pub sequence: String,
    /// The number that it follows.
    pub previous: String,
    /// What else is said of it: `gap`, `late`, `redelivered`, `degraded`.
    pub flags: Vec<&'static str>,
    /// Its number was given without the shared claim.
    pub degraded: bool,
    /// The destination answered 200.
    pub taken: bool,
    /// Its place among what came and what was answered.
    pub steps: (u64, u64),
    /// When it was answered.
    pub ended: Option<Instant>,
}

/// What a destination received, as attempts.
#[must_use]
pub fn arrivals(received: &[Received]) -> Vec<Arrival> {
    received.iter().map(arrival).collect()
}

fn arrival(one: &Received) -> Arrival {
    let event = one.json();
    let text = |name: &str| event.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    let is = |name: &&str| event.get(name).and_then(serde_json::Value::as_bool).unwrap_or_default();
    let flags: Vec<_> = ["gap", "late", "redelivered", "degraded"].into_iter().filter(is).collect();
    Arrival {
        id: text("id"),
        sequence: text("sequence"),
        previous: text("previous"),
        degraded: flags.contains(&"degraded"),
        flags,
        taken: one.answered == 200,
        steps: one.steps,
        ended: one.ended,
    }
}

/// What became of what was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Acknowledged and never taken.
    pub lost: usize,
    /// Tried before one that was acknowledged before it was taken.
    pub misordered: usize,
    /// Tried again after they were taken.
    pub repeated: usize,
    /// Repeats under another number.
    pub changed: usize,
    /// Attempts on events whose number was given without the shared claim: their order and number are no promise.
    pub degraded: usize,
    /// Repeats under another number, of events that were on their way while Redis lost what it had.
    pub renumbered: usize,
    /// Acknowledged and taken.
    pub delivered: usize,
}

/// What was counted, and where it came from.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// How many.
    pub counted: Counted,
    /// Each that is lost.
    pub lost: Vec<String>,
    /// Each that was overtaken, and the one that did.
    pub misordered: Vec<(String, String)>,
    /// Each that came under another number.
    pub changed: Vec<String>,
}

/// Compares what was acknowledged with what arrived.
#[must_use]
pub fn count(acknowledged: &Acknowledged, arrivals: &[Arrival]) -> Counted {
    judge(acknowledged, arrivals, &[]).counted
}

/// The same, and says of what. Of two events of a conversation that were acknowledged one after the other the first
/// must have been taken before the second was tried at all. `losses`: when Redis lost what it had.
#[must_use]
pub fn judge(acknowledged: &Acknowledged, arrivals: &[Arrival], losses: &[(Instant, Instant)]) -> Judged {
    let mut judged = Judged::default();
    let counted = &mut judged.counted;
    let unnumbered: HashSet<&str> = arrivals.iter().filter(|one| one.degraded).map(|one| one.id.as_str()).collect();
    let during = |sent: &&Sent| losses.iter().any(|(from, to)| sent.first < *to && *from < sent.acknowledged);
    let forgotten: HashSet<&str> =
        acknowledged.values().flatten().filter(during).map(|sent| sent.id.as_str()).collect();
    let mut tried: HashMap<&str, (u64, &str)> = HashMap::new();
    let mut taken: HashMap<&str, u64> = HashMap::new();
    let mut in_order: Vec<&Arrival> = arrivals.iter().collect();
    in_order.sort_unstable_by_key(|one| one.steps.0);
    for Arrival { id, sequence, degraded, taken: was_taken, steps, .. } in in_order {
        let (_, number) = tried.entry(id).or_insert((steps.0, sequence));
        counted.degraded += usize::from(*degraded);
        if number != sequence && !unnumbered.contains(id.as_str()) {
            if forgotten.contains(id.as_str()) {
                counted.renumbered += 1;
            } else {
                counted.changed += 1;
                judged.changed.push(id.clone());
            }
        }
        match taken.get(id.as_str()).copied() {
            Some(at) if at < steps.0 => counted.repeated += 1,
            Some(at) if *was_taken => drop(taken.insert(id, at.min(steps.1))),
            None if *was_taken => drop(taken.insert(id, steps.1)),
            Some(_) | None => {}
        }
    }
    for sent in acknowledged.values() {
        // The last to be taken of all before.
        let mut latest: Option<(u64, &str)> = None;
        for id in sent.iter().map(|sent| sent.id.as_str()) {
            let Some(at) = taken.get(id) else {
                judged.lost.push(id.to_owned());
                continue;
            };
            counted.delivered += 1;
            if unnumbered.contains(id) {
                continue;
            }
            if let (Some((before_at, before)), Some((tried, _))) = (latest, tried.get(id))
                && before_at > *tried
            {
                judged.misordered.push((before.to_owned(), id.to_owned()));
            }
            latest = latest.max(Some((*at, id)));
        }
    }
    counted.lost = judged.lost.len();
    counted.misordered = judged.misordered.len();
    judged
}

impl Judged {
    /// Whether everything that is promised held.
    #[must_use]
    pub fn holds(&self) -> bool {
        let Counted { lost, misordered, changed, .. } = self.counted;
        (lost, misordered, changed) == (0, 0, 0)
    }

    /// What came of the conversation around the first offences, for people.
    #[must_use]
    pub fn told(&self, acknowledged: &Acknowledged, arrivals: &[Arrival]) -> String {
        let mut text = String::new();
        let lost = self.lost.iter().map(|id| ("lost", id.as_str(), id.as_str()));
        let pairs = self.misordered.iter().map(|(before, after)| ("overtaken", before.as_str(), after.as_str()));
        let changed = self.changed.iter().map(|id| ("under another number", id.as_str(), id.as_str()));
        for (what, one, other) in lost.take(TOLD).chain(pairs.take(TOLD)).chain(changed.take(TOLD)) {
            writeln!(text, "{what}: {one} {other}").unwrap();
            let conversation = acknowledged.values().find(|sent| sent.iter().any(|sent| sent.id == one));
            let sent = conversation.map(Vec::as_slice).unwrap_or_default();
            let at = |id: &str| sent.iter().position(|sent| sent.id == id).unwrap_or_default();
            let (from, to) = (at(one).min(at(other)).saturating_sub(2), at(one).max(at(other)) + 3);
            let around = sent.get(from..to.min(sent.len())).unwrap_or_default();
            let ids: Vec<&str> = around.iter().map(|sent| sent.id.as_str()).collect();
            writeln!(text, "  acknowledged in this order: {}", ids.join(" ")).unwrap();
            let seen: BTreeMap<u64, &Arrival> = arrivals
                .iter()
                .filter(|arrival| ids.contains(&arrival.id.as_str()))
                .map(|arrival| (arrival.steps.0, arrival))
                .collect();
            for Arrival { id, sequence, previous, flags, taken, steps, .. } in seen.into_values() {
                let became = if *taken { "taken" } else { "failed" };
                writeln!(text, "  {steps:?} {id} sequence {sequence} previous {previous} {flags:?} {became}").unwrap();
            }
        }
        text
    }
}

/// Waits until nothing that was acknowledged is missing, or nothing more comes; what came.
#[must_use]
pub fn settled(receiver: &Upstream, acknowledged: &Acknowledged) -> Vec<Arrival> {
    settled_all(&[receiver], acknowledged)
}

/// The same of several destinations.
#[must_use]
pub fn settled_all(receivers: &[&Upstream], acknowledged: &Acknowledged) -> Vec<Arrival> {
    let mut missing: HashSet<&str> = acknowledged.values().flatten().map(|sent| sent.id.as_str()).collect();
    let mut came = vec![0; receivers.len()];
    let (mut all, mut last) = (Vec::new(), Instant::now());
    loop {
        for (receiver, came) in receivers.iter().zip(&mut came) {
            let more = arrivals(&receiver.received_after(*came));
            *came += more.len();
            for one in more {
                if one.taken && missing.remove(one.id.as_str()) {
                    last = Instant::now();
                }
                all.push(one);
            }
        }
        if missing.is_empty() || last.elapsed() > SILENCE {
            return all;
        }
        for (receiver, came) in receivers.iter().zip(&came) {
            let _ = receiver.wait_for_within(came + 1, PACE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events `a`, `b` and `c` of one conversation, acknowledged one after the other.
    fn acknowledged() -> Acknowledged {
        let now = Instant::now();
        let sent = |id: &str| Sent { id: id.to_owned(), first: now, acknowledged: now + Duration::from_secs(1) };
        HashMap::from([("49".to_owned(), ["a", "b", "c"].map(sent).to_vec())])
    }

    fn arrival(id: &str, sequence: u32, steps: (u64, u64), taken: bool) -> Arrival {
        let (sequence, previous) = (sequence.to_string(), String::new());
        Arrival { id: id.to_owned(), sequence, previous, flags: vec![], degraded: false, taken, steps, ended: None }
    }

    #[test]
    fn an_attempt_before_the_answer_to_any_earlier_one_is_counted() {
        let [a, b] = [arrival("a", 1, (0, 5), true), arrival("b", 2, (6, 7), true)];
        let early = [a.clone(), b.clone(), arrival("c", 3, (4, 8), false), arrival("c", 3, (9, 10), true)];
        let judged = judge(&acknowledged(), &early, &[]);
        assert_eq!(judged.misordered, [("b".to_owned(), "c".to_owned())]);
        let in_order = [a, b, arrival("c", 3, (8, 9), true)];
        assert_eq!(count(&acknowledged(), &in_order), Counted { delivered: 3, ..Counted::default() });
    }

    #[test]
    fn what_was_numbered_without_redis_hides_no_other_pair() {
        let degraded = Arrival { degraded: true, ..arrival("b", 9, (0, 1), true) };
        let judged =
            judge(&acknowledged(), &[degraded, arrival("c", 3, (2, 3), true), arrival("a", 1, (4, 5), true)], &[]);
        assert_eq!(judged.misordered, [("a".to_owned(), "c".to_owned())]);
    }

    #[test]
    fn another_number_is_excused_only_while_redis_lost_what_it_had() {
        let acknowledged = acknowledged();
        let twice = [arrival("a", 1, (0, 1), true), arrival("a", 4, (2, 3), true)];
        assert_eq!(count(&acknowledged, &twice).changed, 1);
        let first = acknowledged["49"][0].first;
        let judged = judge(&acknowledged, &twice, &[(first, first + Duration::from_millis(1))]);
        assert_eq!((judged.counted.changed, judged.counted.renumbered, judged.counted.repeated), (0, 1, 1));
        assert_eq!(judged.lost, ["b", "c"]);
    }
}
