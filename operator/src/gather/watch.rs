//! Watches, one a kind, and one a namespace for Secrets and ConfigMaps. What they see goes into one queue, in order
//! and bounded: who reads slowly is not overrun.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::ready;
use futures_util::{Stream, StreamExt};
use kube::api::{Api, ApiResource};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, core::GroupVersionKind};
use policy::names::Kind;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::observed::Observed;
use crate::reconcile::Place;

/// What waits to be looked at at most.
pub const QUEUE: usize = 1024;
/// A watch that lasts longer is begun again by the API server: a connection that died silently is noticed so.
const WATCH_SECS: u32 = 200;
/// Secrets of others' that are large or many, and never ours.
pub(super) const FOREIGN_SECRETS: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token";

/// The kinds that are watched in all namespaces.
pub const EVERYWHERE: [Kind; 8] = [
    Kind::Namespace,
    Kind::Tenant,
    Kind::Route,
    Kind::RateLimitPolicy,
    Kind::WebhookSource,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::ReferenceGrant,
];

/// Which watch: a kind, everywhere or in one namespace.
pub type Which = (Kind, Option<Arc<str>>);

/// What a watch saw.
#[derive(Debug)]
pub struct Seen {
    /// Which watch.
    pub which: Which,
    /// How often it was begun; what comes from one before is late.
    pub round: u64,
    /// What.
    pub event: Result<Event<Observed>, watcher::Error>,
}

/// How a kind is called in the API.
#[must_use]
pub fn resource(kind: Kind) -> ApiResource {
    let (group, version, plural) = match kind {
        Kind::Tenant => (policy::crd::GROUP, policy::crd::VERSION, "tenants"),
        Kind::Route => (policy::crd::GROUP, policy::crd::VERSION, "routes"),
        Kind::RateLimitPolicy => (policy::crd::GROUP, policy::crd::VERSION, "ratelimitpolicies"),
        Kind::WebhookSource => (policy::crd::GROUP, policy::crd::VERSION, "webhooksources"),
        Kind::Secret => ("", "v1", "secrets"),
        Kind::ConfigMap => ("", "v1", "configmaps"),
        Kind::Service => ("", "v1", "services"),
        Kind::Namespace => ("", "v1", "namespaces"),
        Kind::EndpointSlice => ("discovery.k8s.io", "v1", "endpointslices"),
        Kind::ReferenceGrant => ("gateway.networking.k8s.io", "v1beta1", "referencegrants"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &kind.to_string()), plural)
}

/// The API of a kind, everywhere or in one namespace.
#[must_use]
pub fn api(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<Observed> {
    match namespace {
        None => Api::all_with(client.clone(), &resource(kind)),
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource(kind)),
    }
}

/// The watches that run.
pub struct Watches {
    client: Client,
    queue: mpsc::Sender<Seen>,
    running: BTreeMap<Which, JoinHandle<()>>,
    round: u64,
}

impl Watches {
    /// None yet, and the queue that they will fill.
    #[must_use]
    pub fn new(client: Client) -> (Self, mpsc::Receiver<Seen>) {
        let (queue, seen) = mpsc::channel(QUEUE);
        (Self { client, queue, running: BTreeMap::new(), round: 0 }, seen)
    }

    /// Begins all anew: every kind is listed afresh. The number of this round.
    pub fn restart(&mut self) -> u64 {
        self.round += 1;
        let again: Vec<Which> = self.running.keys().cloned().collect();
        self.stop(|_| true);
        for which in again.into_iter().chain(EVERYWHERE.map(|kind| (kind, None))) {
            self.start(which);
        }
        self.round
    }

    /// Watches these places, and no others any more. Those that were stopped.
    pub fn follow(&mut self, places: &BTreeSet<Place>) -> Vec<Place> {
        let unwanted = |which: &Which| match which {
            (_, None) => false,
            (kind, Some(namespace)) => !places.contains(&(*kind, Arc::clone(namespace))),
        };
        let stopped = self.stop(unwanted);
        for (kind, namespace) in places {
            self.start((*kind, Some(Arc::clone(namespace))));
        }
        stopped.into_iter().filter_map(|(kind, namespace)| Some((kind, namespace?))).collect()
    }

    fn stop(&mut self, which: impl Fn(&Which) -> bool) -> Vec<Which> {
        let stopped: Vec<Which> = self.running.keys().filter(|running| which(running)).cloned().collect();
        for one in &stopped {
            if let Some(task) = self.running.remove(one) {
                task.abort();
            }
        }
        stopped
    }

    fn start(&mut self, which: Which) {
        if self.running.contains_key(&which) {
            return;
        }
        let (kind, namespace) = &which;
        let mut config = watch::Config::default().timeout(WATCH_SECS);
        if *kind == Kind::Secret {
            config = config.fields(FOREIGN_SECRETS);
        }
        // That a list is about to be asked for is no answer: the pause between tries would never grow.
        let stream = watch::watcher(api(&self.client, *kind, namespace.as_deref()), config)
            .filter(|event| ready(!matches!(event, Ok(Event::Init))))
            .default_backoff();
        let task = tokio::spawn(pass_on(stream, self.queue.clone(), self.round, which.clone()));
        self.running.insert(which, task);
    }

    /// Whether one of them has ended, which none does by itself.
    #[must_use]
    pub fn any_ended(&self) -> bool {
        self.running.values().any(JoinHandle::is_finished)
    }
}

/// Puts what is seen into the queue: a list begins when its first part has come.
async fn pass_on(
    stream: impl Stream<Item = Result<Event<Observed>, watcher::Error>>,
    queue: mpsc::Sender<Seen>,
    round: u64,
    which: Which,
) {
    let (mut stream, mut listing) = (std::pin::pin!(stream), false);
    while let Some(event) = stream.next().await {
        let of_list = matches!(event, Ok(Event::InitApply(_) | Event::InitDone));
        if of_list && !listing {
            let begins = Seen { which: which.clone(), round, event: Ok(Event::Init) };
            if queue.send(begins).await.is_err() {
                return;
            }
        }
        listing = of_list && !matches!(event, Ok(Event::InitDone));
        if queue.send(Seen { which: which.clone(), round, event }).await.is_err() {
            return;
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.stop(|_| true);
    }
}
