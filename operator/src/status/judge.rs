//! When a tenant's objects are judged: when all dataplanes have answered, or after a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use policy::names::{ObjectRef, TenantName};
use policy::problem::{Problem, Severity};
use policy::status::ObjectStatus;

use super::{Standing, Verdict, Writer, verdict, worth_writing};
use crate::gather::lists::Statuses;
use crate::gather::{Meta, Written};
use crate::publish::{Applied, Board};
use crate::reconcile::{Delta, World};

/// How long dataplanes may take to answer before it is said that they have not.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody took too long.
pub const LOOK: Duration = Duration::from_millis(250);

/// Tenants whose objects are to be judged.
pub struct Judge {
    board: Arc<Board>,
    writer: Arc<Writer>,
    waiting: BTreeMap<TenantName, Instant>,
    /// Judged while a dataplane had not answered. Its answer may be lost with its connection, and what it has is then
    /// known when it comes again, or it never comes: nobody says so, and it is looked at.
    behind: BTreeSet<TenantName>,
}

impl Judge {
    /// Nobody to judge yet.
    #[must_use]
    pub fn new(board: Arc<Board>, writer: Arc<Writer>) -> Self {
        Self { board, writer, waiting: BTreeMap::new(), behind: BTreeSet::new() }
    }

    /// Something was said of these anew.
    pub fn mark(&mut self, delta: &Delta, world: &World, statuses: &mut Statuses) {
        let until = Instant::now() + PATIENCE;
        for name in &delta.judged {
            self.look_at(name, until, world, statuses);
        }
        for object in &delta.judged_homeless {
            if let Some(problem) = world.homeless(object) {
                self.say(object, world, &[problem], &Standing::default(), statuses);
            }
        }
    }

    /// A dataplane said what became of a tenant.
    pub fn heard(&mut self, tenant: &TenantName, world: &World, statuses: &mut Statuses) {
        self.look_at(tenant, Instant::now(), world, statuses);
    }

    /// Whether anybody waits.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty() || !self.behind.is_empty()
    }

    /// Forgets all: another replica writes.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.behind.clear();
        self.writer.clear();
    }

    /// Judges whose time is over, and who was behind and is no more.
    pub fn look(&mut self, world: &World, statuses: &mut Statuses) {
        let now = Instant::now();
        let due = self.waiting.extract_if(.., |_, until| *until <= now);
        let mut due: BTreeSet<TenantName> = due.map(|(name, _)| name).collect();
        due.extend(self.behind.iter().filter(|name| all_answered(&self.board.standing(name))).cloned());
        for name in due {
            self.judge(&name, world, statuses);
        }
    }

    /// Judges one that all dataplanes have answered for, or whose time is over; else it waits, no longer than it did.
    fn look_at(&mut self, name: &TenantName, until: Instant, world: &World, statuses: &mut Statuses) {
        let until = self.waiting.remove(name).unwrap_or(until);
        if until <= Instant::now() || all_answered(&self.board.standing(name)) {
            self.judge(name, world, statuses);
        } else {
            self.waiting.insert(name.clone(), until);
        }
    }

    fn judge(&mut self, name: &TenantName, world: &World, statuses: &mut Statuses) {
        self.behind.remove(name);
        let (Some(owned), Some(settled)) = (world.ownership().tenants.get(name), world.tenant(name)) else { return };
        let mut problems: BTreeMap<&ObjectRef, Vec<&Problem>> = BTreeMap::new();
        for problem in &settled.problems {
            problems.entry(&problem.object).or_default().push(problem);
        }
        let said = self.board.standing(name);
        if !all_answered(&said) {
            self.behind.insert(name.clone());
        }
        let objects = world.ownership().objects_of(world.gathered(), name);
        for object in std::iter::once(owned.object.clone()).chain(objects) {
            let problems = problems.get(&object).map(Vec::as_slice).unwrap_or_default();
            self.say(&object, world, problems, &standing(&object, &said), statuses);
        }
    }

    fn say(
        &self,
        object: &ObjectRef,
        world: &World,
        problems: &[&Problem],
        standing: &Standing,
        statuses: &mut Statuses,
    ) {
        let Some(Meta { generation, uid, .. }) = world.meta(object) else { return };
        let before: ObjectStatus = statuses.get(object).and_then(Written::read).unwrap_or_default();
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = verdict(&Verdict { generation: *generation, problems, standing, now: &now }, &before);
        if !worth_writing(&before, &status, standing.refused.is_some()) {
            return;
        }
        // What is on its way is what the object says, for the next who looks.
        statuses.insert(object.clone(), Written::of(&serde_json::to_value(&status).unwrap_or_default()));
        let uid = Some(uid.to_string()).filter(|uid| !uid.is_empty());
        self.writer.write(object.clone(), uid, before, status);
    }
}

