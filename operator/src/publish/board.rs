//! What is in force, for all dataplanes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use policy::error::chain;
use policy::names::{ObjectRef, TenantName};
use policy::problem::Severity;
use policy::snapshot::{Blob, ContentHash, Revision, TenantSnapshot};
use policy::upstream::ServicePort;
use tokio::sync::mpsc;

use super::follower::{Follower, Have, Set};
use super::needs::{Needs, Ports};
use crate::metrics::Metrics;
use crate::reconcile::Delta;

/// Dataplanes that follow at once.
const MAX_FOLLOWERS: usize = 4096;

/// One tenant, encoded.
#[derive(Clone, Debug)]
pub(super) struct Published {
    /// Its place in time.
    pub(super) revision: Revision,
    /// What it says.
    pub(super) hash: ContentHash,
    /// As it travels.
    pub(super) encoded: Bytes,
    /// For who has nothing of it, and for the canary set.
    pub(super) canary: bool,
}

/// What a dataplane said of a tenant.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What it runs.
    pub revision: Revision,
    /// What that says, where the dataplane had it when it came.
    pub hash: Option<ContentHash>,
    /// What it did not apply as sent.
    pub nacks: Vec<(ObjectRef, Severity, String)>,
}

/// What is heard from dataplanes, by who keeps the world and who writes statuses.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A dataplane came.
    Came {
        /// The ports that it needs.
        needs: Vec<ServicePort>,
        /// Whether no other of its set follows.
        first: bool,
    },
    /// A dataplane said of a tenant what became of it.
    Said(TenantName),
}

/// Who publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// This replica, in this term.
    Here(u64),
    /// Another one, at its address if that is known.
    Elsewhere(Option<String>),
}

/// What is in force, and who follows it.
#[derive(Debug)]
pub struct Board {
    posted: Mutex<Posted>,
    heard: mpsc::Sender<Heard>,
    /// Ports of Services that every dataplane is told of.
    own: Ports,
    metrics: Metrics,
}

#[derive(Debug)]
pub(super) struct Posted {
    pub(super) publisher: Publisher,
    /// Whether all is there that a complete set has.
    pub(super) complete: bool,
    n: u64,
    /// `None`: it exists, and nothing can be said of it.
    pub(super) tenants: BTreeMap<TenantName, Option<Published>>,
    /// Of those that have some.
    labels: BTreeMap<TenantName, BTreeMap<String, String>>,
    /// Where tenants lead.
    services: BTreeMap<TenantName, Arc<Ports>>,
    pub(super) endpoints: BTreeMap<ServicePort, Bytes>,
    followers: HashMap<u64, Arc<Follower>>,
    applied: HashMap<u64, HashMap<TenantName, Applied>>,
    next_follower: u64,
}

impl Board {
    /// An empty one; nothing is published until [`Self::begin`]. Every dataplane is told of the ports in `own`.
    #[must_use]
    pub fn new(heard: mpsc::Sender<Heard>, own: impl IntoIterator<Item = ServicePort>, metrics: Metrics) -> Self {
        let posted = Posted {
            publisher: Publisher::Elsewhere(None),
            complete: false,
            n: 0,
            tenants: BTreeMap::new(),
            labels: BTreeMap::new(),
            services: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            followers: HashMap::new(),
            applied: HashMap::new(),
            next_follower: 0,
        };
        Self { posted: Mutex::new(posted), heard, own: own.into_iter().collect(), metrics }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This replica publishes from here, once it has said everything.
    pub fn begin(&self, term: u64) {
        let mut posted = self.lock();
        posted.publisher = Publisher::Here(term);
        self.metrics.publishes.set(1);
        (posted.n, posted.complete) = (0, false);
        posted.tenants.clear();
        posted.labels.clear();
        posted.services.clear();
        posted.endpoints.clear();
    }

    /// Another replica publishes; who follows here is sent there.
    pub fn yield_to(&self, address: Option<String>) {
        let mut posted = self.lock();
        posted.publisher = Publisher::Elsewhere(address);
        self.metrics.publishes.set(0);
        self.metrics.dataplanes.set(0);
        posted.complete = false;
        posted.applied.clear();
        for (_, follower) in posted.followers.drain() {
            follower.close();
        }
    }

    /// Who publishes.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.lock().publisher.clone()
    }

    /// What is different, to everybody. `complete`: with it all is said that there is.
    pub fn publish(&self, delta: &Delta, complete: bool) {
        let mut posted = self.lock();
        let Publisher::Here(term) = posted.publisher else { return };
        for (name, snapshot) in &delta.tenants {
            posted.publish_tenant(term, name, snapshot.as_deref());
            self.metrics.published.inc();
        }
        posted.labels.extend(delta.labels.iter().cloned());
        posted.services.extend(delta.services.iter().cloned());
        for name in &delta.removed {
            posted.tenants.remove(name);
            posted.labels.remove(name);
            posted.services.remove(name);
            posted.applied.values_mut().for_each(|applied| drop(applied.remove(name)));
        }
        for endpoints in &delta.endpoints {
            if let Some(encoded) = encode(endpoints) {
                posted.endpoints.insert(endpoints.service.clone(), encoded);
            }
        }
        for service in &delta.endpoints_removed {
            posted.endpoints.remove(service);
        }
        let became_complete = complete && !posted.complete;
        posted.complete |= complete;
        for follower in posted.followers.values() {
            if became_complete {
                follower.resume(&posted);
            } else if posted.complete {
                follower.change(delta);
            }
        }
    }

