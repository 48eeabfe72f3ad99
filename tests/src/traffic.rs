//! Signed WhatsApp events from many senders, each repeated until it is acknowledged, and the count of what
//! became of them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};

use ring::hmac;

use crate::client::post;
use crate::manifests::{secret, service, tenant};
use crate::upstream::{Received, Reply, Upstream};

/// The host of the source.
pub const HOST: &str = "api.acme.example";
const SECRET: &str = "kill-test-app-secret";
const PHONE: &str = "106540352242922";
/// Senders at once.
pub const SENDERS: u64 = 8;
/// Conversations of one sender.
pub const CONVERSATIONS_PER_SENDER: u64 = 4;

/// A small generator, so that a seed repeats a run: splitmix64.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }
}

/// A tenant with one WhatsApp source that delivers to an address, and tries until it is taken.
#[must_use]
pub fn manifests(destination: SocketAddr) -> String {
    let identifiers = format!("  identifiers: {{whatsAppPhoneNumberIDs: [\"{PHONE}\"]}}");
    let source = "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: whatsapp, namespace: acme}
spec:
  provider: WhatsApp
  match: {hostnames: [api.acme.example], path: /webhooks/whatsapp}
  verification: {secretRefs: [{name: meta-app, key: app-secret}]}
  destination: {backendRef: {name: receiver, port: 8080}, path: /events}
  delivery: {timeout: 5s, retry: {attempts: 1000, backoff: {base: 10ms, max: 100ms}}}
";
    tenant("acme", HOST, &identifiers)
        + source
        + &secret("acme", "meta-app", "app-secret", SECRET)
        + &service("acme", "receiver", 8080, destination)
}

/// A notification with these messages of a person.
#[must_use]
pub fn body(conversation: &str, ids: &[String]) -> String {
    let messages: Vec<_> = ids
        .iter()
        .map(|id| {
            serde_json::json!({"from": conversation, "id": id, "timestamp": "1749416383", "type": "text",
                "text": {"body": "hello"}})
        })
        .collect();
    serde_json::json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{
        "field": "messages", "value": {"messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": PHONE},
            "contacts": [{"profile": {"name": "K"}, "wa_id": conversation}], "messages": messages}}]}]})
    .to_string()
}

/// The signature of a body.
#[must_use]
pub fn sign(body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Sends until it is acknowledged, as a provider does: whatever happens, the same bytes again.
fn send_until_acknowledged(address: SocketAddr, body: &str, traffic: &Traffic) -> bool {
    let request = post(HOST, "/webhooks/whatsapp", body)
        .header("x-hub-signature-256", &sign(body))
        .header("content-type", "application/json");
    while !traffic.stopped() {
        match request.send(address) {
            Ok(answer) if answer.status == 200 => return true,
            Ok(answer) => {
                assert!(answer.status >= 500, "a valid event was refused: {} {}", answer.status, answer.text());
            }
            Err(_) => {}
        }
        traffic.breathe();
    }
    false
}

/// What senders and a test share.
#[derive(Debug, Default)]
pub struct Traffic {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Batches that got their 2xx.
    posts: u64,
    /// Senders wait while that many did; none at first.
    allowed: u64,
    stop: bool,
    acknowledged: HashMap<String, Vec<String>>,
}

impl Traffic {
    /// Lets so many more batches through, and waits until they are acknowledged.
    pub fn pass(&self, more: u64) {
        let mut state = self.state.lock().unwrap();
        let at = state.posts + more;
        state.allowed = state.allowed.max(at);
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| state.posts < at).unwrap());
    }

    /// Senders end.
    pub fn stop(&self) {
        self.state.lock().unwrap().stop = true;
        self.changed.notify_all();
    }

    /// Ids that got their 2xx, in order, by conversation.
    #[must_use]
    pub fn acknowledged(&self) -> HashMap<String, Vec<String>> {
        self.state.lock().unwrap().acknowledged.clone()
    }

    /// Waits until a batch may be sent; false when senders end.
    fn may_send(&self) -> bool {
        let state = self.state.lock().unwrap();
        let state = self.changed.wait_while(state, |state| !state.stop && state.posts >= state.allowed).unwrap();
        !state.stop
    }

    fn stopped(&self) -> bool {
        self.state.lock().unwrap().stop
    }

    fn was_acknowledged(&self, conversation: String, ids: Vec<String>) {
        let mut state = self.state.lock().unwrap();
        state.acknowledged.entry(conversation).or_default().extend(ids);
        state.posts += 1;
        self.changed.notify_all();
    }

    /// What a provider does before it tries again.
    fn breathe(&self) {
        let state = self.state.lock().unwrap();
        let pause = std::time::Duration::from_millis(20);
        drop(self.changed.wait_timeout_while(state, pause, |state| !state.stop).unwrap());
    }
}

