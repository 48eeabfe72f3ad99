//! Bodies and events against their JSON Schema.

use ring::hmac;
use serde_json::{Value, json};
use tests::client::{Answer, Client, Request, both, get, post};
use tests::gateway::Gateway;
use tests::manifests::{config_map, secret, service, tenant};
use tests::upstream::{Received, Upstream};

use super::HOST;

const SCHEMA: &str = r##"{
  "type": "object",
  "properties": {
    "name": {"type": "string", "maxLength": 20},
    "age": {"type": "integer", "minimum": 18},
    "tags": {"type": "array", "items": {"type": "string"}},
    "next": {"$ref": "#"}
  },
  "required": ["name"]
}"##;

fn started(upstream: &Upstream, block: &str) -> Gateway {
    let rule = format!("      requestSchema: {{configMapRef: {{name: schemas, key: person.json}}{block}}}\n");
    let manifests = super::acme(upstream, &rule) + &config_map("acme", "schemas", "person.json", SCHEMA);
    Gateway::start_with(&manifests, &["--cores", "2"]).unwrap()
}

fn sent(gateway: &Gateway, body: impl Into<Vec<u8>>) -> Answer {
    person(body).send(gateway.address).unwrap()
}

fn person(body: impl Into<Vec<u8>>) -> Request {
    post(HOST, "/people", body).header("content-type", "application/json")
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.reason())
}

#[test]
fn a_body_that_fits_is_forwarded_byte_for_byte() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let gateway = started(&upstream, "");
        let long = format!(r#"{{"name": "x", "tags": [{}"a"]}}"#, r#""a", "#.repeat(40_000));
        let bodies = ["{ \"age\":18,\t\"name\" : \"\\u0041da\" , \"more\": 1.50e1 }\r\n".to_owned(), long];
        for body in &bodies {
            assert_eq!(sent(&gateway, body.as_str()).status, 200);
        }
        let got: Vec<Vec<u8>> = upstream.wait_for(2).into_iter().map(|one| one.body).collect();
        assert!(got.iter().zip(&bodies).all(|(got, body)| got == body.as_bytes()));
        assert_eq!(get(HOST, "/people").send(gateway.address).unwrap().status, 200);
    });
}

#[test]
fn a_body_that_does_not_fit_is_refused_with_its_places_and_without_its_values() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let gateway = started(&upstream, "");
        let answer = sent(
            &gateway,
            r#"{"age": 12, "tags": ["canary-1", 7], "canary-2": {}, "next": {"name": "canary-3 is much longer"}}"#,
        );
        assert_eq!(told(&answer), (422, "schema_invalid".to_owned()));
        let problem = answer.json();
        let mut places: Vec<&str> =
            problem["violations"].as_array().unwrap().iter().map(|one| one["pointer"].as_str().unwrap()).collect();
        places.sort_unstable();
        assert_eq!(places, ["", "/age", "/next/name", "/tags/1"], "{problem}");
        let age = problem["violations"].as_array().unwrap().iter().find(|one| one["pointer"] == "/age").unwrap();
        assert_eq!(
            *age,
            json!({"pointer": "/age", "schema": "/properties/age/minimum", "expected": "minimum 18", "found": "an integer"})
        );
        let log = gateway.wait_printed("schema_invalid");
        assert!(!log.is_empty());
        for text in [answer.text(), gateway.printed()] {
            assert!(!text.contains("canary"), "a value is repeated: {text}");
        }
        assert!(upstream.received().is_empty());
    });
}

#[test]
fn what_is_not_plain_json_is_refused_in_its_own_words() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let gateway = started(&upstream, "");
        let of_type = |kind: &str| {
            post(HOST, "/people", r#"{"name": "x"}"#).header("content-type", kind).send(gateway.address).unwrap()
        };
        assert_eq!(told(&of_type("text/plain")), (415, "media_type_unsupported".to_owned()));
        assert_eq!(of_type("application/merge-patch+json").status, 200);
        let none = post(HOST, "/people", "{}").send(gateway.address).unwrap();
        assert_eq!(told(&none), (415, "media_type_unsupported".to_owned()));
        for body in ["", "{", r#"{"name": "x", "name": 1}"#, "\u{1}"] {
            assert_eq!(told(&sent(&gateway, body)), (400, "payload_invalid".to_owned()), "{body}");
        }
        assert_eq!(upstream.received().len(), 1);
    });
}

