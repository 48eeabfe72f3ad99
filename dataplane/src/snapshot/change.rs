//! What is different, from a publisher that sends no more than that.

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
                Change::Endpoints(endpoints) => self.builder.endpoints_of(endpoints),
                Change::EndpointsRemoved(service) => self.builder.endpoints_gone(service),
                Change::Complete => {}
            }
        }
        if swaps {
            self.swap();
        }
        kept.retain(|name| !gone.contains(name));
        kept.iter().for_each(|name| self.keep(name));
        if let Err(error) = self.write_rest(&changes) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last good could not be kept");
        }
        answers
    }

    /// What is kept beside tenants.
    fn write_rest(&self, changes: &[Change]) -> Result<(), VolumeError> {
        let Some(volume) = &self.volume else { return Ok(()) };
        for change in changes {
            match change {
                Change::Endpoints(endpoints) => volume.keep_endpoints(endpoints)?,
                Change::EndpointsRemoved(service) => volume.forget_endpoints(service)?,
                Change::Complete => volume.complete()?,
                Change::Tenant(_) | Change::Removed(_) => {}
            }
        }
        Ok(())
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
