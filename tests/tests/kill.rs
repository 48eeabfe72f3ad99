//! The gateway is killed again and again while events arrive; then everything is counted.
//!
//! What must hold: an event that got its 2xx is delivered (lost = 0), in the order of its conversation
//! (misordered = 0), and a repeat carries the same event id and number.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it counted"
)]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ring::hmac;
use tests::client::post;
use tests::gateway::Gateway;
use tests::manifests::{secret, service, tenant};
use tests::upstream::{Received, Reply, Upstream};

const HOST: &str = "api.acme.example";
const SECRET: &str = "kill-test-app-secret";
const PHONE: &str = "106540352242922";
const SENDERS: u64 = 8;
const CONVERSATIONS_PER_SENDER: u64 = 4;

/// How often the gateway is killed; `POSTERN_KILLS` asks for more.
fn kills() -> u64 {
    std::env::var("POSTERN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

/// A small generator, so that a seed repeats a run: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

fn manifests(destination: SocketAddr) -> String {
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

fn body(conversation: &str, ids: &[String]) -> String {
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

fn sign(body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Sends until it is acknowledged, as a provider does: whatever happens, the same bytes again.
fn send_until_acknowledged(address: SocketAddr, body: &str, stop: &AtomicBool) -> bool {
    let request = post(HOST, "/webhooks/whatsapp", body)
        .header("x-hub-signature-256", &sign(body))
        .header("content-type", "application/json");
    while !stop.load(Ordering::Acquire) {
        match request.send(address) {
            Ok(answer) if answer.status == 200 => return true,
            Ok(answer) => {
                assert!(answer.status >= 500, "a valid event was refused: {} {}", answer.status, answer.text())
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::thread::yield_now(),
            Err(_) => {}
        }
    }
    false
}

type Acknowledged = Arc<Mutex<HashMap<String, Vec<String>>>>;

fn sender(number: u64, address: SocketAddr, count: &AtomicU64, stop: &AtomicBool, acknowledged: &Acknowledged) {
    let mut random = Random(number);
    let mut next = 0_u64;
    while !stop.load(Ordering::Acquire) {
        let conversation = format!("49{number:02}{:02}", random.below(CONVERSATIONS_PER_SENDER));
        let ids: Vec<String> =
            (0..=random.below(3)).map(|part| format!("wamid.{conversation}.{next}.{part}")).collect();
        next += 1;
        if send_until_acknowledged(address, &body(&conversation, &ids), stop) {
            acknowledged.lock().unwrap().entry(conversation).or_default().extend(ids.iter().cloned());
            count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// One attempt to deliver, as the destination saw it.
struct Arrival {
    /// The provider's id, which is the event's.
    id: String,
    sequence: String,
    taken: bool,
}

fn arrivals(received: &[Received]) -> Vec<Arrival> {
    let arrival = |one: &Received| {
        let event = one.json();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        Arrival { id: text("id"), sequence: text("sequence"), taken: one.answered == 200 }
    };
    received.iter().map(arrival).collect()
}

struct Counted {
    lost: usize,
    misordered: usize,
    repeated: usize,
    changed: usize,
}

/// Compares what was acknowledged with what arrived. Of two events that were acknowledged one after the other,
/// the first must have been taken before the second was tried at all.
fn count(acknowledged: &HashMap<String, Vec<String>>, arrivals: &[Arrival]) -> Counted {
    let mut counted = Counted { lost: 0, misordered: 0, repeated: 0, changed: 0 };
    let mut tried: HashMap<&str, (usize, &str)> = HashMap::new();
    let mut taken: HashMap<&str, usize> = HashMap::new();
    for (index, Arrival { id, sequence, taken: was_taken }) in arrivals.iter().enumerate() {
        let (_, number) = tried.entry(id).or_insert((index, sequence));
        counted.changed += usize::from(number != sequence);
        if taken.contains_key(id.as_str()) {
            counted.repeated += 1;
        } else if *was_taken {
            taken.insert(id, index);
        }
    }
    for ids in acknowledged.values() {
        counted.lost += ids.iter().filter(|id| !taken.contains_key(id.as_str())).count();
        for pair in ids.windows(2) {
            let (Some(before), Some((after, _))) = (taken.get(pair[0].as_str()), tried.get(pair[1].as_str())) else {
                continue;
            };
            counted.misordered += usize::from(before > after);
        }
    }
    counted
}

#[test]
fn no_acknowledged_event_is_lost_or_overtaken_whenever_the_gateway_is_killed() {
    let calls = AtomicU64::new(0);
    // Every seventh delivery fails, so that parking and retrying is killed into as well.
    let receiver = Upstream::start(move |_| match calls.fetch_add(1, Ordering::AcqRel) % 7 {
        6 => Reply::Status(503, String::new()),
        _ => Reply::Status(200, String::new()),
    })
    .unwrap();
    let mut gateway = Gateway::start_with(&manifests(receiver.address), &["--cores", "2"]).unwrap();
    let address = gateway.address;
    let (posts, stop, acknowledged) = (AtomicU64::new(0), AtomicBool::new(false), Acknowledged::default());
    std::thread::scope(|scope| {
        for number in 0..SENDERS {
            let (posts, stop, acknowledged) = (&posts, &stop, &acknowledged);
            scope.spawn(move || sender(number, address, posts, stop, acknowledged));
        }
        let mut random = Random(20_261_123);
        for _ in 0..kills() {
            let at = posts.load(Ordering::Acquire) + 1 + random.below(40);
            while posts.load(Ordering::Acquire) < at {
                std::thread::yield_now();
            }
            gateway.restart().unwrap();
        }
        stop.store(true, Ordering::Release);
    });
    let acknowledged = acknowledged.lock().unwrap().clone();
    let mut received = receiver.received();
    while count(&acknowledged, &arrivals(&received)).lost > 0 {
        let more = receiver.wait_for(received.len() + 1);
        if more.len() == received.len() {
            break;
        }
        received = more;
    }
    let arrived = arrivals(&received);
    let Counted { lost, misordered, repeated, changed } = count(&acknowledged, &arrived);
    println!(
        "kills {}, acknowledged {}, attempts {}, lost {lost}, misordered {misordered}, repeated {repeated}",
        kills(),
        acknowledged.values().map(Vec::len).sum::<usize>(),
        arrived.len()
    );
    assert_eq!((lost, misordered, changed), (0, 0, 0), "{}", gateway.printed());
    // Each conversation can have one delivery whose settlement a kill undid.
    let explained = usize::try_from(kills() * SENDERS * CONVERSATIONS_PER_SENDER).unwrap_or(usize::MAX);
    assert!(repeated <= explained, "{repeated} repeats, {explained} explained");
}
