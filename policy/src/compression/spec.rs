//! What a user writes for compressed bodies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::units::SizeText;

/// A content coding (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Coding {
    /// Zstandard.
    #[serde(rename = "zstd")]
    Zstd,
    /// Brotli.
    #[serde(rename = "br")]
    Brotli,
    /// Gzip.
    #[serde(rename = "gzip")]
    Gzip,
}

/// What happens to compressed request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestCompression {
    /// They are decompressed, within bounds.
    Accept,
    /// They are refused with 415.
    Refuse,
}

/// Compressed answers and requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompressionSpec {
    /// Codings for answers, the dearest first; the caller's `accept-encoding` decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "atomic"))]
    pub response: Vec<Coding>,
    /// The smallest answer that is compressed; 1Ki when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_size: Option<SizeText>,
    /// What happens to compressed request bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestCompression>,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
