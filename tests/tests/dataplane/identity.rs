//! What names an event, and what proves its sender, in every form that senders write it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tests::client::{Answer, get, now_secs, post};
use tests::gateway::Gateway;
use tests::manifests::{secret, service, tenant};
use tests::upstream::{Received, Upstream};

const SECRET: &str = "canary-identity-secret-77c1";
const OUTGOING: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const RECIPE: &str =
    ", recipe: {signature: {header: X-Sig, encoding: Hex, algorithm: HmacSha256}, signedParts: [{body: Raw}]}";

fn tag(text: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes());
    tag.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// A gateway with one source; `verification` and `more` are what else its blocks say.
fn start(provider: &str, verification: &str, more: &str) -> (Gateway, Upstream) {
    let receiver = Upstream::echo().unwrap();
    let source = format!(
        "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: hook, namespace: acme}}
spec:
  provider: {provider}
  match: {{path: /hook}}
  verification: {{secretRefs: [{{name: hook, key: secret}}]{verification}}}
  destination: {{backendRef: {{name: receiver, port: 8080}}, path: /events}}
{more}"
    );
    let manifests = [
        tenant("acme", super::HOST, ""),
        service("acme", "receiver", 8080, receiver.address),
        secret("acme", "hook", "secret", SECRET),
        secret("acme", "outgoing", "secret", &format!("whsec_{OUTGOING}")),
        source,
    ];
    (Gateway::start(&manifests.concat()).unwrap(), receiver)
}

fn send(gateway: &Gateway, body: &str, fields: &[(&str, &str)]) -> Answer {
    let sent = post(super::HOST, "/hook", body);
    fields.iter().fold(sent, |sent, (name, value)| sent.header(name, value)).send(gateway.address).unwrap()
}

fn signed(gateway: &Gateway, body: &str) -> u16 {
    send(gateway, body, &[("x-sig", &tag(body))]).status
}

