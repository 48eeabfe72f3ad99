//! One dataplane that follows: what it was not sent yet, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use policy::names::TenantName;
use policy::snapshot::{ContentHash, Revision};
use policy::upstream::ServicePort;
use tokio::sync::Notify;
use wire::push::from_operator::Message;
use wire::push::{self, Complete};

use super::Selects;
use super::board::{Board, Posted, Published};
use super::needs::{Needs, Ports};
use crate::reconcile::Delta;

/// What a dataplane runs.
pub type Have = BTreeMap<TenantName, (Revision, ContentHash)>;

/// Dataplanes that are to serve the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// They get what changes of tenants that are for the canary set.
    pub canary: bool,
    /// The tenants that they serve.
    pub tenants: Selects,
}

/// One dataplane.
#[derive(Debug)]
pub struct Follower {
    pub(super) id: u64,
    /// Its name.
    pub name: Arc<str>,
    pub(super) set: Set,
    waits: Mutex<Waits>,
    more: Notify,
}

/// Names, each at most once: bounded by what there is.
#[derive(Debug, Default)]
struct Waits {
    have: Have,
    needs: Needs,
    endpoints: BTreeSet<ServicePort>,
    /// Since when.
    tenants: BTreeMap<TenantName, Instant>,
    /// Those that were sent and not answered, with the time since when they were to be.
    unanswered: BTreeMap<TenantName, (Revision, Instant)>,
    removed: BTreeSet<TenantName>,
    endpoints_removed: BTreeSet<ServicePort>,
    /// Whether it is still to be told that it has everything.
    complete: bool,
    closed: bool,
}

