//! API keys as they travel: hashes, never keys.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One key of a method: what its Secret says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyEntryIr {
    /// The caller's name in logs, limits and audit.
    pub id: Arc<str>,
    /// What people may see of the key.
    pub prefix: Arc<str>,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// Seconds since the epoch from which the key is good.
    pub not_before_secs: Option<i64>,
    /// Seconds since the epoch from which it is good no more.
    pub expires_at_secs: Option<i64>,
    /// The caller's roles.
    pub roles: Vec<Arc<str>>,
}

/// One API-key method of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyIr {
    /// The method's name, by which rules choose it.
    pub name: Arc<str>,
    /// The header field that carries the key, lower case.
    pub header: Arc<str>,
    /// The keys; may be empty (then every key is wrong).
    pub keys: Vec<ApiKeyEntryIr>,
}
