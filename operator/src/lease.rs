//! Which replica publishes: the holder of a Lease. It says when it took it, and that is the term of all that it
//! publishes; so the next holder's term is higher whatever the clocks say.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use policy::error::chain;
use tokio::sync::watch;

/// Where dataplanes find the holder.
const ADDRESS: &str = "postern.dev/address";

/// Whether this replica publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It does, in this term.
    Held(u64),
    /// Another one does, at this address, or nobody yet.
    Elsewhere(Option<String>),
}

/// Who wants the Lease, and how.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The Lease's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// This replica's name.
    pub identity: String,
    /// Where dataplanes find this replica.
    pub address: String,
    /// How long a holder that says nothing keeps it.
    pub duration: Duration,
}

/// Takes the Lease when it is free, and renews it.
pub struct Elector {
    api: Api<Lease>,
    candidate: Candidate,
    told: watch::Sender<Leadership>,
    /// Until when this replica may believe that it holds it.
    held_until: Option<Instant>,
    /// The state of another holder's Lease, and since when it is that: clocks are not compared.
    seen: Option<(Option<String>, Instant)>,
}

impl Elector {
    /// A candidate, and what becomes of it.
    #[must_use]
    pub fn new(client: Client, candidate: Candidate) -> (Self, watch::Receiver<Leadership>) {
        let (told, leadership) = watch::channel(Leadership::Elsewhere(None));
        let api = Api::namespaced(client, &candidate.namespace);
        (Self { api, candidate, told, held_until: None, seen: None }, leadership)
    }

    /// For ever.
    pub async fn run(mut self) {
        let pause = self.candidate.duration / 5;
        loop {
            let limit = self.candidate.duration / 3;
            match tokio::time::timeout(limit, self.turn()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = chain(&error), "the Lease is not reached"),
                Err(_) => tracing::warn!("the Lease is not reached in time"),
            }
            if self.held_until.is_some_and(|until| Instant::now() >= until) {
                self.held_until = None;
                self.tell(Leadership::Elsewhere(None));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn turn(&mut self) -> Result<(), kube::Error> {
        let name = &self.candidate.name;
        let Some(found) = self.api.get_opt(name).await? else {
            let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
            let lease = self.taken(Lease { metadata, spec: None });
            return self.write(lease, true).await;
        };
        let spec = found.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder == self.candidate.identity && self.held_until.is_some() {
            let mut renewed = found;
            if let Some(spec) = &mut renewed.spec {
                spec.renew_time = Some(MicroTime(Timestamp::now()));
            }
            return self.write(renewed, false).await;
        }
        let version = found.metadata.resource_version.clone();
        if self.seen.as_ref().is_none_or(|(known, _)| *known != version) {
            self.seen = Some((version, Instant::now()));
        }
        let lasts =
            Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default());
        let silent = self.seen.as_ref().is_some_and(|(_, since)| since.elapsed() > lasts);
        // One that this replica held before it was restarted is its own.
        if holder.is_empty() || silent || holder == self.candidate.identity {
            return self.write(self.taken(found), false).await;
        }
        let address = found.metadata.annotations.as_ref().and_then(|all| all.get(ADDRESS)).cloned();
        self.held_until = None;
        self.tell(Leadership::Elsewhere(address));
        Ok(())
    }

    /// The Lease as this replica would hold it: taken now, and later than anybody before.
    fn taken(&self, mut lease: Lease) -> Lease {
        let before = lease.spec.take().unwrap_or_default();
        let last = before.acquire_time.as_ref().map(|time| time.0.as_millisecond().saturating_add(1));
        let now = Timestamp::now();
        let term = last.and_then(|last| Timestamp::from_millisecond(last).ok()).map_or(now, |last| last.max(now));
        let seconds = self.candidate.duration.as_secs().max(1);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.candidate.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            lease_transitions: Some(before.lease_transitions.unwrap_or_default().saturating_add(1)),
            acquire_time: Some(MicroTime(term)),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        });
        lease.metadata.annotations.get_or_insert_default().insert(ADDRESS.to_owned(), self.candidate.address.clone());
        lease
    }

    async fn write(&mut self, lease: Lease, new: bool) -> Result<(), kube::Error> {
        let asked = Instant::now();
        let params = PostParams::default();
        let written = if new {
            self.api.create(&params, &lease).await
        } else {
            self.api.replace(&self.candidate.name, &params, &lease).await
        };
        let held = match written {
            Ok(held) => held,
            // Another one was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(()),
            Err(error) => return Err(error),
        };
        // Given up a third early, so that no two believe that they hold it.
        self.held_until = Some(asked + self.candidate.duration * 2 / 3);
        let acquired = held.spec.and_then(|spec| spec.acquire_time).map(|time| time.0.as_millisecond());
        self.tell(Leadership::Held(acquired.and_then(|term| u64::try_from(term).ok()).unwrap_or_default()));
        Ok(())
    }

    fn tell(&self, leadership: Leadership) {
        self.told.send_if_modified(|known| {
            let different = *known != leadership;
            if different {
                tracing::info!(?leadership, "who publishes");
                *known = leadership;
            }
            different
        });
    }
}

/// Gives the Lease up, so that the next holder need not wait; best effort.
pub async fn release(client: Client, candidate: &Candidate) {
    let api: Api<Lease> = Api::namespaced(client, &candidate.namespace);
    let Ok(Some(mut lease)) = api.get_opt(&candidate.name).await else { return };
    let Some(spec) = lease.spec.as_mut() else { return };
    if spec.holder_identity.as_deref() == Some(&*candidate.identity) {
        spec.holder_identity = None;
        let _ = api.replace(&candidate.name, &PostParams::default(), &lease).await;
    }
}