/// Whether all dataplanes have said what became of what is in force.
fn all_answered(said: &[Option<(bool, Applied)>]) -> bool {
    said.iter().all(|one| one.as_ref().is_some_and(|(current, _)| *current))
}

/// What all dataplanes say of one object.
fn standing(object: &ObjectRef, said: &[Option<(bool, Applied)>]) -> Standing {
    let mut standing = Standing { following: said.len(), ..Standing::default() };
    for (current, applied) in said.iter().flatten() {
        let nack = applied.nacks.iter().find(|(of, severity, _)| of == object && *severity == Severity::Error);
        match nack {
            Some((_, _, reason)) => standing.refused = Some(reason.clone()),
            None if *current => standing.running += 1,
            None => {}
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use kube::{Client, Config};
    use policy::names::Kind;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::*;
    use crate::metrics::Metrics;
    use crate::publish::{Have, Set};
    use crate::reconcile::tests::{raw, route, service};

    const ROUTE: (Kind, &str, &str) = (Kind::Route, "acme", "r");

    /// What the route says of being programmed.
    fn programmed(statuses: &Statuses) -> String {
        let (kind, namespace, name) = ROUTE;
        let status: ObjectStatus =
            statuses.get(&ObjectRef::new(kind, namespace, name)).and_then(Written::read).unwrap();
        let last = status.conditions.last().unwrap();
        format!("{} {} {}", last.type_, last.reason, status.dataplanes.unwrap())
    }

    fn late(judge: &mut Judge, world: &World, statuses: &mut Statuses) {
        judge.waiting.values_mut().for_each(|until| *until = Instant::now());
        judge.look(world, statuses);
    }

    #[tokio::test]
    async fn an_answer_that_was_lost_with_its_connection_is_known_when_the_dataplane_comes_again_or_stays_away() {
        let client = Client::try_from(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let metrics = Metrics::new().unwrap();
        let board = Arc::new(Board::new(mpsc::channel(16).0, [], metrics.clone()));
        let mut judge = Judge::new(Arc::clone(&board), Arc::new(Writer::new(client, "one", metrics)));
        let (mut world, mut statuses) = (World::default(), Statuses::default());
        world.apply(raw(
            Kind::Tenant,
            "",
            "acme",
            json!({"spec": {"namespaces": {"names": ["acme"]}, "hostnames": ["acme.example"]}}),
        ));
        world.apply(service("acme"));
        board.begin(1);
        board.publish(&world.settle(), true);
        let joins = |name: &str, have: Have| {
            board.join(name, Set { canary: false, tenants: "{}".parse().unwrap() }, have, Vec::new()).unwrap()
        };
        let (quiet, gone) = (joins("quiet", Have::new()), joins("gone", Have::new()));
        world.apply(route("acme", "r", json!({})));
        let delta = world.settle();
        board.publish(&delta, true);
        judge.mark(&delta, &world, &mut statuses);
        late(&mut judge, &world, &mut statuses);
        assert_eq!(programmed(&statuses), "Programmed Pending 0/2");
        // One applied it, and its answer is lost; the other one is never seen again.
        board.leave(&quiet);
        board.leave(&gone);
        let (tenant, snapshot) = delta.tenants.first().unwrap();
        let snapshot = snapshot.as_ref().unwrap();
        let _again = joins("quiet", Have::from([(tenant.clone(), (snapshot.revision, snapshot.hash))]));
        assert!(judge.waits());
        judge.look(&world, &mut statuses);
        assert_eq!(programmed(&statuses), "Programmed Programmed 1/1");
        assert!(!judge.waits(), "nobody is behind any more");
    }
}
