//! What watches saw, into the world. A list that is not complete removes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::runtime::watcher::{Error, Event};
use policy::error::chain;
use policy::names::{Kind, ObjectRef};

use super::Written;
use super::observed::Observed;
use super::watch::{EVERYWHERE, Seen, Which};
use crate::reconcile::{Place, World};

/// How far every watch is.
#[derive(Debug, Default)]
pub struct Lists {
    round: u64,
    /// What was listed so far, by watches that have not come to an end of it.
    listing: BTreeMap<Which, BTreeSet<ObjectRef>>,
    /// Watches that came to the end of their list in this round.
    complete: BTreeSet<Which>,
    /// What the API server called the state of an object that is known.
    versions: BTreeMap<ObjectRef, Arc<str>>,
    /// Why a watch fails, as it was last told.
    failing: BTreeMap<Which, String>,
}

/// Statuses as the API server has them, of objects that have one.
pub type Statuses = BTreeMap<ObjectRef, Written>;

impl Lists {
    /// Every kind is listed afresh from here.
    pub fn begin(&mut self, round: u64) {
        self.round = round;
        self.listing.clear();
        self.complete.clear();
    }

    /// Whether every kind was listed to its end since.
    #[must_use]
    pub fn all_complete(&self) -> bool {
        EVERYWHERE.iter().all(|kind| self.complete.contains(&(*kind, None)))
    }

    /// The kinds that were not.
    pub fn missing(&self) -> impl Iterator<Item = Kind> {
        EVERYWHERE.into_iter().filter(|kind| !self.complete.contains(&(*kind, None)))
    }

    /// Whether each of these places was listed to its end since, or is known to be unreadable.
    #[must_use]
    pub fn settled(&self, places: &BTreeSet<Place>) -> bool {
        places.iter().all(|(kind, namespace)| {
            let which = (*kind, Some(Arc::clone(namespace)));
            self.complete.contains(&which) || self.failing.contains_key(&which)
        })
    }

    /// Takes what a watch saw.
    pub fn take(&mut self, seen: Seen, world: &mut World, statuses: &mut Statuses) {
        let Seen { which, round, event } = seen;
        if round != self.round {
            return;
        }
        match event {
            Ok(event) => {
                if self.failing.remove(&which).is_some() {
                    tracing::info!(kind = %which.0, namespace = which.1.as_deref(), "the API server answers again");
                }
                self.event(which, event, world, statuses);
            }
            Err(error) => self.failed(which, &error, world),
        }
    }

    fn event(&mut self, which: Which, event: Event<Observed>, world: &mut World, statuses: &mut Statuses) {
        match event {
            Event::Init => drop(self.listing.insert(which, BTreeSet::new())),
            Event::InitApply(observed) => {
                let object = observed.object(which.0);
                self.apply(which.0, observed, world, statuses);
                if let Some(listing) = self.listing.get_mut(&which) {
                    listing.insert(object);
                }
            }
            Event::InitDone => {
                let listed = self.listing.remove(&which).unwrap_or_default();
                let known = world.objects(which.0, which.1.as_deref());
                for object in known.iter().filter(|object| !listed.contains(object)) {
                    self.remove(object, world, statuses);
                }
                if let (kind, Some(namespace)) = &which {
                    world.known((*kind, Arc::clone(namespace)));
                }
                self.complete.insert(which);
            }
            Event::Apply(observed) => self.apply(which.0, observed, world, statuses),
            Event::Delete(observed) => self.remove(&observed.object(which.0), world, statuses),
        }
    }

    fn apply(&mut self, kind: Kind, observed: Observed, world: &mut World, statuses: &mut Statuses) {
        let object = observed.object(kind);
        let version: Option<Arc<str>> = observed.resource_version().map(Arc::from);
        if version.is_some() && self.versions.get(&object) == version.as_ref() {
            return;
        }
        if let Some(version) = version {
            self.versions.insert(object.clone(), version);
        }
        let (raw, status) = observed.parts(kind);
        if matches!(kind, Kind::Tenant | Kind::Route | Kind::RateLimitPolicy | Kind::WebhookSource) {
            statuses.insert(object, Written::of(&status));
        }
        world.apply(raw);
    }

    fn remove(&mut self, object: &ObjectRef, world: &mut World, statuses: &mut Statuses) {
        self.versions.remove(object);
        statuses.remove(object);
        world.remove(object);
    }

    /// Forgets what was known of a place that is not watched any more.
    pub fn forget(&mut self, kind: Kind, namespace: &Arc<str>) {
        let which = (kind, Some(Arc::clone(namespace)));
        self.listing.remove(&which);
        self.complete.remove(&which);
        self.failing.remove(&which);
        self.versions.retain(|object, _| object.kind != kind || object.namespace != *namespace);
    }

    fn failed(&mut self, which: Which, error: &Error, world: &mut World) {
        let why = said(error);
        if self.failing.insert(which.clone(), why.clone()).as_ref() != Some(&why) {
            let (kind, namespace) = (which.0, which.1.as_deref());
            tracing::warn!(%kind, namespace, why, "the API server does not answer a watch; what is known stays");
        }
        match &which {
            (kind, Some(namespace)) => world.unreadable((*kind, Arc::clone(namespace)), why),
            // Without the Gateway API there are no grants, and so no references between namespaces.
            (Kind::ReferenceGrant, None) if is_unknown_kind(error) => drop(self.complete.insert(which)),
            (_, None) => {}
        }
    }
}

fn is_unknown_kind(error: &Error) -> bool {
    matches!(error, Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}

/// The words of the API server where it has some, else of the connection.
fn said(error: &Error) -> String {
    match error {
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status)) => {
            status.message.clone()
        }
        Error::InitialListFailed(_)
        | Error::WatchStartFailed(_)
        | Error::WatchError(_)
        | Error::WatchFailed(_)
        | Error::NoResourceVersion => chain(error),
    }
}
