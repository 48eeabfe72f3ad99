//! Providers other than WhatsApp: their challenges are answered and are no events, their events carry their names.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;
use tests::client::{Answer, both, get, post, request};
use tests::gateway::Gateway;
use tests::manifests::{secret, service, tenant};
use tests::upstream::Upstream;

const SECRET: &str = "canary-provider-secret-41c7";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn tag(text: &str) -> String {
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes()).as_ref())
}

fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string()
}

/// A gateway with one source of a provider; `verification` is what else its block says.
fn start(provider: &str, secret_text: &str, verification: &str) -> (Gateway, Upstream) {
    start_with(provider, secret_text, verification, &[])
}

fn start_with(provider: &str, secret_text: &str, verification: &str, arguments: &[&str]) -> (Gateway, Upstream) {
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
"
    );
    let manifests = [
        tenant("acme", super::HOST, ""),
        service("acme", "receiver", 8080, receiver.address),
        secret("acme", "hook", "secret", secret_text),
        source,
    ];
    (Gateway::start_with(&manifests.concat(), arguments).unwrap(), receiver)
}

fn send(gateway: &Gateway, target: &str, body: &str, fields: &[(&str, &str)]) -> Answer {
    let sent = post(super::HOST, target, body);
    fields.iter().fold(sent, |sent, (name, value)| sent.header(name, value)).send(gateway.address).unwrap()
}

/// What the one event that was delivered says of itself.
fn told(receiver: &Upstream) -> [String; 3] {
    let event = receiver.wait_for(1).first().map(tests::upstream::Received::json).unwrap_or_default();
    ["id", "type", "subject"].map(|name| event.get(name).and_then(Value::as_str).unwrap_or_default().to_owned())
}

#[test]
fn slack_gets_its_challenge_back_when_it_signed_it() {
    both(|_| {
        let (gateway, receiver) = start("Slack", SECRET, "");
        let slack = |body: &str, signed: &str| {
            let time = now();
            let signature = format!("v0={}", tag(&format!("v0:{time}:{signed}")));
            send(&gateway, "/hook", body, &[("x-slack-request-timestamp", &time), ("x-slack-signature", &signature)])
        };
        let challenge = r#"{"type":"url_verification","token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd"}"#;
        let answer = slack(challenge, challenge);
        assert_eq!((answer.status, answer.text().as_str()), (200, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        let forged = slack(challenge, "other bytes");
        assert_eq!((forged.status, forged.reason().as_str()), (403, "signature_invalid"));
        assert!(!forged.text().contains("3eZbrw1a"));
        let event =
            r#"{"type":"event_callback","team_id":"T1","event_id":"Ev1","event":{"type":"message","channel":"C1"}}"#;
        assert_eq!(slack(event, event).status, 200);
        assert_eq!(told(&receiver), ["Ev1", "slack.message", "T1#C1"]);
        assert_eq!(receiver.received().len(), 1, "a challenge is no event");
    });
}

#[test]
fn xero_validates_an_endpoint_with_200_for_its_signature_and_401_for_a_wrong_one() {
    both(|_| {
        let (gateway, _receiver) = start("Xero", SECRET, "");
        let validation = r#"{"events":[],"lastEventSequence":0,"firstEventSequence":0,"entropy":"S0m3r4Nd0mt3xt"}"#;
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let right = STANDARD.encode(hmac::sign(&key, validation.as_bytes()).as_ref());
        assert_eq!(send(&gateway, "/hook", validation, &[("x-xero-signature", &right)]).status, 200);

        let wrong = STANDARD.encode(hmac::sign(&key, b"other bytes").as_ref());
        let answer = send(&gateway, "/hook", validation, &[("x-xero-signature", &wrong)]);
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["status"], answer.reason().as_str()),
            (401, &401.into(), "signature_invalid")
        );
        assert_eq!(send(&gateway, "/hook", validation, &[]).status, 401);
    });
}