fn ids(received: &[Received]) -> Vec<String> {
    received.iter().map(|one| one.json()["id"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn ids_that_differ_in_their_last_digit_are_two_events() {
    let event = "  event: {each: $.events, id: {path: $.id}, conversation: {path: $.c}}\n";
    let (gateway, receiver) = start("Generic", RECIPE, event);
    for id in ["12345678901234567890123", "12345678901234567890124"] {
        assert_eq!(signed(&gateway, &format!(r#"{{"events":[{{"id":{id},"c":1}}]}}"#)), 200);
    }
    assert_eq!(ids(&receiver.wait_for(2)), ["12345678901234567890123", "12345678901234567890124"]);
    let late = r#"{"events":[{"c":2,"a":0.12345678901234567891},{"c":2,"a":0.12345678901234567892}]}"#;
    assert_eq!(signed(&gateway, late), 200);
    assert_eq!(receiver.wait_for(4).len(), 4);
}

#[test]
fn the_id_in_the_header_field_is_ascii_and_its_signature_holds() {
    let more = "  event: {id: {path: $.id}}\n  delivery: {signWith: {secretRef: {name: outgoing, key: secret}}}\n";
    let (gateway, receiver) = start("Generic", RECIPE, more);
    let all = ["evt_1", "Bestellung-\u{c4}-1", "n-\u{1f600}", "a.1700000000.b"];
    for id in all {
        assert_eq!(signed(&gateway, &json!({"id": id}).to_string()), 200);
    }
    let received = receiver.wait_for(all.len());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(OUTGOING).unwrap());
    for (one, id) in received.iter().zip(all) {
        let field = |name: &str| one.header(name).unwrap_or_default().to_owned();
        let (written, time) = (field("webhook-id"), field("webhook-timestamp"));
        assert!(written.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.'), "{written}");
        let message = [format!("{written}.{time}.").as_bytes(), &one.body].concat();
        let made = format!("v1,{}", STANDARD.encode(hmac::sign(&key, &message)));
        assert_eq!((field("webhook-signature"), one.json()["id"].as_str()), (made, Some(id)));
    }
}

#[test]
fn hexadecimal_in_upper_case_is_the_same_signature() {
    let (gateway, receiver) = start("Generic", RECIPE, "");
    let body = r#"{"id":"1"}"#;
    assert_eq!(send(&gateway, body, &[("x-sig", &tag(body).to_uppercase())]).status, 200);
    assert_eq!(receiver.wait_for(1).len(), 1);
}

#[test]
fn a_signed_url_may_name_its_port() {
    let (gateway, _receiver) = start("Twilio", "", "");
    let twilio = |host: &str, url: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, format!("{url}BodyhiMessageSidSM1").as_bytes()));
        let sent = post(host, "/hook", "MessageSid=SM1&Body=hi").header("x-twilio-signature", &signature);
        sent.header("content-type", "application/x-www-form-urlencoded").send(gateway.address).unwrap().status
    };
    let (host, other) = (super::HOST, format!("{}:8443", super::HOST));
    assert_eq!(twilio(host, &format!("https://{host}/hook")), 200);
    assert_eq!(twilio(host, &format!("https://{host}:443/hook")), 200);
    assert_eq!(twilio(&other, &format!("https://{host}/hook")), 200);
    assert_eq!(twilio(&other, &format!("https://{host}:8443/hook")), 200);
    assert_eq!(twilio(host, &format!("https://{host}:8443/hook")), 403);
}

#[test]
fn a_thin_event_of_stripe_keeps_the_order_of_its_object_and_its_time() {
    let (gateway, receiver) = start("Stripe", "", "");
    let body = r#"{"id":"evt_2","object":"v2.core.event","type":"v2.core.account.updated","created":"2026-06-24T06:20:52.246Z","related_object":{"id":"acct_1"}}"#;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let signature = format!("t={now},v1={}", tag(&format!("{now}.{body}")));
    assert_eq!(send(&gateway, body, &[("stripe-signature", &signature)]).status, 200);
    let event: Value = receiver.wait_for(1)[0].json();
    assert_eq!((&event["subject"], &event["time"]), (&json!("acct_1"), &json!("2026-06-24T06:20:52.246Z")));
}

#[test]
fn a_recorded_request_is_not_delivered_after_dedupe_has_forgotten_it() {
    let (gateway, receiver) = start("WhatsApp", "", "  dedupe: {window: 2d}\n");
    let whatsapp = |id: &str, age_secs: u64| {
        let time = (now_secs() - age_secs).to_string();
        let message = json!({"from": "49", "id": id, "timestamp": time, "type": "text", "text": {"body": "hi"}});
        let value = json!({"metadata": {"phone_number_id": "1"}, "messages": [message]});
        let body = json!({"entry": [{"id": "1", "changes": [{"field": "messages", "value": value}]}]}).to_string();
        send(&gateway, &body, &[("x-hub-signature-256", &format!("sha256={}", tag(&body)))]).status
    };
    let day = 86_400;
    assert_eq!(
        (whatsapp("wamid.old", 30 * day), whatsapp("wamid.late", day), whatsapp("wamid.new", 0)),
        (200, 200, 200)
    );
    assert_eq!(ids(&receiver.wait_for(2)), ["wamid.late", "wamid.new"]);
    let dead = get("localhost", "/events?state=dead").send(gateway.admin).unwrap().json();
    assert_eq!(dead["events"][0]["reason"], "timestamp_outside_window", "{dead}");
    assert_eq!(dead["events"].as_array().map(Vec::len), Some(1), "{dead}");
}

#[test]
fn a_recorded_request_of_shopify_is_a_repeat_under_any_id_and_time() {
    let (gateway, receiver) = start("Shopify", "", "");
    let shopify = |topic: &str, id: &str, body: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, body.as_bytes()));
        let fields = [
            ("x-shopify-hmac-sha256", signature.as_str()),
            ("x-shopify-webhook-id", id),
            ("x-shopify-topic", topic),
            ("x-shopify-shop-domain", "a.example"),
        ];
        assert_eq!(send(&gateway, body, &fields).status, 200);
    };
    shopify("orders/create", "1", r#"{"id":7}"#);
    shopify("orders/create", "2", r#"{"id":7}"#);
    shopify("orders/paid", "3", r#"{"id":7}"#);
    shopify("orders/create", "4", r#"{"id":8}"#);
    let kinds: Vec<_> = receiver.wait_for(3).iter().map(|one| one.json()["type"].clone()).collect();
    assert_eq!(kinds, ["shopify.orders_create", "shopify.orders_paid", "shopify.orders_create"]);
}
