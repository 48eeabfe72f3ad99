//! What a message refers to: the message that it answers, and the advertisement that it came from.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::webhook_source::shape::{Text, Undocumented, taken_if_there};

/// What it answers or forwards.
pub(super) fn context(message: &Value) -> Result<Value, Undocumented> {
    taken_if_there::<Context>(message.get("context"))
}

/// Where it came from.
pub(super) fn referral(message: &Value) -> Result<Value, Undocumented> {
    taken_if_there::<Referral>(message.get("referral"))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Context {
    #[serde(rename(serialize = "messageId"))]
    id: Option<Text>,
    from: Option<Text>,
    from_user_id: Option<Text>,
    from_parent_user_id: Option<Text>,
    forwarded: Option<bool>,
    frequently_forwarded: Option<bool>,
    referred_product: Option<Product>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Product {
    catalog_id: Option<Text>,
    product_retailer_id: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
struct Referral {
    source_type: Option<String>,
    source_id: Option<Text>,
    source_url: Option<String>,
    headline: Option<String>,
    body: Option<String>,
    media_type: Option<String>,
    image_url: Option<String>,
    video_url: Option<String>,
    thumbnail_url: Option<String>,
    ctwa_clid: Option<String>,
    welcome_message: Option<Welcome>,
}

#[derive(Serialize, Deserialize)]
struct Welcome {
    text: Option<String>,
}