    /// A dataplane that follows from here on.
    ///
    /// # Errors
    /// When this replica does not publish, with who does; or there are too many.
    pub fn join(&self, name: &str, set: Set, have: Have, needs: Vec<ServicePort>) -> Result<Arc<Follower>, Publisher> {
        let mut posted = self.lock();
        if !matches!(posted.publisher, Publisher::Here(_)) || posted.followers.len() >= MAX_FOLLOWERS {
            return Err(posted.publisher.clone());
        }
        posted.next_follower += 1;
        let applied = |(tenant, (revision, hash)): (&TenantName, &(Revision, ContentHash))| {
            (tenant.clone(), Applied { revision: *revision, hash: Some(*hash), nacks: Vec::new() })
        };
        let applied = have.iter().map(applied).collect();
        let first = !posted.followers.values().any(|other| other.set == set);
        let ports = Needs::new(set.tenants.all(), self.own.clone(), needs.iter().cloned());
        let follower = Arc::new(Follower::new(posted.next_follower, name, set, (have, ports)));
        if posted.complete {
            follower.resume(&posted);
        }
        let id = posted.next_follower;
        if posted.followers.insert(id, Arc::clone(&follower)).is_none() {
            self.metrics.dataplanes.inc();
        }
        posted.applied.insert(id, applied);
        drop(posted);
        // A full queue is read soon: what it misses is asked for again when the dataplane comes again.
        let _ = self.heard.try_send(Heard::Came { needs, first });
        Ok(follower)
    }

    /// A dataplane that is gone.
    pub fn leave(&self, follower: &Follower) {
        let mut posted = self.lock();
        if posted.followers.remove(&follower.id).is_some() {
            self.metrics.dataplanes.dec();
        }
        posted.applied.remove(&follower.id);
    }

    /// What a dataplane said of a tenant.
    pub fn heard(&self, follower: &Follower, tenant: TenantName, applied: Applied) {
        if let Some(took) = follower.answered(&tenant, applied.revision) {
            self.metrics.acks.observe(took.as_secs_f64());
        }
        if let Some(of) = self.lock().applied.get_mut(&follower.id) {
            of.insert(tenant.clone(), applied);
        }
        let _ = self.heard.try_send(Heard::Said(tenant));
    }

    /// What every dataplane that gets a tenant says of it, and whether that is of what is in force; nothing from one that
    /// was never sent it.
    #[must_use]
    pub fn standing(&self, tenant: &TenantName) -> Vec<Option<(bool, Applied)>> {
        let posted = self.lock();
        let published = posted.tenant(tenant);
        let current = |applied: &Applied| {
            published.is_some_and(|one| applied.revision >= one.revision || applied.hash == Some(one.hash))
        };
        let said =
            |of: &HashMap<TenantName, Applied>| of.get(tenant).map(|applied| (current(applied), applied.clone()));
        let gets = |id: &u64| {
            posted.followers.get(id).is_some_and(|follower| {
                let canary = published.is_some_and(|one| one.canary);
                (!canary || follower.set.canary) && posted.selects(&follower.set, tenant)
            })
        };
        posted.applied.iter().filter(|(id, _)| gets(id)).map(|(_, of)| said(of)).collect()
    }

    /// The names of the dataplanes that follow.
    #[must_use]
    pub fn dataplanes(&self) -> Vec<Arc<str>> {
        self.lock().followers.values().map(|follower| Arc::clone(&follower.name)).collect()
    }
}

impl Posted {
    fn publish_tenant(&mut self, term: u64, name: &TenantName, snapshot: Option<&TenantSnapshot>) {
        let Some(snapshot) = snapshot else {
            self.tenants.entry(name.clone()).or_insert(None);
            return;
        };
        self.n += 1;
        let revision = Revision { term, n: self.n };
        let Some(encoded) = encode(&TenantSnapshot { revision, ..snapshot.clone() }) else { return };
        if encoded.len() > super::MAX_MESSAGE_BYTES {
            let (bytes, most) = (encoded.len(), super::MAX_MESSAGE_BYTES);
            tracing::error!(tenant = %name, bytes, most, "a tenant is too large to be sent; what is in force stays");
            return;
        }
        let published = Published { revision, hash: snapshot.hash, encoded, canary: snapshot.base.canary };
        self.tenants.insert(name.clone(), Some(published));
    }

    /// Whether a set serves a tenant.
    pub(super) fn selects(&self, set: &Set, tenant: &TenantName) -> bool {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        set.tenants.matches(self.labels.get(tenant).unwrap_or(&NONE))
    }

    /// Where a tenant leads.
    pub(super) fn services(&self, tenant: &TenantName) -> Arc<Ports> {
        self.services.get(tenant).map(Arc::clone).unwrap_or_default()
    }

    /// What a tenant is now, for who is to be sent it.
    pub(super) fn tenant(&self, name: &TenantName) -> Option<&Published> {
        self.tenants.get(name).and_then(Option::as_ref)
    }
}

fn encode<T: serde::Serialize>(what: &T) -> Option<Bytes> {
    let encoded = Blob::encode(what).map(|blob| Bytes::copy_from_slice(blob.bytes()));
    encoded.inspect_err(|error| tracing::error!(error = chain(error), "cannot be encoded")).ok()
}
