//! Dead letters that are replayed: decided anew, to their owner and to nobody else.

use std::process::Command;

use serde_json::{Value, json};
use tests::client::{get, post};
use tests::gateway::{Gateway, binary};
use tests::manifests::config_map;
use tests::upstream::{Received, Reply, Upstream};

use super::webhook::{manifests, message, send};

const NOBODY: &str = "whatsAppPhoneNumberIDs: [\"111\"]";

/// The two tenants behind a shared source; `111` is acme's and `222` globex's, and `999` whoever is named in edits.
struct Shared {
    acme: Upstream,
    globex: Upstream,
    gateway: Gateway,
}

impl Shared {
    fn start() -> Self {
        let (acme, globex) = (Upstream::echo().unwrap(), Upstream::echo().unwrap());
        let gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
        Self { acme, globex, gateway }
    }

    /// Applies the manifests with these phone numbers of acme and globex.
    fn claim(&self, acme: &str, globex: &str) {
        self.apply(&self.manifests(acme, globex));
    }

    fn manifests(&self, acme: &str, globex: &str) -> String {
        manifests(&self.acme, &self.globex)
            .replace(NOBODY, &format!("whatsAppPhoneNumberIDs: [{acme}]"))
            .replace("whatsAppPhoneNumberIDs: [\"222\"]", &format!("whatsAppPhoneNumberIDs: [{globex}]"))
    }

    fn apply(&self, manifests: &str) {
        let before = self.gateway.snapshots_applied();
        self.gateway.edit("manifests.yaml", manifests).unwrap();
        self.gateway.wait_until(|| self.gateway.snapshots_applied() > before);
    }

    fn unclaimed(&self, id: &str) {
        assert_eq!(send(&self.gateway, &[message("999", id)]).status, 200);
    }

