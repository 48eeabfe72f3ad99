//! What is different, from a publisher that sends no more than that.

use hashbrown::HashSet;
use policy::error::chain;
use policy::names::TenantName;
use policy::snapshot::{ContentHash, Revision, TenantSnapshot};
use policy::upstream::{EndpointIr, ServiceEndpoints, ServicePort};

use super::kept_file::KeptFile;
use super::{Applied, Keeper, Nack};

/// One thing that is different.
#[derive(Clone, Debug)]
pub enum Change {
    /// A tenant.
    Tenant(Box<TenantSnapshot>),
    /// A tenant that is gone.
    Removed(TenantName),
    /// The endpoints of a port of a Service.
    Endpoints(ServiceEndpoints),
    /// A port of a Service that no tenant names any more.
    EndpointsRemoved(ServicePort),
    /// All that there is has been said.
    Complete,
}

/// What became of a tenant that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose.
    pub tenant: TenantName,
    /// What was sent.
    pub revision: Revision,
    /// What was not applied as sent.
    pub nacks: Vec<Nack>,
}

impl Keeper {
    /// A publisher is about to hear what is here: from now to [`Change::Complete`] it tells of all endpoints that are
    /// needed here.
    pub fn begin(&mut self) {
        self.holders.interrupted();
        self.told = Some(HashSet::new());
    }

    /// What runs here, for a publisher that sends only what is different.
    #[must_use]
    pub fn have(&self) -> Vec<(TenantName, Revision, ContentHash)> {
        let tenants = self.tenants.iter();
        tenants.map(|(name, kept)| (name.clone(), kept.snapshot.revision, kept.snapshot.hash)).collect()
    }

    /// The ports of Services that it leads to.
    #[must_use]
    pub fn services(&self) -> Vec<ServicePort> {
        let mut services = self.builder.services();
        services.sort_unstable();
        services.dedup();
        services
    }

    /// The endpoints of a port of a Service, once they are known.
    #[must_use]
    pub fn endpoints(&self, service: &ServicePort) -> Option<Vec<EndpointIr>> {
        self.builder.endpoints_now(service)
    }

