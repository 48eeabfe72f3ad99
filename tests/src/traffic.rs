//! Signed WhatsApp events from many senders, each repeated until it is acknowledged.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use ring::hmac;

use crate::client::{Request, post};
use crate::manifests::{secret, service, tenant};
use crate::upstream::{Reply, Upstream};

/// The host of the source.
pub const HOST: &str = "api.acme.example";
const SECRET: &str = "kill-test-app-secret";
const PHONE: &str = "106540352242922";
/// The host of the source that two tenants share.
const SHARED_HOST: &str = "hooks.platform.example";
/// The number of the second of them.
const OTHER_PHONE: &str = "209991112223334";
/// Between two batches that trickle.
const PACE: Duration = Duration::from_millis(100);
/// The pause after the first failure, doubled up to the longest; as providers do, but sooner.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(640);
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

/// One source that two tenants share: `acme` with a destination that answers, `globex` with one of its own kind.
#[must_use]
pub fn shared_manifests(acme: SocketAddr, globex: SocketAddr) -> String {
    let platform = "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: meta, namespace: platform}
spec:
  provider: WhatsApp
  match: {hostnames: [hooks.platform.example], path: /webhooks/whatsapp}
  verification: {secretRefs: [{name: meta-app, key: app-secret}]}
  sharedWith: {tenants: [acme, globex]}
";
    let of = |name: &str, phone: &str, destination: SocketAddr| {
        let identifiers = format!("  identifiers: {{whatsAppPhoneNumberIDs: [\"{phone}\"]}}");
        let source = format!(
            "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: whatsapp, namespace: {name}}}
spec:
  provider: WhatsApp
  shared: {{name: meta, namespace: platform}}
  destination: {{backendRef: {{name: receiver, port: 8080}}, path: /events}}
  delivery: {{timeout: 2s, retry: {{attempts: 1000, backoff: {{base: 10ms, max: 1s}}}}}}
"
        );
        tenant(name, &format!("api.{name}.example"), &identifiers)
            + &source
            + &service(name, "receiver", 8080, destination)
    };
    tenant("platform", SHARED_HOST, "")
        + platform
        + &secret("platform", "meta-app", "app-secret", SECRET)
        + &of("acme", PHONE, acme)
        + &of("globex", OTHER_PHONE, globex)
}

/// An entry of a notification with these messages of a person, to a number.
fn entry(phone: &str, conversation: &str, ids: &[String]) -> serde_json::Value {
    let message = |id: &String| {
        serde_json::json!({"from": conversation, "id": id, "timestamp": crate::client::now_secs().to_string(), "type": "text",
            "text": {"body": "hello"}})
    };
    let messages: Vec<_> = ids.iter().map(message).collect();
    serde_json::json!({"id": phone, "changes": [{
        "field": "messages", "value": {"messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550783881", "phone_number_id": phone},
            "contacts": [{"profile": {"name": "K"}, "wa_id": conversation}], "messages": messages}}]})
}

fn notification(entries: &[serde_json::Value]) -> String {
    serde_json::json!({"object": "whatsapp_business_account", "entry": entries}).to_string()
}

/// A notification with these messages of a person.
#[must_use]
pub fn body(conversation: &str, ids: &[String]) -> String {
    notification(&[entry(PHONE, conversation, ids)])
}

/// The signature of a body.
#[must_use]
pub fn sign(body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// An event that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its id.
    pub id: String,
    /// When it was first sent.
    pub first: Instant,
    /// When it got its 2xx.
    pub acknowledged: Instant,
}

/// What got its 2xx, in order, by conversation.
pub type Acknowledged = HashMap<String, Vec<Sent>>;

/// A signed POST with one message of a person to the source of [`manifests`].
#[must_use]
pub fn notice(conversation: &str, id: &str) -> Request {
    signed(HOST, &body(conversation, &[id.to_owned()]))
}

fn signed(host: &str, body: &str) -> Request {
    post(host, "/webhooks/whatsapp", body)
        .header("x-hub-signature-256", &sign(body))
        .header("content-type", "application/json")
}

/// What one sender posts at once: messages of one conversation, or of one of each tenant.
struct Batch {
    host: &'static str,
    body: String,
    /// Conversations with the ids of their messages.
    parts: Vec<(String, Vec<String>)>,
}

