//! What a WhatsApp message says, by its type: developers.facebook.com, WhatsApp webhooks, "messages" reference.
//!
//! Only what a message of its type cannot be without is required; media, for one, may lack everything but its id.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};

use super::failure::Failure;
use crate::webhook_source::entry::text;
use crate::webhook_source::shape::{Instant, Text, Undocumented, taken, without_nulls};

/// The types of messages that are documented.
pub(super) const KINDS: [&str; 17] = [
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
    "button",
    "reaction",
    "order",
    "system",
    "unsupported",
    "edit",
    "revoke",
    "request_welcome",
];

/// The content of a message of this type.
pub(super) fn content(kind: &str, message: &Value) -> Result<Value, Undocumented> {
    let own = message.get(kind).unwrap_or(&Value::Null);
    match kind {
        "text" => taken::<Body>(own),
        "image" | "video" | "audio" | "document" | "sticker" => taken::<Media>(own),
        "location" => taken::<Location>(own),
        "contacts" => taken::<Vec<Card>>(own).map(|cards| json!({"contacts": cards})),
        "interactive" => interactive(own),
        "button" => taken::<Button>(own),
        "reaction" => taken::<Reaction>(own).map(reaction),
        "order" => taken::<Order>(own),
        "system" => system(message, own),
        "unsupported" => unsupported(message, own),
        "edit" => edit(own),
        "revoke" => taken::<Revoke>(own),
        "request_welcome" => Ok(Value::Object(Map::new())),
        _ => Err(Undocumented),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Body {
    body: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Media {
    id: Text,
    mime_type: Option<String>,
    sha256: Option<String>,
    url: Option<String>,
    caption: Option<String>,
    filename: Option<String>,
    voice: Option<bool>,
    animated: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Location {
    latitude: Number,
    longitude: Number,
    name: Option<String>,
    address: Option<String>,
    url: Option<String>,
}

/// One contact card. Since 2026 a card may be a vCard with numbers alone.
#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Card {
    name: Option<CardName>,
    phones: Option<Vec<Phone>>,
    emails: Option<Vec<Email>>,
    org: Option<Organisation>,
    addresses: Option<Vec<Address>>,
    urls: Option<Vec<Link>>,
    birthday: Option<String>,
    vcard: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct CardName {
    formatted_name: Option<String>,
    first_name: Option<String>,
    middle_name: Option<String>,
    last_name: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Phone {
    phone: Option<Text>,
    wa_id: Option<Text>,
    user_id: Option<Text>,
    r#type: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Email {
    email: Option<String>,
    r#type: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Organisation {
    company: Option<String>,
    department: Option<String>,
    title: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Address {
    street: Option<String>,
    city: Option<String>,
    state: Option<String>,
    zip: Option<Text>,
    country: Option<String>,
    country_code: Option<String>,
    r#type: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Link {
    url: Option<String>,
    r#type: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Button {
    text: String,
    payload: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Reply {
    id: Text,
    title: String,
    description: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct FlowReply {
    name: Option<String>,
    body: Option<String>,
    response_json: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct CallPermissionReply {
    response: String,
    is_permanent: Option<bool>,
    #[serde(rename(serialize = "expiresAt"))]
    expiration_timestamp: Option<Instant>,
    response_source: Option<String>,
}

fn interactive(own: &Value) -> Result<Value, Undocumented> {
    let kind = text(own, &["type"]).ok_or(Undocumented)?;
    let reply = own.get(&kind).ok_or(Undocumented)?;
    let (kind, reply) = match kind.as_str() {
        "button_reply" => ("buttonReply", taken::<Reply>(reply)?),
        "list_reply" => ("listReply", taken::<Reply>(reply)?),
        "nfm_reply" => ("flowReply", taken::<FlowReply>(reply)?),
        "call_permission_reply" => ("callPermissionReply", taken::<CallPermissionReply>(reply)?),
        _ => return Err(Undocumented),
    };
    Ok(json!({"kind": kind, "reply": reply}))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Reaction {
    message_id: Text,
    emoji: Option<String>,
}

/// An emoji that is empty or absent takes the reaction back.
fn reaction(mut taken: Value) -> Value {
    let removed = text(&taken, &["emoji"]).is_none();
    if let Some(fields) = taken.as_object_mut() {
        fields.insert("action".to_owned(), Value::from(if removed { "remove" } else { "react" }));
        if removed {
            fields.remove("emoji");
        }
    }
    taken
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Order {
    catalog_id: Text,
    text: Option<String>,
    #[serde(rename(serialize = "items"))]
    product_items: Vec<Item>,
}

/// Amounts stay texts: a price is no floating-point number.
#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Item {
    product_retailer_id: Text,
    quantity: Text,
    item_price: Option<Text>,
    currency: Option<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase", deserialize = "snake_case"))]
enum SystemKind {
    #[serde(alias = "customer_changed_number")]
    UserChangedNumber,
    UserChangedUserId,
    #[serde(alias = "user_identity_changed")]
    CustomerIdentityChanged,
}

#[derive(Deserialize)]
struct System {
    r#type: SystemKind,
    body: Option<String>,
    identity: Option<String>,
}

/// Who somebody was and is. A changed number is told with the old one as the sender.
fn system(message: &Value, own: &Value) -> Result<Value, Undocumented> {
    let System { r#type: kind, body, identity } = System::deserialize(own).map_err(|_| Undocumented)?;
    let current = json!({
        "waId": text(own, &["wa_id"]).or_else(|| text(own, &["new_wa_id"])),
        "userId": text(own, &["user_id"]),
        "parentUserId": text(own, &["parent_user_id"]),
    });
    let sender = || text(message, &["from"]);
    let previous = match kind {
        SystemKind::CustomerIdentityChanged => json!({}),
        SystemKind::UserChangedNumber | SystemKind::UserChangedUserId => json!({
            "waId": text(own, &["previous_wa_id"]).or_else(sender),
            "userId": text(own, &["previous_user_id"]),
            "parentUserId": text(own, &["previous_parent_user_id"]),
        }),
    };
    let kind = serde_json::to_value(kind).map_err(|_| Undocumented)?;
    Ok(without_nulls(
        json!({"kind": kind, "body": body, "identity": identity, "current": current, "previous": previous}),
    ))
}

fn unsupported(message: &Value, own: &Value) -> Result<Value, Undocumented> {
    let errors = message.get("errors").map(taken::<Vec<Failure>>).transpose()?;
    Ok(without_nulls(json!({"kind": text(own, &["type"]), "errors": errors.unwrap_or_else(|| json!([]))})))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Revoke {
    original_message_id: Text,
}

/// An edit names the message that it changes, and its new text or caption; it has no media of its own.
fn edit(own: &Value) -> Result<Value, Undocumented> {
    let mut edit = taken::<Revoke>(own)?;
    let message = own.get("message").ok_or(Undocumented)?;
    let kind = text(message, &["type"]).ok_or(Undocumented)?;
    let new = json!({
        "type": kind,
        "body": text(message, &[&kind, "body"]),
        "caption": text(message, &[&kind, "caption"]),
    });
    if let Some(fields) = edit.as_object_mut() {
        fields.insert("message".to_owned(), without_nulls(new));
    }
    Ok(edit)
}
