//! Writes statuses by server-side apply, and tells of what turned by an Event. What waits waits once an object.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use policy::error::chain;
use policy::names::ObjectRef;
use policy::status::{ConditionStatus, ObjectStatus};
use tokio::sync::Notify;

use crate::FIELD_MANAGER;
use crate::gather::watch::resource;
use crate::metrics::Metrics;

/// Writes under way at once.
const AT_ONCE: usize = 16;
/// The rest after a write that failed.
const REST: Duration = Duration::from_secs(1);
/// The longest note that an Event may carry, in bytes of any text.
const MAX_NOTE: usize = 250;

/// What one object is to say.
#[derive(Clone, Debug)]
struct Wanted {
    uid: Option<String>,
    before: ObjectStatus,
    status: ObjectStatus,
}

/// Statuses on their way.
pub struct Writer {
    client: Client,
    recorder: Recorder,
    wanted: Mutex<BTreeMap<ObjectRef, Wanted>>,
    more: Notify,
    metrics: Metrics,
}

impl Writer {
    /// Nothing to write yet.
    #[must_use]
    pub fn new(client: Client, identity: &str, metrics: Metrics) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(identity.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        Self { client, recorder, wanted: Mutex::default(), more: Notify::new(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectRef, Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An object is to say this.
    pub(super) fn write(&self, object: ObjectRef, uid: Option<String>, before: ObjectStatus, status: ObjectStatus) {
        let mut wanted = self.lock();
        // What was never written is not what it said before.
        let before = wanted.remove(&object).map_or(before, |earlier| earlier.before);
        wanted.insert(object, Wanted { uid, before, status });
        drop(wanted);
        self.more.notify_one();
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// For ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let batch: Vec<(ObjectRef, Wanted)> = {
                let mut wanted = self.lock();
                std::iter::from_fn(|| wanted.pop_first()).take(AT_ONCE).collect()
            };
            if batch.is_empty() {
                self.more.notified().await;
                continue;
            }
            let written = join_all(batch.iter().map(|(object, wanted)| self.say(object, wanted))).await;
            let mut failed = false;
            for ((object, wanted), written) in batch.into_iter().zip(written) {
                self.metrics.wrote(written.is_ok());
                if let Err(error) = written {
                    failed = true;
                    tracing::warn!(%object, error = chain(&error), "a status could not be written");
                    // A newer one takes its place.
                    self.lock().entry(object).or_insert(wanted);
                }
            }
            if failed {
                tokio::time::sleep(REST).await;
            }
        }
    }

    async fn say(&self, object: &ObjectRef, wanted: &Wanted) -> Result<(), kube::Error> {
        self.patch(object, &wanted.status).await?;
        self.tell(object, wanted).await;
        Ok(())
    }

    async fn patch(&self, object: &ObjectRef, status: &ObjectStatus) -> Result<(), kube::Error> {
        let resource = resource(object.kind);
        let patch = serde_json::json!({
            "apiVersion": resource.api_version, "kind": resource.kind,
            "metadata": {"name": &*object.name}, "status": status,
        });
        let api: Api<DynamicObject> = match &*object.namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let params = PatchParams::apply(FIELD_MANAGER).force();
        match api.patch_status(&object.name, &params, &Patch::Apply(patch)).await {
            // Gone meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            written => written.map(drop),
        }
    }

    /// One Event for each condition that turned.
    async fn tell(&self, object: &ObjectRef, wanted: &Wanted) {
        let resource = resource(object.kind);
        let reference = ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            name: Some(object.name.to_string()),
            namespace: Some(object.namespace.to_string()).filter(|namespace| !namespace.is_empty()),
            uid: wanted.uid.clone(),
            ..ObjectReference::default()
        };
        for condition in &wanted.status.conditions {
            let before = wanted.before.conditions.iter().find(|known| known.type_ == condition.type_);
            let good = condition.status == ConditionStatus::True;
            // A new object that is good turns once, when it is programmed.
            let turned =
                before.map_or(!good || condition.type_ == "Programmed", |known| known.status != condition.status);
            if !turned {
                continue;
            }
            let event = Event {
                type_: if good { EventType::Normal } else { EventType::Warning },
                reason: condition.reason.clone(),
                note: Some(condition.message.chars().take(MAX_NOTE).collect()),
                action: condition.type_.clone(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &reference).await {
                tracing::debug!(%object, error = chain(&error), "an Event could not be written");
            }
        }
    }
}
