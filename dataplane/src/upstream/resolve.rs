//! Looks up the names of upstreams, off the path of requests.

use std::sync::Arc;
use std::time::Duration;

use policy::upstream::{EndpointIr, UpstreamKey};
use tokio::time::timeout;

use super::registry::{Registry, Upstream, literal};

/// How often names are looked up again. The system's resolver does not tell how long an answer holds.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(10);
/// How long one lookup may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 64;
/// Lookups at once.
const MAX_LOOKUPS: usize = 16;

/// Keeps the endpoints of named upstreams current, until it is dropped. A lookup that fails changes
/// nothing: the last good answer stays. Run it once in a process, not on a core that serves.
pub async fn keep_resolved(registry: Arc<Registry>) {
    loop {
        resolve_all(&registry).await;
        // A new name is looked up at once; the others with it, which does no harm.
        let _ = timeout(RESOLVE_EVERY, registry.new_name.notified()).await;
    }
}

async fn resolve_all(registry: &Registry) {
    use futures_util::StreamExt as _;

    let named = registry.all().into_iter().filter_map(|upstream| match &upstream.key {
        UpstreamKey::Service(_) => None,
        UpstreamKey::Url { host, .. } if literal(host).is_some() => None,
        UpstreamKey::Url { host, port, .. } => Some((Arc::clone(host), *port, Arc::clone(&upstream))),
    });
    futures_util::stream::iter(named)
        .for_each_concurrent(MAX_LOOKUPS, |(host, port, upstream)| async move {
            resolve(&host, port, &upstream).await;
        })
        .await;
}

async fn resolve(host: &str, port: u16, upstream: &Upstream) {
    let Ok(Ok(found)) = timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port))).await else { return };
    let mut endpoints: Vec<_> = found.take(MAX_ADDRESSES).map(|address| EndpointIr { address, ready: true }).collect();
    endpoints.sort_unstable_by_key(|endpoint| endpoint.address);
    endpoints.dedup();
    if !endpoints.is_empty() && upstream.load().as_ref().is_none_or(|known| **known != endpoints) {
        upstream.set_endpoints(endpoints);
    }
}