/// Sends batches of events until it is told to stop; every batch until it is acknowledged.
pub fn sender(number: u64, address: SocketAddr, traffic: &Traffic) {
    let mut random = Random(number);
    let mut next = 0_u64;
    while traffic.may_send() {
        let conversation = format!("49{number:02}{:02}", random.below(CONVERSATIONS_PER_SENDER));
        let ids: Vec<String> =
            (0..=random.below(3)).map(|part| format!("wamid.{conversation}.{next}.{part}")).collect();
        next += 1;
        if send_until_acknowledged(address, &body(&conversation, &ids), traffic) {
            traffic.was_acknowledged(conversation, ids);
        }
    }
}

/// A destination that fails every seventh delivery, so that parking and retrying is killed into as well.
///
/// # Errors
/// When no port is free.
pub fn receiver() -> std::io::Result<Upstream> {
    let calls = AtomicU64::new(0);
    Upstream::start(move |_| match calls.fetch_add(1, Ordering::AcqRel) % 7 {
        6 => Reply::Status(503, String::new()),
        _ => Reply::Status(200, String::new()),
    })
}

/// One attempt to deliver, as the destination saw it.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The provider's id, which is the event's.
    pub id: String,
    /// Its number.
    pub sequence: String,
    /// Its number was given without the shared claim.
    pub degraded: bool,
    /// The destination answered 200.
    pub taken: bool,
}

/// What a destination received, as attempts.
#[must_use]
pub fn arrivals(received: &[Received]) -> Vec<Arrival> {
    let arrival = |one: &Received| {
        let event = one.json();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let degraded = event["degraded"].as_bool().unwrap_or_default();
        Arrival { id: text("id"), sequence: text("sequence"), degraded, taken: one.answered == 200 }
    };
    received.iter().map(arrival).collect()
}

/// What became of what was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Acknowledged and never taken.
    pub lost: usize,
    /// Tried before the one that was acknowledged before it was taken.
    pub misordered: usize,
    /// Tried again after they were taken.
    pub repeated: usize,
    /// Repeats under another number.
    pub changed: usize,
    /// Attempts on events whose number was given without the shared claim: their order and number are no promise.
    pub degraded: usize,
}

/// Compares what was acknowledged with what arrived. Of two events that were acknowledged one after the other,
/// the first must have been taken before the second was tried at all.
#[must_use]
pub fn count(acknowledged: &HashMap<String, Vec<String>>, arrivals: &[Arrival]) -> Counted {
    let mut counted = Counted::default();
    let mut tried: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let unnumbered: HashSet<&str> =
        arrivals.iter().filter(|arrival| arrival.degraded).map(|arrival| arrival.id.as_str()).collect();
    for (index, Arrival { id, sequence, degraded, taken: was_taken }) in arrivals.iter().enumerate() {
        let (_, number) = tried.entry(id).or_insert((index, sequence));
        counted.degraded += usize::from(*degraded);
        counted.changed += usize::from(number != sequence && !unnumbered.contains(id.as_str()));
        if taken.contains_key(id.as_str()) {
            counted.repeated += 1;
        } else if *was_taken {
            taken.insert(id, index);
        }
    }
    for ids in acknowledged.values() {
        counted.lost += ids.iter().filter(|id| !taken.contains_key(id.as_str())).count();
        for pair in ids.windows(2) {
            let (before, after) = (pair[0].as_str(), pair[1].as_str());
            let (Some(before), Some((after, _))) = (taken.get(before), tried.get(after)) else { continue };
            let numbered = pair.iter().all(|id| !unnumbered.contains(id.as_str()));
            counted.misordered += usize::from(before > after && numbered);
        }
    }
    counted
}

/// Waits until nothing that was acknowledged is missing, or nothing more comes; what came.
#[must_use]
pub fn settled(receiver: &Upstream, acknowledged: &HashMap<String, Vec<String>>) -> Vec<Arrival> {
    let mut received = receiver.received();
    while count(acknowledged, &arrivals(&received)).lost > 0 {
        let more = receiver.wait_for(received.len() + 1);
        if more.len() == received.len() {
            break;
        }
        received = more;
    }
    arrivals(&received)
}
