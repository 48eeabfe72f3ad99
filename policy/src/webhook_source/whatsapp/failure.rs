//! An error as Meta tells it, in messages, statuses and of its own.

use serde::{Deserialize, Serialize};
use serde_json::Number;

/// One error.
#[derive(Serialize, Deserialize)]
#[serde(rename_all(serialize = "camelCase"))]
pub(super) struct Failure {
    code: Number,
    title: Option<String>,
    message: Option<String>,
    #[serde(rename(serialize = "details"))]
    error_data: Option<ErrorData>,
    href: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "Option<String>")]
struct ErrorData {
    details: Option<String>,
}

impl From<ErrorData> for Option<String> {
    fn from(data: ErrorData) -> Self {
        data.details
    }
}
