//! Cross-origin requests (Fetch standard).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An origin that may read answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OriginIr {
    /// Every origin; never together with credentials.
    Any,
    /// Exactly this origin, as browsers serialise it: scheme, host, port unless default.
    Exact(Arc<str>),
    /// `scheme://*.suffix[:port]`: one label or more before the suffix.
    Wildcard {
        /// `https` or `http`.
        scheme: Arc<str>,
        /// What follows `*.`, with a port if one was written.
        suffix: Arc<str>,
    },
}

/// What a browser is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsIr {
    /// Origins that may read answers; never empty.
    pub allow_origins: Vec<OriginIr>,
    /// Methods that a preflight grants.
    pub allow_methods: Vec<Arc<str>>,
    /// Header fields that a preflight grants, lower case.
    pub allow_headers: Vec<Arc<str>>,
    /// Header fields that scripts may read.
    pub expose_headers: Vec<Arc<str>>,
    /// For how long a browser may remember a preflight.
    pub max_age_secs: u32,
    /// Whether cookies and credentials may be sent.
    pub credentials: bool,
}
