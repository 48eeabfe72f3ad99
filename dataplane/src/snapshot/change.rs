//! What is different, from a publisher that sends no more than that.

use hashbrown::HashSet;
use policy::names::TenantName;
use policy::snapshot::{ContentHash, Revision, TenantSnapshot};
use policy::upstream::{EndpointIr, ServiceEndpoints, ServicePort};

use super::{Applied, Keeper, Nack, VolumeError};

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

    /// Applies changes in their order, in force with one swap; what is kept is written after it.
    pub fn change(&mut self, changes: Vec<Change>) -> Vec<Answer> {
        let (mut answers, mut kept, mut swaps) = (Vec::new(), Vec::new(), false);
        let mut gone = Vec::new();
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
                    gone.push(name.clone());
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
        kept.retain(|name| !gone.contains(name));
        kept.iter().for_each(|name| self.keep(name));
        let forgotten = if changes.iter().any(|change| matches!(change, Change::Complete)) {
            self.forget_untold()
        } else {
            Vec::new()
        };
        if let Err(error) = self.write_rest(&changes, &forgotten) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last good could not be kept");
        }
        answers
    }

    /// What is kept beside tenants.
    fn write_rest(&self, changes: &[Change], forgotten: &[ServicePort]) -> Result<(), VolumeError> {
        let Some(volume) = &self.volume else { return Ok(()) };
        for change in changes {
            match change {
                Change::Endpoints(endpoints) => volume.keep_endpoints(endpoints)?,
                Change::EndpointsRemoved(service) => volume.forget_endpoints(service)?,
                Change::Complete => volume.complete()?,
                Change::Tenant(_) | Change::Removed(_) => {}
            }
        }
        forgotten.iter().try_for_each(|service| volume.forget_endpoints(service))
    }

    /// Forgets endpoints that nothing here leads to and that no publisher knows of: left over by a process that ended
    /// between them and their tenant, or gone while nobody was followed.
    fn forget_untold(&mut self) -> Vec<ServicePort> {
        self.told.take().map(|told| self.builder.retain_endpoints(&told)).unwrap_or_default()
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
    use std::sync::Arc;

    use arc_swap::ArcSwap;

    use super::*;
    use crate::runtime::{Builder, Runtime};
    use crate::snapshot::Volume;
    use crate::telemetry::Metrics;
    use crate::upstream::Registry;

    fn endpoints(name: &str) -> ServiceEndpoints {
        let service = ServicePort { namespace: "shop".into(), name: name.into(), port: 80 };
        ServiceEndpoints { service, endpoints: Vec::new() }
    }

    /// Of these, the ones that are known, and the ones that are on the volume.
    fn kept(keeper: &Keeper, names: &[&'static str]) -> [Vec<&'static str>; 2] {
        let known = |name: &&&str| keeper.endpoints(&endpoints(name).service).is_some();
        let loaded = keeper.volume.as_ref().unwrap().load().endpoints;
        let on_volume = |name: &&&str| loaded.contains(&endpoints(name));
        [names.iter().filter(known).copied().collect(), names.iter().filter(on_volume).copied().collect()]
    }

    #[test]
    fn endpoints_that_no_publisher_tells_of_are_forgotten_when_it_has_said_everything() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open(folder.path()).unwrap();
        ["left", "stays"].iter().for_each(|name| volume.keep_endpoints(&endpoints(name)).unwrap());
        let builder = Builder::new(Metrics::new().unwrap(), Arc::new(Registry::default()));
        let live = Arc::new(ArcSwap::from_pointee(Runtime::default()));
        let mut keeper = Keeper::new(builder, live, Some(volume));
        keeper.begin();
        keeper.change(vec![Change::Endpoints(endpoints("stays")), Change::Endpoints(endpoints("new"))]);
        let names = ["left", "stays", "new"];
        assert_eq!(kept(&keeper, &names), [&names, &names]);
        keeper.change(vec![Change::Complete]);
        assert_eq!(kept(&keeper, &names), [["stays", "new"], ["stays", "new"]]);
        // It has said everything once; who publishes in a new term says it once more.
        keeper.change(vec![Change::Complete]);
        assert_eq!(kept(&keeper, &names), [["stays", "new"], ["stays", "new"]]);
    }
}
