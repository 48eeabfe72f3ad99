//! What the providers send: bodies and signatures.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

/// Of `examples/4-supporting.yaml`.
pub(super) const WHATSAPP_SECRET: &str = "demo-app-secret-of-meta";
const GENESYS_SECRET: &str = "demo-genesys-token";
pub(super) const PARTNER_KEY: &str = "pk_demo_9c1f_initech-tries-postern-locally";

const ACME_NUMBER: &str = "106540352242922";
const GLOBEX_NUMBER: &str = "209991112223334";
const NOBODYS_NUMBER: &str = "300000000000003";

/// One POST of Meta: two messages of a conversation with acme, one with globex, one for a number that
/// nobody here has. `run` keeps the ids of two demos apart.
pub(super) fn whatsapp_batch(run: &str, now_secs: i64) -> String {
    let acme = vec![
        message(&format!("wamid.{run}.1"), "4915112345678", "Where is my parcel?", now_secs),
        message(&format!("wamid.{run}.2"), "4915112345678", "It was due yesterday.", now_secs),
    ];
    let globex = vec![message(&format!("wamid.{run}.3"), "4917098765432", "Do you open on Sunday?", now_secs)];
    let nobody = vec![message(&format!("wamid.{run}.4"), "4916000000000", "Hello?", now_secs)];
    let entry = [
        entry("102290129340398", ACME_NUMBER, acme),
        entry("102290129340399", GLOBEX_NUMBER, globex),
        entry("102290129340400", NOBODYS_NUMBER, nobody),
    ];
    json!({"object": "whatsapp_business_account", "entry": entry}).to_string()
}

fn message(id: &str, from: &str, text: &str, now_secs: i64) -> Value {
    json!({"from": from, "id": id, "timestamp": now_secs.to_string(), "type": "text", "text": {"body": text}})
}

fn entry(account: &str, number: &str, messages: Vec<Value>) -> Value {
    let contacts: Vec<Value> = messages
        .iter()
        .filter_map(|message| message.get("from"))
        .map(|from| json!({"profile": {"name": "A customer"}, "wa_id": from}))
        .collect();
    json!({"id": account, "changes": [{"field": "messages", "value": {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": number},
        "contacts": contacts, "messages": messages,
    }}]})
}

/// A message that an agent wrote, as Genesys Cloud sends it.
pub(super) fn genesys_message(run: &str, now: &str) -> String {
    json!({
        "id": format!("{run}-genesys"), "type": "Text", "text": "An agent will be with you shortly.",
        "originatingEntity": "Human", "direction": "Outbound",
        "channel": {
            "id": format!("{run}-genesys"), "integrationId": "2fbde9a1-5d3c-4b52-a2f6-0a1d0a9be2c1", "platform": "Open",
            "type": "Private", "messageId": format!("{run}-m-1"), "to": {"id": "4915112345678", "idType": "Opaque"},
            "from": {"id": "2fbde9a1-5d3c-4b52-a2f6-0a1d0a9be2c1", "idType": "Opaque"}, "time": now,
        },
    })
    .to_string()
}

/// `X-Hub-Signature-256` as Meta makes it: hexadecimal.
pub(super) fn meta_signature(secret: &str, body: &str) -> String {
    use std::fmt::Write as _;
    mac(secret, body).as_ref().iter().fold("sha256=".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `X-Hub-Signature-256` as Genesys makes it: the same field, base64.
pub(super) fn genesys_signature(body: &str) -> String {
    format!("sha256={}", STANDARD.encode(mac(GENESYS_SECRET, body)))
}

fn mac(secret: &str, body: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_are_those_of_the_examples() {
        let examples = include_str!("../../../examples/4-supporting.yaml");
        assert!(examples.contains(WHATSAPP_SECRET) && examples.contains(GENESYS_SECRET));
        assert!(examples.contains(PARTNER_KEY));
        let hash = ring::digest::digest(&ring::digest::SHA256, PARTNER_KEY.as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(examples.contains(&hash));
    }

    #[test]
    fn a_signature_is_what_meta_would_send() {
        // A vector of a public test suite.
        let signature = meta_signature("secret", "test");
        assert_eq!(signature, "sha256=0329a06b62cd16b33eb6792be8c60b158d89a2ee3a876fce9a881ebb488c0914");
    }
}