impl Batch {
    /// Sends it until it is acknowledged, as a provider does: whatever happens, the same bytes again, later and later.
    fn send(self, address: SocketAddr, traffic: &Traffic) {
        let first = Instant::now();
        let request = signed(self.host, &self.body);
        traffic.was_sent(self.parts.iter().map(|(_, ids)| ids.len() as u64).sum());
        let mut pause = FIRST_PAUSE;
        while !traffic.stopped() {
            match request.send(address) {
                Ok(answer) if answer.status == 200 => return traffic.was_acknowledged(self.parts, first),
                Ok(answer) => {
                    assert!(answer.status >= 500, "a valid event was refused: {} {}", answer.status, answer.text());
                }
                Err(_) => {}
            }
            traffic.repeats(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
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
    sent: u64,
    repeats: u64,
    acknowledged: Acknowledged,
}

impl Traffic {
    /// Lets so many more batches through, and waits until they are acknowledged.
    pub fn pass(&self, more: u64) {
        self.pass_within(more, Duration::MAX);
    }

    /// The same, but waits no longer than this.
    pub fn pass_within(&self, more: u64, patience: Duration) {
        let mut state = self.state.lock().unwrap();
        let at = state.posts + more;
        state.allowed = state.allowed.max(at);
        self.changed.notify_all();
        drop(self.changed.wait_timeout_while(state, patience, |state| state.posts < at).unwrap());
    }

    /// Lets one batch after the other through for so long, slower than anybody is.
    pub fn trickle(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.pass_within(1, PACE);
            let state = self.state.lock().unwrap();
            drop(self.changed.wait_timeout_while(state, PACE, |state| !state.stop).unwrap());
        }
    }

    /// Senders end when what they have sent is acknowledged, or patience ends.
    pub fn finish(&self, patience: Duration) {
        let mut state = self.state.lock().unwrap();
        state.allowed = 0;
        let unfinished = |state: &mut State| state.sent > state.acknowledged.values().map(|all| all.len() as u64).sum();
        drop(self.changed.wait_timeout_while(state, patience, unfinished).unwrap());
        self.stop();
    }

    /// Senders end.
    pub fn stop(&self) {
        self.state.lock().unwrap().stop = true;
        self.changed.notify_all();
    }

    /// What got its 2xx, in order, by conversation.
    #[must_use]
    pub fn acknowledged(&self) -> Acknowledged {
        self.state.lock().unwrap().acknowledged.clone()
    }

    /// Events that were sent, and POSTs that were sent again.
    #[must_use]
    pub fn sent(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        (state.sent, state.repeats)
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

    fn was_sent(&self, events: u64) {
        self.state.lock().unwrap().sent += events;
    }

    fn was_acknowledged(&self, parts: Vec<(String, Vec<String>)>, first: Instant) {
        let acknowledged = Instant::now();
        let mut state = self.state.lock().unwrap();
        for (conversation, ids) in parts {
            let sent = ids.into_iter().map(|id| Sent { id, first, acknowledged });
            state.acknowledged.entry(conversation).or_default().extend(sent);
        }
        state.posts += 1;
        self.changed.notify_all();
    }

    /// What a provider does before it tries again.
    fn repeats(&self, pause: Duration) {
        let mut state = self.state.lock().unwrap();
        state.repeats += 1;
        drop(self.changed.wait_timeout_while(state, pause, |state| !state.stop).unwrap());
    }
}

/// Sends batches of events until it is told to stop; every batch until it is acknowledged.
pub fn sender(number: u64, address: SocketAddr, traffic: &Traffic) {
    let (mut random, mut next) = (Random(number), 0);
    while traffic.may_send() {
        let (conversation, ids) = messages("49", number, next, &mut random);
        next += 1;
        Batch { host: HOST, body: body(&conversation, &ids), parts: vec![(conversation, ids)] }.send(address, traffic);
    }
}

/// The same to the shared source: every third POST has entries of both tenants.
pub fn shared_sender(number: u64, address: SocketAddr, traffic: &Traffic) {
    let (mut random, mut next) = (Random(number), 0);
    while traffic.may_send() {
        let own = messages("49", number, next, &mut random);
        let other = (random.below(3) == 0).then(|| messages("48", number, next, &mut random));
        next += 1;
        let entries: Vec<_> = [(PHONE, Some(&own)), (OTHER_PHONE, other.as_ref())]
            .into_iter()
            .filter_map(|(phone, part)| part.map(|(conversation, ids)| entry(phone, conversation, ids)))
            .collect();
        let parts = [Some(own), other].into_iter().flatten().collect();
        Batch { host: SHARED_HOST, body: notification(&entries), parts }.send(address, traffic);
    }
}

/// Up to four messages of one of a sender's conversations.
fn messages(country: &str, number: u64, next: u64, random: &mut Random) -> (String, Vec<String>) {
    let conversation = format!("{country}{number:02}{:02}", random.below(CONVERSATIONS_PER_SENDER));
    let ids = (0..=random.below(3)).map(|part| format!("wamid.{conversation}.{next}.{part}")).collect();
    (conversation, ids)
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
