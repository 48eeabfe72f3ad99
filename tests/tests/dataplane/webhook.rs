//! Verified, durable, delivered once and to its own tenant.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ring::hmac;
use serde_json::{Value, json};
use tests::client::{Answer, both, get, post};
use tests::events::misfits;
use tests::gateway::Gateway;
use tests::manifests::{secret, service, tenant};
use tests::upstream::{Reply, Upstream};

const HOOKS: &str = "hooks.example.com";
const SECRET: &str = "canary-app-secret-9f31";

pub(super) fn manifests(acme: &Upstream, globex: &Upstream) -> String {
    let phone = |id: &str| format!("  identifiers: {{whatsAppPhoneNumberIDs: [\"{id}\"]}}");
    let own = |tenant: &str| {
        format!(
            "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: whatsapp, namespace: {tenant}}}
spec:
  provider: WhatsApp
  shared: {{name: meta, namespace: platform}}
  destination: {{backendRef: {{name: adapter, port: 8080}}, path: /events}}
  delivery: {{retry: {{attempts: 2, backoff: {{base: 1ms, max: 2ms}}}}}}
"
        )
    };
    let shared = "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: meta, namespace: platform}
spec:
  provider: WhatsApp
  match: {hostnames: [hooks.example.com], path: /whatsapp}
  verification:
    secretRefs: [{name: meta-app, key: app-secret}]
    handshake: {verifyTokenRef: {name: meta-verify, key: token}}
  sharedWith: {tenants: [acme, globex]}
";
    [
        tenant("platform", HOOKS, ""),
        tenant("acme", super::HOST, &phone("111")),
        tenant("globex", "api.globex.example", &phone("222")),
        shared.to_owned(),
        own("acme"),
        own("globex"),
        secret("platform", "meta-app", "app-secret", SECRET),
        secret("platform", "meta-verify", "token", "canary-verify-token-77"),
        service("acme", "adapter", 8080, acme.address),
        service("globex", "adapter", 8080, globex.address),
    ]
    .concat()
}

