//! What became of a message that was sent: developers.facebook.com, WhatsApp webhooks, "status" reference.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::Failure;
use crate::webhook_source::shape::{Instant, Text, Undocumented, taken};

/// The statuses that are documented.
pub(super) const STATUSES: [&str; 5] = ["sent", "delivered", "read", "played", "failed"];

/// The content of a status.
pub(super) fn content(status: &Value) -> Result<Value, Undocumented> {
    taken::<Status>(status)
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Status {
    #[serde(rename(serialize = "messageId"))]
    id: Text,
    status: String,
    conversation: Option<Conversation>,
    pricing: Option<Pricing>,
    #[serde(rename(serialize = "callbackData"))]
    biz_opaque_callback_data: Option<String>,
    errors: Option<Vec<Failure>>,
}

/// Meta's billing conversation; not the one that order is kept in.
#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Conversation {
    id: Text,
    origin: Option<Origin>,
    #[serde(rename(serialize = "expiresAt"))]
    expiration_timestamp: Option<Instant>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "Option<String>")]
struct Origin {
    r#type: Option<String>,
}

impl From<Origin> for Option<String> {
    fn from(origin: Origin) -> Self {
        origin.r#type
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Pricing {
    billable: Option<bool>,
    #[serde(rename(serialize = "model"))]
    pricing_model: Option<String>,
    category: Option<String>,
    r#type: Option<String>,
}
