//! Secrets and ConfigMaps that are named only after their watch passed them over: each is asked for by its name, until
//! it is had, gone, or nobody watches its namespace any more.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;
use policy::error::chain;
use policy::names::ObjectRef;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Raw;
use super::watch::{self, QUEUE};
use crate::reconcile::Place;

/// Between two tries for one that could not be read: the first pause, doubled each time, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What became of one.
#[derive(Debug)]
pub enum Fetched {
    /// It is there.
    Found(ObjectRef, Box<Raw>),
    /// It is not: its watch says so too.
    Gone(ObjectRef),
    /// It could not be read, and is tried again.
    Failing(ObjectRef),
}

#[derive(Debug)]
struct Running {
    task: AbortHandle,
    failing: bool,
}

/// Those that are asked for.
pub struct Fetches {
    client: Client,
    queue: mpsc::Sender<Fetched>,
    running: BTreeMap<ObjectRef, Running>,
}

impl Fetches {
    /// None yet, and the queue that answers come by.
    #[must_use]
    pub fn new(client: Client) -> (Self, mpsc::Receiver<Fetched>) {
        let (queue, fetched) = mpsc::channel(QUEUE);
        (Self { client, queue, running: BTreeMap::new() }, fetched)
    }

    /// Asks for an object, unless that is under way.
    pub fn ask(&mut self, object: &ObjectRef) {
        if !self.running.contains_key(object) {
            let task = tokio::spawn(fetch(self.client.clone(), object.clone(), self.queue.clone())).abort_handle();
            self.running.insert(object.clone(), Running { task, failing: false });
        }
    }

    /// Notes what became of one; the object, where it is there and still wanted.
    pub fn take(&mut self, fetched: Fetched) -> Option<Raw> {
        match fetched {
            Fetched::Found(object, raw) => self.running.remove(&object).map(|_| *raw),
            Fetched::Gone(object) => {
                self.running.remove(&object);
                None
            }
            Fetched::Failing(object) => {
                if let Some(running) = self.running.get_mut(&object) {
                    running.failing = true;
                }
                None
            }
        }
    }

    /// Asks for nothing of a place any more.
    pub fn forget(&mut self, (kind, namespace): &Place) {
        self.running.retain(|object, running| {
            let stays = object.kind != *kind || object.namespace != *namespace;
            if !stays {
                running.task.abort();
            }
            stays
        });
    }

    /// Whether each is answered, or known not to be readable now.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.running.values().all(|running| running.failing)
    }
}

async fn fetch(client: Client, object: ObjectRef, queue: mpsc::Sender<Fetched>) {
    let api = watch::api(&client, object.kind, Some(&object.namespace));
    let mut pause = FIRST_PAUSE;
    loop {
        match api.get_opt(&object.name).await {
            Ok(Some(observed)) => {
                let raw = Box::new(observed.parts(object.kind).0);
                let _ = queue.send(Fetched::Found(object, raw)).await;
                return;
            }
            Ok(None) => {
                let _ = queue.send(Fetched::Gone(object)).await;
                return;
            }
            Err(error) => {
                tracing::warn!(%object, error = chain(&error), "could not be fetched yet");
                if queue.send(Fetched::Failing(object.clone())).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        }
    }
}