fn sign(body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
    tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

pub(super) fn message(phone: &str, id: &str) -> Value {
    json!({"id": "1", "changes": [{"field": "messages", "value": {
        "metadata": {"phone_number_id": phone},
        "messages": [{"from": "49", "id": id, "timestamp": tests::client::now_secs().to_string(), "type": "text", "text": {"body": "hi"}}]}}]})
}

pub(super) fn send(gateway: &Gateway, entries: &[Value]) -> Answer {
    let body = json!({"object": "whatsapp_business_account", "entry": entries}).to_string();
    let signature = sign(&body);
    post(HOOKS, "/whatsapp", body).header("x-hub-signature-256", &signature).send(gateway.address).unwrap()
}

#[test]
fn each_entry_of_a_batch_goes_to_its_tenant_once_and_what_nobody_claims_is_kept() {
    both(|_| {
        let (acme, globex) = (Upstream::echo().unwrap(), Upstream::echo().unwrap());
        let gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
        let batch = [message("111", "wamid.a"), message("222", "wamid.g"), message("999", "wamid.x")];
        for _ in 0..3 {
            assert_eq!(send(&gateway, &batch).status, 200);
        }
        assert_eq!(send(&gateway, &[message("111", "wamid.b")]).status, 200);
        let ids = |received: Vec<tests::upstream::Received>| -> Vec<String> {
            received.iter().map(|one| one.json()["id"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(ids(acme.wait_for(2)), ["wamid.a", "wamid.b"]);
        assert_eq!(ids(globex.wait_for(1)), ["wamid.g"]);
        let event = acme.received()[0].json();
        assert_eq!(misfits(&event).unwrap(), Vec::<String>::new(), "{event:#}");
        assert_eq!((event["specversion"].as_str(), event["tenant"].as_str()), (Some("1.0"), Some("acme")));
        let dead = get("localhost", "/events?state=dead").send_http1(gateway.admin).unwrap().json();
        assert_eq!(dead["events"][0]["reason"], "unclaimed", "{dead}");
        assert_eq!(dead["events"].as_array().map(Vec::len), Some(1), "{dead}");
        let metrics = gateway.metrics();
        for told in [metrics, gateway.printed(), dead.to_string()] {
            assert!(!told.contains("canary"), "a secret is shown: {told}");
        }
    });
}

#[test]
fn what_is_delivered_fits_the_published_schemas_and_says_what_is_unknown_or_cut() {
    both(|_| {
        let (acme, globex) = (Upstream::echo().unwrap(), Upstream::echo().unwrap());
        let gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
        let one = |said: Value| {
            let mut entry = message("111", "wamid.1");
            entry["changes"][0]["value"]["messages"][0] = said;
            entry
        };
        let hologram =
            json!({"from": "49", "id": "wamid.h", "type": "hologram", "hologram": {"beam": [1, {"on": true}]}});
        let dirty = json!({"from": "49", "id": "wamid.d", "type": "text", "text": {"body": "a\u{0}\u{1b}[2Jb"}});
        assert_eq!(send(&gateway, &[message("111", "wamid.c"), one(hologram.clone()), one(dirty)]).status, 200);
        let cut =
            json!({"entry": [one(json!({"from": "49", "id": "wamid.e", "type": "text", "text": {"body": "HALF"}}))]});
        let cut = cut.to_string().replace("HALF", "half \\ud83d");
        let signed = post(HOOKS, "/whatsapp", cut.as_str()).header("x-hub-signature-256", &sign(&cut));
        assert_eq!(signed.send(gateway.address).unwrap().status, 200);
        let received = acme.wait_for(4);
        let events: Vec<Value> = received.iter().map(tests::upstream::Received::json).collect();
        for event in &events {
            assert_eq!(misfits(event).unwrap(), Vec::<String>::new(), "{event:#}");
        }
        let [clean, unknown, sanitised, mended] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((clean.get("unknown"), clean.get("sanitised")), (None, None));
        assert_eq!((&unknown["unknown"], &unknown["type"]), (&json!(true), &json!("whatsapp.message.hologram")));
        assert_eq!(unknown["data"]["message"], hologram);
        assert_eq!(sanitised["data"]["content"]["body"], "a[2Jb");
        assert_eq!(sanitised["sanitised"], "#/content/body #/message/text/body");
        assert_eq!(
            (&mended["data"]["content"]["body"], &mended["sanitised"]),
            (&json!("half \u{fffd}"), &sanitised["sanitised"])
        );
    });
}

#[test]
fn what_is_not_signed_by_the_sender_is_refused_and_the_handshake_needs_its_token() {
    both(|_| {
        let (acme, globex) = (Upstream::echo().unwrap(), Upstream::echo().unwrap());
        let gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
        let body = json!({"entry": [message("111", "wamid.a")]}).to_string();
        let signed = |signature: &str| {
            let sent = post(HOOKS, "/whatsapp", format!("{body} ")).header("x-hub-signature-256", signature);
            sent.send(gateway.address).unwrap()
        };
        assert_eq!((signed(&sign(&body)).status, signed(&sign(&body)).reason().as_str()), (403, "signature_invalid"));
        let unsigned = post(HOOKS, "/whatsapp", body.as_str()).send(gateway.address).unwrap();
        assert_eq!((unsigned.status, unsigned.reason().as_str()), (403, "signature_missing"));
        let ask = |token: &str| {
            let target = format!("/whatsapp?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
            get(HOOKS, &target).send(gateway.address).unwrap()
        };
        assert_eq!(ask("canary-verify-token-77").text(), "1158201444");
        assert_eq!((ask("wrong").status, ask("wrong").reason().as_str()), (403, "handshake_refused"));
        assert_eq!(acme.received().len(), 0);
    });
}

#[test]
fn a_delivery_that_keeps_failing_dies_and_can_be_replayed() {
    both(|_| {
        let (acme, globex) =
            (Upstream::start(|_| Reply::Status(500, "no".to_owned())).unwrap(), Upstream::echo().unwrap());
        let gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
        assert_eq!(send(&gateway, &[message("111", "wamid.a")]).status, 200);
        assert_eq!(acme.wait_for(2).len(), 2);
        let dead = || get("localhost", "/events?state=dead").send_http1(gateway.admin).unwrap().json();
        gateway.wait_until(|| dead()["events"].as_array().is_some_and(|events| events.len() == 1));
        assert_eq!(dead()["events"][0]["last_status"], 500);
        let replay = post("localhost", "/events/replay?id=wamid.a", "").send_http1(gateway.admin).unwrap();
        assert_eq!(replay.json()["events"], 1, "{}", replay.text());
        assert!(acme.wait_for(3).len() >= 3);
    });
}

#[test]
fn a_full_store_says_so_and_requests_go_on() {
    both(|_| {
        let failing = || Upstream::start(|_| Reply::Status(500, String::new())).unwrap();
        let (acme, globex) = (failing(), failing());
        let gateway = Gateway::start_with(&manifests(&acme, &globex), &["--max-spool", "512Ki"]).unwrap();
        let full = (0..4000).find_map(|number| {
            let phone = ["111", "222"][number % 2];
            let answer = send(&gateway, &[message(phone, &format!("wamid.{number}.{}", "x".repeat(400)))]);
            (answer.status != 200).then_some(answer)
        });
        let full = full.unwrap();
        // Which of the two bounds is met first depends on whose event is the larger.
        assert!(full.status == 503 && ["not_durable", "pending_full"].contains(&&*full.reason()), "{}", full.text());
        assert!(full.header("retry-after").is_some());
        assert_eq!(get("nobody.example", "/").send(gateway.address).unwrap().status, 404);
    });
}

#[test]
fn a_source_that_is_off_is_not_there() {
    both(|_| {
        let (acme, globex) = (Upstream::echo().unwrap(), Upstream::echo().unwrap());
        let off = manifests(&acme, &globex).replace("  sharedWith:", "  mode: Off\n  sharedWith:");
        let gateway = Gateway::start(&off).unwrap();
        let answer = send(&gateway, &[message("111", "wamid.a")]);
        assert_eq!((answer.status, answer.reason().as_str()), (404, "no_route"));
    });
}

#[test]
fn event_store_belongs_to_its_user_alone_also_when_an_earlier_version_made_it() {
    both(|_| {
        let (acme, globex) = (Upstream::echo().unwrap(), Upstream::echo().unwrap());
        let mut gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
        assert_eq!(send(&gateway, &[message("111", "wamid.first")]).status, 200);

        let spool = gateway.data().join("spool");
        let modes = || {
            let files = std::fs::read_dir(&spool).unwrap().map(|file| file.unwrap().path());
            files.map(|path| (path.file_name().unwrap().to_owned(), mode(&path))).collect::<Vec<_>>()
        };
        assert_eq!(mode(&spool), 0o700);
        assert!(modes().len() >= 3 && modes().iter().all(|(_, mode)| *mode == 0o600), "{:?}", modes());

        for (name, _) in modes() {
            std::fs::set_permissions(spool.join(name), Permissions::from_mode(0o644)).unwrap();
        }
        std::fs::set_permissions(&spool, Permissions::from_mode(0o755)).unwrap();
        gateway.restart().unwrap();
        assert_eq!(send(&gateway, &[message("111", "wamid.second")]).status, 200);
        assert_eq!(mode(&spool), 0o700);
        assert!(modes().iter().all(|(_, mode)| *mode == 0o600), "{:?}", modes());
    });
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