#[test]
fn huge_and_deep_bodies_are_refused_within_bounds() {
    let upstream = Upstream::echo().unwrap();
    let gateway = started(&upstream, "");
    let deep = format!("{}{{}}{}", r#"{"next": "#.repeat(100_000), "}".repeat(100_000));
    let deep = sent(&gateway, deep);
    assert_eq!(told(&deep), (400, "payload_invalid".to_owned()));
    assert!(deep.text().contains("nests deeper than 64 levels"), "{}", deep.text());
    let many = sent(&gateway, format!("[{}0]", "0,".repeat(300_000)));
    assert!(many.text().contains("more than 200000 values"), "{}", many.text());
    // Each of these does not fit, and they are told together.
    let wrong = sent(&gateway, format!(r#"{{"name": "x", "tags": [{}0]}}"#, "0,".repeat(30_000)));
    assert_eq!(told(&wrong), (422, "schema_invalid".to_owned()));
    assert!(wrong.body.len() < 8_192 && wrong.text().contains("(and 30000 more)"), "{}", wrong.text());
    let head = format!(
        "POST /people HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: 5000000\r\n\r\n"
    );
    let mut client = Client::connect(gateway.address).unwrap();
    client.send(head.as_bytes()).unwrap();
    let huge = client.answer(false).unwrap();
    assert_eq!(told(&huge), (413, "body_too_large".to_owned()));
    assert_eq!(sent(&gateway, r#"{"name": "x"}"#).status, 200);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_schema_that_audits_records_and_lets_pass() {
    both(|_| {
        for block in [", mode: Audit", ", onInvalid: Forward"] {
            let upstream = Upstream::echo().unwrap();
            let gateway = started(&upstream, block);
            let long = format!(r#"{{"age": "{}"}}"#, "x".repeat(200_000));
            for body in [r#"{"age": 1}"#, "{", &long] {
                assert_eq!(sent(&gateway, body).status, 200);
            }
            assert_eq!(post(HOST, "/people", "text").send(gateway.address).unwrap().status, 200);
            let bodies: Vec<usize> = upstream.wait_for(4).iter().map(|one: &Received| one.body.len()).collect();
            assert_eq!(bodies, [10, 1, long.len(), 4]);
            for reason in ["schema:schema_invalid", "schema:payload_invalid", "schema:media_type_unsupported"] {
                assert!(!gateway.wait_printed(reason).is_empty(), "{reason}");
            }
            let metrics = gateway.metrics();
            assert!(metrics.lines().any(|line| line.starts_with("postern_would_refuse_total")
                && line.contains("schema_invalid")
                && line.ends_with(" 2")));
        }
    });
}

#[test]
fn a_schema_that_cannot_be_used_refuses_its_rule_and_no_other() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let rule = "      requestSchema: {configMapRef: {name: schemas, key: person.json}}\n";
        let broken = r#"{"$ref": "https://example.com/person.json"}"#;
        let routes = super::acme(&upstream, rule) + &tests::manifests::route("beside", "/beside", "");
        let gateway =
            Gateway::start(&(routes.clone() + &config_map("acme", "schemas", "person.json", broken))).unwrap();
        assert_eq!(told(&sent(&gateway, "{}")), (503, "policy_broken".to_owned()));
        assert_eq!(post(HOST, "/beside", "text").send(gateway.address).unwrap().status, 200);
        gateway.edit("manifests.yaml", &(routes + &config_map("acme", "schemas", "person.json", SCHEMA))).unwrap();
        gateway.wait_until(|| sent(&gateway, r#"{"name": "x"}"#).status == 200);
        assert_eq!(told(&sent(&gateway, "{}")), (422, "schema_invalid".to_owned()));
    });
}

const SECRET: &str = "demo-secret";

pub(super) fn source(upstream: &Upstream, provider: &str, block: &str, document: &str) -> Gateway {
    let (recipe, event) = match provider {
        "Generic" => (
            "recipe: {signature: {header: X-Hub-Signature-256, prefix: 'sha256=', encoding: Hex, algorithm: HmacSha256}, signedParts: [{body: Raw}]}",
            "event: {id: {path: $.id}}",
        ),
        _ => ("", ""),
    };
    let source = format!(
        "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: hooks, namespace: acme}}
spec:
  provider: {provider}
  match: {{hostnames: [{HOST}], path: /hooks}}
  verification:
    secretRefs: [{{name: hooks, key: secret}}]
    {recipe}
  {event}
  schema: {{configMapRef: {{name: schemas, key: event.json}}{block}}}
  destination: {{backendRef: {{name: echo, port: 8080}}, path: /events}}
"
    );
    let manifests = [
        tenant("acme", HOST, ""),
        service("acme", "echo", 8080, upstream.address),
        secret("acme", "hooks", "secret", SECRET),
        config_map("acme", "schemas", "event.json", document),
        source,
    ];
    Gateway::start(&manifests.concat()).unwrap()
}

pub(super) fn deliver(gateway: &Gateway, body: &Value) -> Answer {
    deliver_to(gateway, HOST, body)
}

fn deliver_to(gateway: &Gateway, host: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    let tag = tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"));
    post(host, "/hooks", body).header("x-hub-signature-256", &tag).send(gateway.address).unwrap()
}

fn dead(gateway: &Gateway) -> Vec<(String, String)> {
    let events = get("localhost", "/events?state=dead").send_http1(gateway.admin).unwrap().json();
    let text = |one: &Value, name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let events = events.get("events").and_then(Value::as_array).into_iter().flatten();
    events.map(|one| (text(one, "id"), text(one, "reason"))).collect()
}

#[test]
fn an_entry_that_does_not_fit_is_dead_and_the_others_go_on() {
    let upstream = Upstream::echo().unwrap();
    // What is checked is the provider's own message, not what it is normalised to.
    let gateway = source(
        &upstream,
        "WhatsApp",
        "",
        r#"{"properties": {"text": {"properties": {"body": {"maxLength": 5}}}}, "required": ["from", "type"]}"#,
    );
    let message = |id: &str, text: &str| json!({"from": "49", "id": id, "timestamp": tests::client::now_secs().to_string(), "type": "text", "text": {"body": text}});
    let body = json!({"entry": [{"id": "1", "changes": [{"field": "messages", "value": {
        "metadata": {"phone_number_id": "1"},
        "messages": [message("wamid.a", "hi"), message("wamid.b", "much too long"), message("wamid.c", "hello")]}}]}]});
    assert_eq!(deliver(&gateway, &body).status, 200);
    let ids: Vec<String> =
        upstream.wait_for(2).iter().map(|one| one.json()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["wamid.a", "wamid.c"]);
    assert_eq!(dead(&gateway), [("wamid.b".to_owned(), "schema_invalid".to_owned())]);
}

#[test]
fn a_source_s_schema_audits_and_a_broken_one_refuses() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let gateway = source(&upstream, "Generic", ", mode: Audit", r#"{"required": ["customer"]}"#);
        assert_eq!(deliver(&gateway, &json!({"id": "e-1"})).status, 200);
        assert_eq!(upstream.wait_for(1).len(), 1);
        assert!(dead(&gateway).is_empty());
        assert!(!gateway.wait_printed("schema:schema_invalid").is_empty());
        drop(gateway);
        let gateway = source(&upstream, "Generic", "", r#"{"required": "customer"}"#);
        assert_eq!(told(&deliver(&gateway, &json!({"id": "e-2"}))), (503, "policy_broken".to_owned()));
    });
}

/// A source that verifies for acme and globex, each with a schema of its own.
fn shared(acme: &Upstream, globex: &Upstream, (meta, of_acme, of_globex): (&str, &str, &str)) -> Gateway {
    let own = |name: &str, phone: &str, upstream: &Upstream, document: &str| {
        let source = format!(
            "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: whatsapp, namespace: {name}}}
spec:
  provider: WhatsApp
  shared: {{name: meta, namespace: platform}}
  schema: {{configMapRef: {{name: schemas, key: event.json}}}}
  destination: {{backendRef: {{name: adapter, port: 8080}}, path: /events}}
"
        );
        let identifiers = format!("  identifiers: {{whatsAppPhoneNumberIDs: [\"{phone}\"]}}");
        tenant(name, &format!("api.{name}.example"), &identifiers)
            + &service(name, "adapter", 8080, upstream.address)
            + &config_map(name, "schemas", "event.json", document)
            + &source
    };
    let entrance = "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: meta, namespace: platform}
spec:
  provider: WhatsApp
  match: {hostnames: [hooks.example.com], path: /hooks}
  verification: {secretRefs: [{name: hooks, key: secret}]}
  schema: {configMapRef: {name: schemas, key: event.json}}
  sharedWith: {tenants: [acme, globex]}
";
    let manifests = [
        tenant("platform", "hooks.example.com", ""),
        entrance.to_owned(),
        secret("platform", "hooks", "secret", SECRET),
        config_map("platform", "schemas", "event.json", meta),
        own("acme", "111", acme, of_acme),
        own("globex", "222", globex, of_globex),
    ];
    Gateway::start(&manifests.concat()).unwrap()
}

#[test]
fn an_entry_must_fit_the_schema_of_who_verified_it_and_of_who_gets_it() {
    let (acme, globex) = (Upstream::echo().unwrap(), Upstream::echo().unwrap());
    let short = r#"{"properties": {"text": {"properties": {"body": {"maxLength": 5}}}}}"#;
    let gateway = shared(&acme, &globex, (r#"{"required": ["from"]}"#, short, r#"{"$ref": "other.json"}"#));
    let entry = |phone: &str, message: Value| {
        let value = json!({"metadata": {"phone_number_id": phone}, "messages": [message]});
        json!({"id": "1", "changes": [{"field": "messages", "value": value}]})
    };
    let message = |id: &str, text: &str| json!({"from": "49", "id": id, "type": "text", "text": {"body": text}});
    let batch = [
        entry("111", message("wamid.ok", "hi")),
        entry("111", message("wamid.long", "much too long")),
        entry("111", json!({"id": "wamid.nobody", "type": "text"})),
        // Globex has broken its own schema: that refuses its entries, and nobody else's.
        entry("222", message("wamid.broken", "hi")),
    ];
    assert_eq!(deliver_to(&gateway, "hooks.example.com", &json!({"entry": batch})).status, 200);
    assert_eq!(acme.wait_for(1)[0].json()["id"], "wamid.ok");
    let mut dead = dead(&gateway);
    dead.sort_unstable();
    let expected =
        [("wamid.broken", "policy_broken"), ("wamid.long", "schema_invalid"), ("wamid.nobody", "schema_invalid")];
    assert_eq!(dead, expected.map(|(id, reason)| (id.to_owned(), reason.to_owned())));
    assert!(globex.received().is_empty());
}