    /// Whether the volume held a complete set.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.volume.as_ref().is_some_and(super::Volume::is_complete)
    }

    /// Applies changes in their order, in force with one swap; what is kept is given to the volume after it.
    pub fn change(&mut self, changes: Vec<Change>) -> Vec<Answer> {
        let (mut answers, mut kept, mut swaps) = (Vec::new(), Vec::new(), false);
        for change in &changes {
            match change {
                Change::Tenant(snapshot) => {
                    let mut applied = Applied::default();
                    if self.take(snapshot, &mut applied) {
                        swaps = true;
                        kept.push(snapshot.tenant.clone());
                    }
                    let (tenant, revision) = (snapshot.tenant.clone(), snapshot.revision);
                    answers.push(Answer { tenant, revision, nacks: applied.nacks });
                }
                Change::Removed(name) => {
                    swaps = true;
                    self.forget(name);
                }
                Change::Endpoints(endpoints) => {
                    self.builder.endpoints_of(endpoints);
                    if let Some(told) = &mut self.told {
                        told.insert(endpoints.service.clone());
                    }
                }
                Change::EndpointsRemoved(service) => self.builder.endpoints_gone(service),
                Change::Complete => {}
            }
        }
        if swaps {
            self.swap();
        }
        self.keep_endpoints(&changes);
        // What was taken and then removed is here no more, and is not kept.
        kept.iter().for_each(|name| self.keep(name));
        if changes.iter().any(|change| matches!(change, Change::Complete)) {
            self.complete();
        }
        self.keep_holders();
        answers
    }

    fn keep_endpoints(&self, changes: &[Change]) {
        let Some(volume) = &self.volume else { return };
        for change in changes {
            match change {
                Change::Endpoints(endpoints) => {
                    if let Err(error) = volume.keep_endpoints(endpoints) {
                        let ServicePort { namespace, name, port } = &endpoints.service;
                        let error = chain(&error);
                        tracing::warn!(%namespace, %name, port, error, "endpoints of the last good could not be kept");
                    }
                }
                Change::EndpointsRemoved(service) => volume.forget_endpoints(service),
                Change::Complete | Change::Tenant(_) | Change::Removed(_) => {}
            }
        }
    }

    /// All has been said. Endpoints that nothing here leads to and that no publisher knows of are forgotten: left over by
    /// a process that ended between them and their tenant, or gone while nobody was followed.
    fn complete(&mut self) {
        let forgotten = self.told.take().map(|told| self.builder.retain_endpoints(&told)).unwrap_or_default();
        self.forget_unread();
        self.hold_only_what_is_here();
        let Some(volume) = &self.volume else { return };
        forgotten.iter().for_each(|service| volume.forget_endpoints(service));
        volume.complete();
    }

    /// What could not be read of the volume, and was not kept anew when all was said.
    pub(super) fn forget_unread(&mut self) {
        let Some(volume) = &self.volume else { return };
        for file in self.unread.drain(..) {
            let kept_anew = match &file {
                KeptFile::Tenant(name) => self.tenants.contains_key(name),
                KeptFile::Endpoints(service) => self.builder.endpoints_now(service).is_some(),
                KeptFile::Holders | KeptFile::Complete => true,
            };
            if !kept_anew {
                volume.forget_file(file);
            }
        }
    }

    /// Objects that run their last good, and those that have none.
    #[must_use]
    pub fn standing(&self) -> (usize, usize) {
        let all = self.tenants.values();
        all.fold((0, 0), |(good, none), kept| {
            (good + kept.standing.last_good.len(), none + kept.standing.not_programmed.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use arc_swap::ArcSwap;
    use policy::snapshot::Snapshot;
    use policy::tenant::{CeilingsIr, IdentifiersIr, TenantIr};
    use prometheus::IntGauge;

    use super::*;
    use crate::runtime::{Builder, Runtime};
    use crate::snapshot::Volume;
    use crate::telemetry::Metrics;
    use crate::upstream::Registry;

    fn tenant(name: &str, n: u64) -> TenantSnapshot {
        let ceilings = CeilingsIr {
            max_requests_per_sec: None,
            max_events_per_sec: None,
            max_connections: None,
            max_body_size: 1024,
            pending_bytes: 1024,
        };
        let (hostnames, methods, identifiers) = (Vec::new(), Vec::new(), IdentifiersIr::default());
        TenantSnapshot {
            tenant: TenantName::parse(name).unwrap(),
            revision: Revision { term: 1, n },
            hash: ContentHash([0; 32]),
            base: TenantIr { hostnames, identifiers, ceilings, methods, canary: false },
            rate_limits: Vec::new(),
            objects: Vec::new(),
        }
    }

    fn keeper(folder: &Path) -> (Keeper, IntGauge) {
        let metrics = Metrics::new().unwrap();
        let unwritten = metrics.last_good_unwritten.clone();
        let volume = Volume::open(folder, unwritten.clone()).unwrap();
        let builder = Builder::new(metrics, Arc::new(Registry::default()));
        let live = Arc::new(ArcSwap::from_pointee(Runtime::default()));
        (Keeper::new(builder, live, Some(volume)), unwritten)
    }

    #[test]
    fn a_tenant_that_is_removed_and_comes_back_at_once_is_kept_and_one_that_goes_at_once_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (mut keeper, _) = keeper(folder.path());
        let removed = |name: &str| Change::Removed(TenantName::parse(name).unwrap());
        let comes = |name: &str, n| Change::Tenant(Box::new(tenant(name, n)));
        keeper.change(vec![comes("acme", 1)]);
        keeper.change(vec![removed("acme"), comes("acme", 2), comes("globex", 2), removed("globex"), Change::Complete]);
        drop(keeper);
        let (keeper, _) = self::keeper(folder.path());
        assert_eq!(keeper.have(), [(tenant("acme", 2).tenant, Revision { term: 1, n: 2 }, ContentHash([0; 32]))]);
        assert!(keeper.is_complete());
    }

    fn endpoints(name: &str) -> ServiceEndpoints {
        let service = ServicePort { namespace: "shop".into(), name: name.into(), port: 80 };
        ServiceEndpoints { service, endpoints: Vec::new() }
    }

    /// Of these, the ones that are known, and the ones that are on the volume.
    fn kept(keeper: &Keeper, unwritten: &IntGauge, names: &[&'static str]) -> [Vec<&'static str>; 2] {
        while unwritten.get() > 0 {
            std::thread::yield_now();
        }
        let known = |name: &&&str| keeper.endpoints(&endpoints(name).service).is_some();
        let loaded = keeper.volume.as_ref().unwrap().load().endpoints;
        let on_volume = |name: &&&str| loaded.contains(&endpoints(name));
        [names.iter().filter(known).copied().collect(), names.iter().filter(on_volume).copied().collect()]
    }

    #[test]
    fn what_cannot_be_read_back_goes_when_all_was_said_and_it_was_not_kept_anew() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["acme.tenant", "globex.tenant", "shop.new.80.endpoints", "shop.left.80.endpoints"];
        files.iter().for_each(|file| std::fs::write(folder.path().join(file), "damaged").unwrap());
        let (mut keeper, _) = keeper(folder.path());
        let comes =
            [Change::Tenant(Box::new(tenant("acme", 1))), Change::Endpoints(endpoints("new")), Change::Complete];
        keeper.begin();
        keeper.change(comes.into());
        drop(keeper);
        let there = |file: &&&str| folder.path().join(file).exists();
        assert_eq!(files.iter().filter(there).collect::<Vec<_>>(), [&"acme.tenant", &"shop.new.80.endpoints"]);
        let (keeper, _) = self::keeper(folder.path());
        assert!(keeper.have().len() == 1 && keeper.endpoints(&endpoints("new").service).is_some());
        drop(keeper);
        // A process that has its objects from files is given all of them at once.
        std::fs::write(folder.path().join("globex.tenant"), "damaged").unwrap();
        let (mut keeper, _) = self::keeper(folder.path());
        keeper.apply(&Snapshot { tenants: vec![Arc::new(tenant("acme", 1))], endpoints: Vec::new() });
        drop(keeper);
        assert!(!folder.path().join("globex.tenant").exists() && folder.path().join("acme.tenant").exists());
    }

    #[test]
    fn endpoints_that_no_publisher_tells_of_are_forgotten_when_it_has_said_everything() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open(folder.path(), IntGauge::new("files", "files").unwrap()).unwrap();
        ["left", "stays"].iter().for_each(|name| volume.keep_endpoints(&endpoints(name)).unwrap());
        drop(volume);
        let (mut keeper, unwritten) = keeper(folder.path());
        keeper.begin();
        keeper.change(vec![Change::Endpoints(endpoints("stays")), Change::Endpoints(endpoints("new"))]);
        let names = ["left", "stays", "new"];
        assert_eq!(kept(&keeper, &unwritten, &names), [&names, &names]);
        keeper.change(vec![Change::Complete]);
        assert_eq!(kept(&keeper, &unwritten, &names), [["stays", "new"], ["stays", "new"]]);
        // It has said everything once; who publishes in a new term says it once more.
        keeper.change(vec![Change::Complete]);
        assert_eq!(kept(&keeper, &unwritten, &names), [["stays", "new"], ["stays", "new"]]);
    }
}
