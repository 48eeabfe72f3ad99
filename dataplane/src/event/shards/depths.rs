//! What tenants have in shards of other processes, as far as this one has heard.
//!
//! A gateway has to know when a tenant is full before the broker takes more of it. It asks in the background, of the
//! tenants that send, so a POST never waits for it: what it goes by is some seconds old, and a tenant may go over its
//! ceiling by what it sends meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::names::TenantName;

use super::{NamedShard, Shards};

/// How often shards are asked of the tenants that have sent something.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Tenants that are asked of together.
const ASKED_AT_ONCE: usize = 1024;

/// A tenant that sends; bounded by the tenants of the snapshot.
#[derive(Debug, Default)]
struct Known {
    /// It has sent something since it was last asked of.
    sends: bool,
    /// What each shard said last. What does not answer still has on its volume what it had.
    bytes: BTreeMap<Arc<str>, u64>,
}

/// Bytes of tenants by shard.
#[derive(Clone, Debug, Default)]
pub struct Depths(Arc<Mutex<BTreeMap<TenantName, Known>>>);

impl Depths {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantName, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a tenant that sends now has elsewhere.
    #[must_use]
    pub fn of(&self, tenant: &TenantName) -> u64 {
        let mut known = self.lock();
        if let Some(known) = known.get_mut(tenant) {
            known.sends = true;
            return known.bytes.values().fold(0, |sum, bytes| sum.saturating_add(*bytes));
        }
        known.insert(tenant.clone(), Known { sends: true, ..Known::default() });
        0
    }

    /// Asks again and again; for ever.
    pub async fn keep(self, shards: Shards) {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            self.ask(&shards).await;
        }
    }

    /// Asks every shard once of those that have sent; who has sent nothing since is forgotten.
    pub(super) async fn ask(&self, shards: &Shards) {
        let tenants: Vec<TenantName> = {
            let mut known = self.lock();
            known.retain(|_, known| std::mem::take(&mut known.sends));
            known.keys().cloned().collect()
        };
        for shard in shards.all() {
            for tenants in tenants.chunks(ASKED_AT_ONCE) {
                if let Some(bytes) = shard.depths(tenants).await {
                    self.learn(shard, tenants, &bytes);
                }
            }
        }
    }

    fn learn(&self, shard: &NamedShard, tenants: &[TenantName], bytes: &[u64]) {
        let mut known = self.lock();
        for (tenant, bytes) in tenants.iter().zip(bytes) {
            if let Some(known) = known.get_mut(tenant) {
                known.bytes.insert(shard.name.clone(), *bytes);
            }
        }
    }
}