#[test]
fn discord_gets_its_ping_answered_and_401_for_what_it_did_not_sign() {
    both(|_| {
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let (gateway, receiver) = start("Discord", &hex(key.public_key().as_ref()), "");
        let discord = |body: &str, signed: &str| {
            let time = now();
            let signature = hex(key.sign(format!("{time}{signed}").as_bytes()).as_ref());
            send(&gateway, "/hook", body, &[("x-signature-timestamp", &time), ("x-signature-ed25519", &signature)])
        };
        let interaction = r#"{"id":"1","application_id":"2","type":1,"token":"t","version":1}"#;
        let pong = discord(interaction, interaction);
        assert_eq!((pong.status, pong.text().as_str()), (200, r#"{"type":1}"#));
        let ping = r#"{"version":1,"application_id":"2","type":0}"#;
        let answer = discord(ping, ping);
        assert_eq!((answer.status, answer.header("content-type")), (204, Some("application/json")));
        assert_eq!(discord(ping, "{}").status, 401);
        let event = r#"{"version":1,"type":1,"event":{"type":"ENTITLEMENT_CREATE","data":{"user":{"id":"9"}}}}"#;
        assert_eq!(discord(event, event).status, 200);
        assert_eq!(told(&receiver)[1..], ["discord.ENTITLEMENT_CREATE", "9"]);
        assert_eq!(receiver.received().len(), 1);
    });
}

#[test]
fn an_event_of_stripe_is_known_by_its_id_and_its_customer() {
    both(|_| {
        let (gateway, receiver) = start("Stripe", SECRET, "");
        let body = r#"{"id":"evt_1","type":"invoice.paid","data":{"object":{"id":"in_1","customer":"cus_1"}}}"#;
        let time = now();
        let sign = |time: &str| format!("t={time},v1={},v0=passed-over", tag(&format!("{time}.{body}")));
        for _ in 0..2 {
            assert_eq!(send(&gateway, "/hook", body, &[("stripe-signature", &sign(&time))]).status, 200);
        }
        let old = send(&gateway, "/hook", body, &[("stripe-signature", &sign("1533204620"))]);
        assert_eq!((old.status, old.reason().as_str()), (403, "timestamp_outside_window"));
        assert_eq!(told(&receiver), ["evt_1", "stripe.invoice.paid", "cus_1"]);
        let metrics = gateway.metrics();
        assert!(![metrics, gateway.printed()].concat().contains("canary"), "a secret is shown");
    });
}

#[test]
fn an_event_of_github_is_named_by_its_header_fields() {
    both(|_| {
        let (gateway, receiver) = start("GitHub", SECRET, "");
        let body = r#"{"ref":"refs/heads/main","repository":{"id":1296269}}"#;
        let signature = format!("sha256={}", tag(body));
        let fields = [
            ("x-hub-signature-256", signature.as_str()),
            ("x-github-delivery", "72d3162e"),
            ("x-github-event", "push"),
        ];
        assert_eq!(send(&gateway, "/hook", body, &fields).status, 200);
        assert_eq!(told(&receiver), ["72d3162e", "github.push", "1296269"]);
        let asked =
            get(super::HOST, "/hook?hub.mode=subscribe&hub.challenge=1&hub.verify_token=x").send(gateway.address);
        assert_eq!(asked.unwrap().status, 405);
    });
}

#[test]
fn the_url_that_is_signed_is_the_one_that_the_sender_knows() {
    both(|_| {
        let body = r#"{"event_id":"e1","type":"payment.updated","merchant_id":"M","data":{"id":"P"}}"#;
        let square = |gateway: &Gateway, url: &str, fields: &[(&str, &str)]| {
            let made =
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), format!("{url}{body}").as_bytes());
            let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, made);
            let own = [("x-square-hmacsha256-signature", signature.as_str())];
            send(gateway, "/hook?a=b", body, &[&own[..], fields].concat()).status
        };
        let (https, http) = (format!("https://{}/hook?a=b", super::HOST), format!("http://{}/hook?a=b", super::HOST));
        let (gateway, receiver) = start("Square", SECRET, "");
        assert_eq!(square(&gateway, &https, &[]), 200);
        assert_eq!(square(&gateway, &http, &[("x-forwarded-proto", "http")]), 403, "an untrusted hop says nothing");
        assert_eq!(told(&receiver), ["e1", "square.payment.updated", "M#P"]);
        let (gateway, _receiver) = start("Square", SECRET, ", urlScheme: Http");
        assert_eq!((square(&gateway, &http, &[]), square(&gateway, &https, &[])), (200, 403));
        let (gateway, _receiver) = start_with("Square", SECRET, "", &["--trusted-hops", "1"]);
        let proxied = |scheme, url| square(&gateway, url, &[("x-forwarded-proto", scheme)]);
        assert_eq!((proxied("http", &http), proxied("https", &https), proxied("http", &https)), (200, 200, 403));
    });
}

#[test]
fn who_asks_without_a_body_is_answered() {
    both(|_| {
        let (gateway, receiver) = start("Okta", SECRET, "");
        let asked = get(super::HOST, "/hook").header("x-okta-verification-challenge", "hhgoNiFUaS6eJjZx");
        let answer = asked.send(gateway.address).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"verification":"hhgoNiFUaS6eJjZx"}"#));
        let script =
            get(super::HOST, "/hook").header("x-okta-verification-challenge", "<script>").send(gateway.address);
        assert_eq!(script.unwrap().reason(), "handshake_refused");
        assert_eq!(send(&gateway, "/hook", r#"{"eventId":"e1"}"#, &[("authorization", "wrong")]).status, 403);
        assert_eq!(send(&gateway, "/hook", r#"{"eventId":"e1"}"#, &[("authorization", SECRET)]).status, 200);
        assert_eq!(told(&receiver)[0], "e1");
        let (gateway, _receiver) = start("Trello", SECRET, "");
        assert_eq!(request("HEAD", super::HOST, "/hook").send(gateway.address).unwrap().status, 200);
        assert_eq!(get(super::HOST, "/hook").send(gateway.address).unwrap().status, 405);
    });
}

#[test]
fn a_form_is_an_event_and_a_list_without_events_is_none() {
    both(|_| {
        let (gateway, receiver) = start("Twilio", SECRET, "");
        let url = format!("https://{}/hook", super::HOST);
        let signed = format!("{url}BodyhiMessageSidSM1SmsStatusreceived");
        let made =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes()), signed.as_bytes());
        let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, made);
        let fields = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-twilio-signature", signature.as_str()),
            ("i-twilio-idempotency-token", "tok-1"),
        ];
        assert_eq!(send(&gateway, "/hook", "SmsStatus=received&MessageSid=SM1&Body=hi", &fields).status, 200);
        assert_eq!(told(&receiver), ["tok-1", "twilio.received", "SM1"]);
        assert_eq!(receiver.received()[0].json()["data"]["Body"], "hi");
        let (gateway, receiver) = start("Line", SECRET, "");
        let line = |body: &str| {
            let made = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
            let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, made);
            send(&gateway, "/hook", body, &[("x-line-signature", &signature)]).status
        };
        assert_eq!(line(r#"{"destination":"U1","events":[]}"#), 200);
        let two = r#"{"destination":"U1","events":[{"webhookEventId":"a","type":"message","source":{"userId":"U2"}},{"webhookEventId":"b","type":"follow","source":{"userId":"U2"}}]}"#;
        assert_eq!(line(two), 200);
        let ids: Vec<_> =
            receiver.wait_for(2).iter().map(|one| one.json()["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, ["a", "b"]);
    });
}
