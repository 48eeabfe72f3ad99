//! When a tenant's objects are judged: when all dataplanes have answered, or after a while.

use std::collections::BTreeMap;
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
}

impl Judge {
    /// Nobody to judge yet.
    #[must_use]
    pub fn new(board: Arc<Board>, writer: Arc<Writer>) -> Self {
        Self { board, writer, waiting: BTreeMap::new() }
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
        !self.waiting.is_empty()
    }

    /// Forgets all: another replica writes.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.writer.clear();
    }

    /// Judges whose time is over.
    pub fn look(&mut self, world: &World, statuses: &mut Statuses) {
        let now = Instant::now();
        let due = self.waiting.extract_if(.., |_, until| *until <= now);
        let due: Vec<TenantName> = due.map(|(name, _)| name).collect();
        for name in due {
            self.judge(&name, world, statuses);
        }
    }

    /// Judges one that all dataplanes have answered for, or whose time is over; else it waits, no longer than it did.
    fn look_at(&mut self, name: &TenantName, until: Instant, world: &World, statuses: &mut Statuses) {
        let until = self.waiting.remove(name).unwrap_or(until);
        let answered = || self.board.standing(name).iter().all(|one| one.as_ref().is_some_and(|(current, _)| *current));
        if until <= Instant::now() || answered() {
            self.judge(name, world, statuses);
        } else {
            self.waiting.insert(name.clone(), until);
        }
    }

    fn judge(&self, name: &TenantName, world: &World, statuses: &mut Statuses) {
        let (Some(owned), Some(settled)) = (world.ownership().tenants.get(name), world.tenant(name)) else { return };
        let mut problems: BTreeMap<&ObjectRef, Vec<&Problem>> = BTreeMap::new();
        for problem in &settled.problems {
            problems.entry(&problem.object).or_default().push(problem);
        }
        let said = self.board.standing(name);
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
