//! The shards of an installation, as gateways and delivers reach them: one in this process, or far away.

mod depths;
mod remote;
mod role;
mod server;
mod tls;

use std::sync::Arc;

use super::spool::{Ask, Numbered, Record, Shard, Verdict};
use super::{AcceptError, Accepted, Counters, Entry};
pub use depths::Depths;
use policy::names::TenantName;
pub use remote::{Remote, RemoteError};
pub use role::Role;
pub use server::{ServeError, Server};
pub use tls::{Identity, IdentityError, Watched};

/// A shard, wherever it is.
#[derive(Clone)]
pub enum Reach {
    /// In this process.
    Here(Arc<Shard>),
    /// Behind gRPC.
    Far(Remote),
}

/// A shard with its name: the name stands in drained copies, so it outlives processes.
#[derive(Clone)]
pub struct NamedShard {
    /// Its name, the same for ever.
    pub name: Arc<str>,
    reach: Reach,
}

impl NamedShard {
    /// A shard under its name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, reach: Reach) -> Self {
        Self { name: name.into(), reach }
    }

    /// See [`Shard::append`].
    ///
    /// # Errors
    /// [`AcceptError`]
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Accepted>, AcceptError> {
        match &self.reach {
            Reach::Here(shard) => shard.append(entries).await,
            Reach::Far(remote) => remote.append(entries).await,
        }
    }

    /// See [`Shard::keep`].
    ///
    /// # Errors
    /// [`AcceptError`]
    pub async fn keep(&self, events: Vec<Numbered>) -> Result<Vec<Accepted>, AcceptError> {
        match &self.reach {
            Reach::Here(shard) => shard.keep(events).await,
            Reach::Far(remote) => remote.keep(events).await,
        }
    }

    /// See [`Shard::consult`].
    pub async fn consult(&self, ask: Ask) -> Option<Verdict> {
        match &self.reach {
            Reach::Here(shard) => shard.consult(ask).await,
            Reach::Far(remote) => remote.consult(ask).await,
        }
    }

    /// How many bytes of each of these tenants it holds, in their order; none when it does not answer. What a shard in
    /// this process holds is known without asking, so it says nothing of it.
    async fn depths(&self, tenants: &[TenantName]) -> Option<Vec<u64>> {
        match &self.reach {
            Reach::Here(_) => Some(vec![0; tenants.len()]),
            Reach::Far(remote) => remote.depths(tenants).await,
        }
    }

    /// See [`Shard::record`].
    pub async fn record(&self, record: Record) -> bool {
        match &self.reach {
            Reach::Here(shard) => shard.record(record).await,
            Reach::Far(remote) => remote.record(record).await,
        }
    }
}

/// All shards; each partition has its own order of preference among them.
#[derive(Clone)]
pub struct Shards(Arc<[NamedShard]>);

impl Shards {
    /// These shards.
    #[must_use]
    pub fn new(shards: Vec<NamedShard>) -> Self {
        Self(shards.into())
    }

    /// The one with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&NamedShard> {
        self.0.iter().find(|shard| &*shard.name == name)
    }

    /// Every shard.
    fn all(&self) -> &[NamedShard] {
        &self.0
    }

    /// Takes a new certificate up for asking shards of other processes; for ever.
    pub async fn keep_certificate(self, mut watched: Watched, counters: Arc<Counters>) {
        loop {
            tokio::time::sleep(tls::LOOK_EVERY).await;
            watched.look(&counters, |identity| self.renew(identity));
        }
    }

    fn renew(&self, identity: &Identity) -> Result<(), RemoteError> {
        self.0.iter().try_for_each(|shard| match &shard.reach {
            Reach::Here(_) => Ok(()),
            Reach::Far(remote) => remote.renew(identity),
        })
    }

    /// Every shard, the one that a partition prefers first: rendezvous hashing, so that one more or one less
    /// moves only what it must.
    #[must_use]
    pub fn for_partition(&self, partition: u16) -> Vec<&NamedShard> {
        let mut ordered: Vec<_> = self.0.iter().map(|shard| (weight(&shard.name, partition), shard)).collect();
        ordered.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
        ordered.into_iter().map(|(_, shard)| shard).collect()
    }
}

/// The same on every machine and in every version.
pub(crate) fn weight(name: &str, partition: u16) -> [u8; 16] {
    crate::event::claim::digest([b"rendezvous", name.as_bytes(), &partition.to_be_bytes()])
}

#[cfg(test)]
mod tests;