impl Follower {
    pub(super) fn new(id: u64, name: &str, set: Set, (have, needs): (Have, Needs)) -> Self {
        let waits = Waits { have, needs, ..Waits::default() };
        Self { id, name: name.into(), set, waits: Mutex::new(waits), more: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks what is different from what it has; nothing of what it has is sent again.
    pub(super) fn resume(&self, posted: &Posted) {
        let (mut waits, now) = (self.lock(), Instant::now());
        waits.endpoints.extend(posted.endpoints.keys().cloned());
        for (name, published) in &posted.tenants {
            if !posted.selects(&self.set, name) {
                if waits.have.contains_key(name) {
                    waits.removed.insert(name.clone());
                }
                continue;
            }
            // Nothing can be said of one that was not published: what it has stays.
            let has = |one: &Published| waits.have.get(name).is_some_and(|(_, hash)| *hash == one.hash);
            let known = published.as_ref().is_none_or(has);
            // Where it leads is looked at all the same, by who does not get all.
            if !known || !waits.needs.all() {
                waits.mark(name, now);
            }
        }
        let Waits { have, removed, complete, .. } = &mut *waits;
        removed.extend(have.keys().filter(|name| !posted.tenants.contains_key(*name)).cloned());
        *complete = true;
        drop(waits);
        self.more.notify_one();
    }

    /// Marks what is different now.
    pub(super) fn change(&self, delta: &Delta) {
        let (mut waits, now) = (self.lock(), Instant::now());
        for (name, _) in &delta.tenants {
            waits.removed.remove(name);
            waits.mark(name, now);
        }
        if !waits.needs.all() {
            delta.services.iter().for_each(|(name, _)| waits.mark(name, now));
        }
        // One that is selected now, or not any more.
        delta.labels.iter().for_each(|(name, _)| waits.mark(name, now));
        let Waits { have, needs, endpoints, tenants, removed, endpoints_removed, .. } = &mut *waits;
        for name in &delta.removed {
            tenants.remove(name);
            if have.contains_key(name) {
                removed.insert(name.clone());
            }
        }
        for one in delta.endpoints.iter().filter(|one| needs.has(&one.service)) {
            endpoints_removed.remove(&one.service);
            endpoints.insert(one.service.clone());
        }
        for service in delta.endpoints_removed.iter().filter(|service| needs.has(service)) {
            endpoints.remove(service);
            endpoints_removed.insert(service.clone());
        }
        drop(waits);
        self.more.notify_one();
    }

    /// It answered for a tenant: how long after it was to be sent. Nothing where the answer is of an earlier revision.
    pub(super) fn answered(&self, tenant: &TenantName, of: Revision) -> Option<Duration> {
        let mut waits = self.lock();
        let (_, since) = waits.unanswered.get(tenant).filter(|(revision, _)| *revision == of).copied()?;
        waits.unanswered.remove(tenant);
        Some(since.elapsed())
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.more.notify_one();
    }

    /// The next message, once there is one: endpoints before the tenants that name them, and those that nobody names
    /// any more after the tenants that did. Nothing at the end.
    pub async fn next(&self, board: &Board) -> Option<Message> {
        loop {
            let more = self.more.notified();
            if self.lock().closed {
                return None;
            }
            if let Some(message) = self.try_next(board) {
                return Some(message);
            }
            more.await;
        }
    }

    pub(super) fn try_next(&self, board: &Board) -> Option<Message> {
        // The board first, always: it marks followers while it is locked.
        let posted = board.lock();
        let mut waits = self.lock();
        loop {
            while let Some(service) = waits.endpoints.pop_first() {
                if let Some(encoded) = posted.endpoints.get(&service).filter(|_| waits.needs.has(&service)) {
                    return Some(Message::Endpoints(encoded.clone()));
                }
            }
            let Some((name, since)) = waits.tenants.pop_first() else { break };
            if let Some(message) = self.next_of((&name, since), &posted, &mut waits) {
                return Some(message);
            }
        }
        if let Some(name) = waits.removed.pop_first() {
            waits.have.remove(&name);
            waits.unanswered.remove(&name);
            waits.leave(&name, &posted);
            return Some(Message::Removed(name.to_string()));
        }
        if let Some(service) = waits.endpoints_removed.pop_first() {
            return Some(Message::EndpointsRemoved(to_wire(&service)));
        }
        std::mem::take(&mut waits.complete).then_some(Message::Complete(Complete {}))
    }

    /// What is to be said of a tenant: nothing of one that it neither has nor serves, and nothing while endpoints that
    /// the tenant leads to have to be said first.
    fn next_of(&self, (name, since): (&TenantName, Instant), posted: &Posted, waits: &mut Waits) -> Option<Message> {
        if !posted.selects(&self.set, name) {
            waits.have.remove(name)?;
            waits.unanswered.remove(name);
            waits.leave(name, posted);
            return Some(Message::Removed(name.to_string()));
        }
        let published = posted.tenant(name)?;
        let has = waits.have.get(name);
        let same = has.is_some_and(|(_, hash)| *hash == published.hash);
        if !same && published.canary && !self.set.canary && has.is_some() {
            return None;
        }
        let services = posted.services(name);
        let missing = waits.needs.expect(name, &services);
        if !missing.is_empty() {
            waits.endpoints_removed.retain(|service| !missing.contains(service));
            waits.endpoints.extend(missing);
            waits.mark(name, since);
            return None;
        }
        waits.leads(name, &services);
        if same {
            return None;
        }
        let Published { revision: Revision { term, n }, encoded, hash, .. } = published.clone();
        waits.have.insert(name.clone(), (Revision { term, n }, hash));
        waits.unanswered.insert(name.clone(), (Revision { term, n }, since));
        let revision = Some(push::Revision { term, n });
        Some(Message::Tenant(push::TenantSnapshot { name: name.to_string(), revision, body: encoded }))
    }
}

impl Waits {
    /// A tenant is to be looked at, for as long as it waits already.
    fn mark(&mut self, tenant: &TenantName, now: Instant) {
        self.tenants.entry(tenant.clone()).or_insert(now);
    }

    /// A tenant leads here and nowhere else.
    fn leads(&mut self, tenant: &TenantName, services: &Arc<Ports>) {
        let left = self.needs.lead(tenant, services);
        self.endpoints_removed.extend(left);
    }

    /// A tenant is served no more. One that it had when it came leads where it leads now, as far as is known.
    fn leave(&mut self, tenant: &TenantName, posted: &Posted) {
        self.leads(tenant, &posted.services(tenant));
        self.leads(tenant, &Arc::default());
    }
}

fn to_wire(service: &ServicePort) -> push::ServicePort {
    let ServicePort { namespace, name, port } = service;
    push::ServicePort { namespace: namespace.to_string(), name: name.to_string(), port: u32::from(*port) }
}
