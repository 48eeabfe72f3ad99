//! What a Genesys notification says, by its type: developer.genesys.cloud, Open Messaging, "outbound messages".
//!
//! Genesys writes camelCase itself; what is taken keeps its names, and a `content` item is told by its kind.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::webhook_source::entry::text;
use crate::webhook_source::shape::{Text, Undocumented, taken, taken_if_there, without_nulls};

/// The receipts that are documented.
pub(super) const RECEIPTS: [&str; 5] = ["published", "sent", "delivered", "read", "failed"];
/// The events that are documented.
pub(super) const EVENTS: [&str; 5] = ["typing", "presence", "cobrowse", "video", "reactions"];

/// A content, and whether all of it is understood.
pub(super) struct Content {
    pub(super) content: Value,
    pub(super) whole: bool,
}

/// A message: a text, and items beside it or in its place.
pub(super) fn message(body: &Value) -> Result<Content, Undocumented> {
    let text = taken_if_there::<String>(body.get("text"))?;
    let mut whole = true;
    let items = told(list(body, "content")?, item, &mut whole);
    if items.is_empty() && text.is_null() {
        return Err(Undocumented);
    }
    Ok(Content { content: without_nulls(json!({"text": text, "items": items})), whole })
}

/// A receipt: what became of a message that was sent to Genesys.
pub(super) fn receipt(body: &Value) -> Result<Value, Undocumented> {
    taken::<Receipt>(body)
}

/// Events: typing, joining and leaving.
pub(super) fn events(body: &Value) -> Result<Content, Undocumented> {
    let mut whole = true;
    let events = told(list(body, "events")?, event, &mut whole);
    if events.is_empty() { Err(Undocumented) } else { Ok(Content { content: json!({"events": events}), whole }) }
}

/// A list that may be missing.
fn list<'v>(body: &'v Value, name: &str) -> Result<&'v [Value], Undocumented> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => Err(Undocumented),
    }
}

/// Each of a list; one that is not understood keeps its place as `unknown`.
fn told(list: &[Value], one: impl Fn(&Value) -> Option<Value>, whole: &mut bool) -> Vec<Value> {
    let mut told = Vec::with_capacity(list.len());
    for item in list {
        let understood = one(item);
        *whole &= understood.is_some();
        told.push(understood.unwrap_or_else(|| json!({"kind": "unknown"})));
    }
    told
}

/// One item; `None` when its kind is not documented, or its shape is another.
fn item(item: &Value) -> Option<Value> {
    let kind = text(item, &["contentType"])?;
    let own = |name: &str| item.get(name).unwrap_or(&Value::Null);
    let (name, own) = match kind.as_str() {
        "Attachment" => ("attachment", taken::<Attachment>(own("attachment"))),
        "Location" => ("location", taken::<Location>(own("location"))),
        "QuickReply" => ("quickReply", taken::<QuickReply>(own("quickReply"))),
        "ButtonResponse" => ("buttonResponse", taken::<ButtonResponse>(own("buttonResponse"))),
        "Card" => ("card", taken::<Card>(own("card"))),
        "Carousel" => ("carousel", taken::<Carousel>(own("carousel"))),
        "DatePicker" => ("datePicker", taken::<DatePicker>(own("datePicker"))),
        "Notification" => ("template", taken::<Template>(own("template"))),
        "Story" => ("story", taken::<Story>(own("story"))),
        "Reactions" => ("reactions", taken::<Vec<Reaction>>(own("reactions"))),
        _ => return None,
    };
    Some(json!({"kind": name, name: own.ok()?}))
}

fn event(event: &Value) -> Option<Value> {
    let kind = text(event, &["eventType"])?;
    let (name, own) = match kind.as_str() {
        "Typing" => ("typing", taken_if_there::<Typing>(event.get("typing"))),
        "Presence" => ("presence", taken_if_there::<Presence>(event.get("presence"))),
        "CoBrowse" => ("cobrowse", taken_if_there::<CoBrowse>(event.get("coBrowse"))),
        "Video" => ("video", taken_if_there::<Video>(event.get("video"))),
        "Reactions" => ("reactions", taken_if_there::<Vec<Reaction>>(event.get("reactions"))),
        _ => return None,
    };
    Some(without_nulls(json!({"kind": name, name: own.ok()?})))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    status: String,
    is_final_receipt: Option<bool>,
    reasons: Option<Vec<ReceiptReason>>,
}

#[derive(Serialize, Deserialize)]
struct ReceiptReason {
    code: Option<String>,
    message: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    id: Option<Text>,
    media_type: Option<String>,
    url: Option<String>,
    mime: Option<String>,
    text: Option<String>,
    sha256: Option<String>,
    filename: Option<String>,
    content_size_bytes: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Location {
    url: Option<String>,
    address: Option<String>,
    text: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct QuickReply {
    text: String,
    payload: Option<String>,
    image: Option<String>,
    action: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ButtonResponse {
    r#type: Option<String>,
    text: Option<String>,
    payload: Option<String>,
    original_message_id: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Card {
    title: String,
    description: Option<String>,
    image: Option<String>,
    video: Option<String>,
    default_action: Option<CardAction>,
    actions: Option<Vec<CardAction>>,
}

#[derive(Serialize, Deserialize)]
struct CardAction {
    r#type: Option<String>,
    text: Option<String>,
    payload: Option<String>,
    url: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Carousel {
    cards: Vec<Card>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DatePicker {
    id: Option<Text>,
    title: Option<String>,
    subtitle: Option<String>,
    image_url: Option<String>,
    date_minimum: Option<String>,
    date_maximum: Option<String>,
    available_times: Option<Vec<AvailableTime>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AvailableTime {
    date_time: Option<String>,
    duration: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Template {
    id: Option<Text>,
    language: Option<String>,
    header: Option<TemplateHeader>,
    body: Option<TemplateText>,
    buttons: Option<Vec<TemplateButton>>,
    footer: Option<TemplateText>,
}

#[derive(Serialize, Deserialize)]
struct TemplateHeader {
    r#type: Option<String>,
    text: Option<String>,
    media: Option<Attachment>,
    parameters: Option<Vec<Parameter>>,
}

#[derive(Serialize, Deserialize)]
struct TemplateText {
    text: Option<String>,
    parameters: Option<Vec<Parameter>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplateButton {
    r#type: Option<String>,
    text: Option<String>,
    url: Option<String>,
    phone_number: Option<String>,
    parameters: Option<Vec<Parameter>>,
}

#[derive(Serialize, Deserialize)]
struct Parameter {
    name: Option<Text>,
    text: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Story {
    r#type: Option<String>,
    url: Option<String>,
    reply_to_id: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reaction {
    reaction_type: Option<String>,
    count: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Typing {
    r#type: Option<String>,
    duration: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Presence {
    r#type: Option<String>,
    received_message: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CoBrowse {
    r#type: Option<String>,
    session_id: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Video {
    r#type: Option<String>,
    offering_id: Option<Text>,
}
