//! Webhook sources as they travel.

use serde::{Deserialize, Serialize};

/// A WebhookSource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSourceIr {}