    fn replay(&self, query: &str) -> Value {
        let answer = post("localhost", &format!("/events/replay?{query}"), "").send(self.gateway.admin).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    fn listed(&self) -> Vec<Value> {
        let listed = get("localhost", "/events").send(self.gateway.admin).unwrap().json();
        listed["events"].as_array().unwrap().clone()
    }
}

fn told(report: &Value) -> (&Value, &Value, &str, &str) {
    let one = &report["decided"][0];
    let text = |name: &str| one[name].as_str().unwrap_or_default();
    (&report["events"], &report["stay"], text("to_tenant"), text("reason"))
}

fn ids(received: &[Received]) -> Vec<String> {
    received.iter().map(|one| one.json()["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// `postern events` at the gateway's admin port.
fn events(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let (mut command, admin) = (Command::new(binary().unwrap()), gateway.admin.to_string());
    let ran = command.arg("events").args(arguments).args(["--admin", &admin]).output().unwrap();
    (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
}

#[test]
fn unclaimed_event_goes_to_the_tenant_that_claims_its_number_now() {
    let shared = Shared::start();
    shared.unclaimed("wamid.x");
    assert_eq!(told(&shared.replay("id=wamid.x")), (&json!(0), &json!(1), "", "unclaimed"));
    let before = &shared.listed()[0];
    assert_eq!((&before["tenant"], &before["reason"]), (&json!("platform"), &json!("unclaimed")), "it is as it was");

    shared.claim("\"111\", \"999\"", "\"222\"");
    let dry = shared.replay("id=wamid.x&dryRun=true");
    assert_eq!(told(&dry), (&json!(1), &json!(0), "acme", ""));
    assert_eq!(dry["decided"][0]["to_source"], "acme/whatsapp", "{dry}");
    assert_eq!(shared.listed()[0]["state"], "dead", "a dry run changes nothing");
    assert_eq!(told(&shared.replay("id=wamid.x")), (&json!(1), &json!(0), "acme", ""));
    let event = shared.acme.wait_for(1)[0].json();
    assert_eq!(
        (&event["id"], &event["tenant"], &event["redelivered"]),
        (&json!("wamid.x"), &json!("acme"), &json!(true))
    );
    assert_eq!(event["source"], "/namespaces/acme/webhooksources/whatsapp");
    assert!(event["sequence"].as_str().unwrap() > before["sequence"].to_string().as_str(), "{event}");
    shared.gateway.wait_until(|| shared.listed().is_empty());
    // The provider sends it once more: it is known under its new owner.
    shared.unclaimed("wamid.x");
    assert_eq!(send(&shared.gateway, &[message("999", "wamid.y")]).status, 200);
    assert_eq!(ids(&shared.acme.wait_for(2)), ["wamid.x", "wamid.y"]);
    assert_eq!(shared.globex.received().len(), 0);
}

#[test]
fn number_that_another_tenant_held_meanwhile_needs_the_tenant_by_name() {
    let mut shared = Shared::start();
    shared.unclaimed("wamid.x");
    shared.claim("\"111\"", "\"222\", \"999\"");
    shared.claim("\"111\", \"999\"", "\"222\"");
    let refused = shared.replay("id=wamid.x");
    assert_eq!(told(&refused), (&json!(0), &json!(1), "", "other_tenant"));
    let detail = refused["decided"][0]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("globex") && detail.contains("phone number 999") && detail.contains("--to"), "{detail}");
    // The record outlives the process.
    shared.gateway.restart().unwrap();
    shared.gateway.wait_until(|| shared.gateway.snapshots_applied() > 0);
    assert_eq!(told(&shared.replay("id=wamid.x")), (&json!(0), &json!(1), "", "other_tenant"));

    // To whom the source is not shared it does not go, whoever asks.
    assert_eq!(told(&shared.replay("id=wamid.x&to=initech")), (&json!(0), &json!(1), "", "tenant_mismatch"));
    assert_eq!(told(&shared.replay("id=wamid.x&to=acme")), (&json!(1), &json!(0), "acme", ""));
    assert_eq!(ids(&shared.acme.wait_for(1)), ["wamid.x"]);
    // What is accepted since then goes without a name.
    shared.claim("\"111\"", "\"222\"");
    shared.unclaimed("wamid.y");
    shared.claim("\"111\"", "\"222\", \"999\"");
    assert_eq!(told(&shared.replay("id=wamid.y")), (&json!(1), &json!(0), "globex", ""));
    assert_eq!(ids(&shared.globex.wait_for(1)), ["wamid.y"]);
}

#[test]
fn event_of_a_tenant_never_crosses_to_another() {
    let acme = Upstream::start(|_| Reply::Status(410, "gone".to_owned())).unwrap();
    let globex = Upstream::echo().unwrap();
    let gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
    let shared = Shared { acme, globex, gateway };
    assert_eq!(send(&shared.gateway, &[message("111", "wamid.a")]).status, 200);
    shared.gateway.wait_until(|| shared.listed().iter().any(|one| one["state"] == "dead"));

    shared.claim("\"110\"", "\"222\", \"111\"");
    assert_eq!(told(&shared.replay("id=wamid.a")), (&json!(0), &json!(1), "", "tenant_mismatch"));
    assert_eq!(told(&shared.replay("id=wamid.a&to=globex")), (&json!(0), &json!(1), "", "tenant_mismatch"));
    assert_eq!(shared.globex.received().len(), 0);
    // Its own tenant may have it, when somebody says so.
    assert_eq!(told(&shared.replay("id=wamid.a&to=acme")), (&json!(1), &json!(0), "acme", ""));
    assert_eq!(ids(&shared.acme.wait_for(2)), ["wamid.a", "wamid.a"]);
}

#[test]
fn schema_and_broken_security_hold_for_a_replay_too() {
    let shared = Shared::start();
    shared.unclaimed("wamid.x");
    let claimed = shared.manifests("\"111\", \"999\"", "\"222\"");
    let behind = "  shared: {name: meta, namespace: platform}\n";
    let reference = "  schema: {configMapRef: {name: schemas, key: event.json}}\n";
    let with = |schema: &str| {
        let schema = config_map("acme", "schemas", "event.json", schema);
        claimed.replacen(behind, &format!("{behind}{reference}"), 1) + &schema
    };
    shared.apply(&with(r#"{"required": ["never"]}"#));
    assert_eq!(told(&shared.replay("id=wamid.x")), (&json!(0), &json!(1), "", "schema_invalid"));
    shared.apply(&with(r#"{"type": 7}"#));
    assert_eq!(told(&shared.replay("id=wamid.x")), (&json!(0), &json!(1), "", "policy_broken"));
    // Without its source it goes nowhere.
    shared.apply(&claimed.replace("name: meta, namespace: platform}\nspec", "name: other, namespace: platform}\nspec"));
    assert_eq!(told(&shared.replay("id=wamid.x")), (&json!(0), &json!(1), "", "no_source"));
    shared.apply(&with(r#"{"required": ["from"]}"#));
    assert_eq!(told(&shared.replay("id=wamid.x")), (&json!(1), &json!(0), "acme", ""));
    assert_eq!(ids(&shared.acme.wait_for(1)), ["wamid.x"]);
}

#[test]
fn event_that_was_accepted_again_meanwhile_is_not_delivered_twice() {
    let shared = Shared::start();
    shared.unclaimed("wamid.x");
    shared.claim("\"111\", \"999\"", "\"222\"");
    shared.unclaimed("wamid.x");
    assert_eq!(ids(&shared.acme.wait_for(1)), ["wamid.x"]);
    for query in ["id=wamid.x&dryRun=true", "id=wamid.x"] {
        assert_eq!(told(&shared.replay(query)), (&json!(0), &json!(1), "", "already_delivered"));
    }
    assert_eq!(shared.acme.received().len(), 1);
}

#[test]
fn command_lists_shows_and_tries_out_a_replay_at_the_admin_port() {
    let shared = Shared::start();
    let (code, printed) = events(&shared.gateway, &["ls", "--tenant", "nobody"]);
    assert!(code == Some(0) && printed.contains("no event matches"), "{code:?} {printed}");
    shared.unclaimed("wamid.x");
    shared.unclaimed("wamid.y");
    let (code, printed) = events(&shared.gateway, &["ls", "--state", "dead"]);
    assert!(code == Some(0) && printed.lines().count() == 2 && printed.contains("wamid.x"), "{code:?} {printed}");
    let row = shared.listed()[0]["row"].to_string();
    let (code, printed) = events(&shared.gateway, &["show", &row]);
    assert!(code == Some(0) && printed.contains("\"wamid.x\"") && printed.contains("unclaimed"), "{code:?} {printed}");
    assert_eq!(events(&shared.gateway, &["show", "777"]).0, Some(1));

    let (code, printed) = events(&shared.gateway, &["replay", "--state", "dead", "--yes"]);
    assert!(code == Some(1) && printed.contains("stays, unclaimed"), "{code:?} {printed}");
    shared.claim("\"111\", \"999\"", "\"222\"");
    let (code, printed) = events(&shared.gateway, &["replay", "--state", "dead"]);
    assert!(code == Some(0) && printed.contains("-> tenant acme, acme/whatsapp"), "{code:?} {printed}");
    assert!(printed.contains("2 events would be replayed; write --yes to do it"), "{printed}");
    assert_eq!(shared.acme.received().len(), 0);
    let (code, printed) = events(&shared.gateway, &["replay", "--id", "wamid.x", "--yes"]);
    assert!(code == Some(0) && printed.ends_with("1 event replayed\n"), "{code:?} {printed}");
    let (code, printed) = events(&shared.gateway, &["drop", "--id", "wamid.y"]);
    assert!(code == Some(0) && printed == "1 event would be dropped; write --yes to do it\n", "{code:?} {printed}");
    assert_eq!(ids(&shared.acme.wait_for(1)), ["wamid.x"]);
}

#[test]
fn store_of_a_gateway_that_is_stopped_is_replayed_by_its_last_configuration() {
    let mut shared = Shared::start();
    shared.unclaimed("wamid.x");
    shared.claim("\"111\", \"999\"", "\"222\"");
    shared.gateway.terminate().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary().unwrap());
        let ran = command.args(["events", "replay", "--id", "wamid.x"]).args(arguments);
        let ran = ran.arg("--data").arg(shared.gateway.data()).output().unwrap();
        String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
    };
    let dry = run(&[]);
    assert!(dry.contains("-> tenant acme, acme/whatsapp") && dry.contains("1 event would be replayed"), "{dry}");
    let done = run(&["--yes"]);
    assert!(done.ends_with("1 event replayed\n"), "{done}");
    shared.gateway.begin(&[]).unwrap();
    assert_eq!(ids(&shared.acme.wait_for(1)), ["wamid.x"]);
}
