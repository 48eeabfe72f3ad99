//! Routes as they travel.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::PathForm;
use crate::attach::Attached;
use crate::authentication::AuthenticationIr;
use crate::authorization::AuthorizationIr;
use crate::circuit_breaker::CircuitBreakerIr;
use crate::cors::CorsIr;
use crate::credentials::Credentials;
use crate::fallback::FallbackIr;
use crate::headers::SecurityHeadersIr;
use crate::ip_allow::IpAllowIr;
use crate::names::Hostname;
use crate::on_failure::OnFailureIr;
use crate::retry::RetryIr;
use crate::schema::SchemaIr;
use crate::upstream::UpstreamKey;

/// A condition on the path (Gateway API `path.type`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PathMatchIr {
    /// The whole path.
    Exact(Arc<str>),
    /// The path, or what continues it after a `/`. Without a slash at its end, except for `/` itself.
    Prefix(Arc<str>),
    /// A regular expression for the whole path.
    Regex(Arc<str>),
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueMatchIr {
    /// Exactly this.
    Exact(Arc<str>),
    /// A regular expression for the whole value.
    Regex(Arc<str>),
}

/// A condition on a header field or a query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedMatchIr {
    /// The header field (lower case) or the query parameter.
    pub name: Arc<str>,
    /// What its value must be.
    pub value: ValueMatchIr,
}

/// One match of a rule: all of its conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchIr {
    /// On the path.
    pub path: PathMatchIr,
    /// One of these methods; empty means any.
    pub methods: Vec<Arc<str>>,
    /// On header fields; all of them.
    pub headers: Vec<NamedMatchIr>,
    /// On query parameters; all of them.
    pub query: Vec<NamedMatchIr>,
}

/// An upstream with its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendIr {
    /// Which.
    pub upstream: UpstreamKey,
    /// Its share among the rule's backends; 0 gets nothing.
    pub weight: u32,
}

/// The time to the head of the response, in milliseconds, when a rule does not set it.
pub const DEFAULT_REQUEST_MS: u64 = 30_000;

/// How long a request may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeoutsIr {
    /// To the head of the response with all attempts, in milliseconds; 0 means no limit.
    pub request_ms: u64,
    /// For one attempt until the response head, in milliseconds; 0 means no limit of its own.
    pub backend_request_ms: u64,
    /// To the end of the response, in milliseconds; 0 means no limit. Written only when set, so that a dataplane which
    /// does not know the field refuses only the objects that use it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stream_ms: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Default for TimeoutsIr {
    /// Returns the deadlines of a rule without `timeouts`.
    fn default() -> Self {
        Self { request_ms: DEFAULT_REQUEST_MS, backend_request_ms: 0, stream_ms: 0 }
    }
}

/// One rule of a route, with every setting that applies to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleIr {
    /// Its name; a rule without one is named by a hash of its matches.
    pub name: Arc<str>,
    /// What it takes; one of them must hold. Those that could be compiled: empty only in a rule that refuses.
    pub matches: Vec<MatchIr>,
    /// Ambiguous forms that its paths may have. A version that does not know the field refuses them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_forms: Vec<PathForm>,
    /// Fields of security blocks that could not be compiled. Not empty: the rule refuses every request.
    pub broken_security: Vec<Arc<str>>,
    /// Fields of the traffic part that could not be compiled. Not empty: the traffic part of the last-good rule with
    /// equal hostnames and matches applies, and without one the rule answers 503 `not_programmed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken_traffic: Vec<Arc<str>>,
    /// Addresses that may call.
    pub addresses: Option<Attached<IpAllowIr>>,
    /// Cross-origin requests.
    pub cors: Option<Attached<CorsIr>>,
    /// Who may call.
    pub authentication: Attached<AuthenticationIr>,
    /// What callers may do.
    pub authorization: Option<Attached<AuthorizationIr>>,
    /// What request bodies must look like.
    pub request_schema: Option<Attached<SchemaIr>>,
    /// Header fields for answers.
    pub security_headers: Option<Attached<SecurityHeadersIr>>,
    /// Deadlines.
    pub timeouts: TimeoutsIr,
    /// Retries.
    pub retry: Option<Attached<RetryIr>>,
    /// The breaker of each of its upstreams.
    pub circuit_breaker: Option<Attached<CircuitBreakerIr>>,
    /// The answer when the upstream has none.
    pub fallback: Option<Attached<FallbackIr>>,
    /// What becomes of a request that the upstream did not answer.
    pub on_failure: Option<Attached<OnFailureIr>>,
    /// The treatment of the credential that proved the caller.
    #[serde(default, skip_serializing_if = "Credentials::is_default")]
    pub credentials: Credentials,
    /// The largest request body in bytes, the tenant's ceiling included.
    pub max_body_size: u64,
    /// Where it goes; weights add up to more than 0, or the rule answers `no_endpoint`.
    pub backends: Vec<BackendIr>,
}

/// Places where a Route refuses, because it can no longer be said what answers there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedIr {
    /// The hosts.
    pub hostnames: Vec<Hostname>,
    /// The matches there.
    pub matches: Vec<MatchIr>,
}

/// A Route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteIr {
    /// Its hosts, all of them the tenant's; empty only while `broken_hostnames`.
    pub hostnames: Vec<Hostname>,
    /// True when a host could not be compiled: hosts of the last-good Route that are missing here refuse.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken_hostnames: bool,
    /// True when a match of a rule could not be compiled: matches of the last-good Route that no rule has now refuse.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken_matches: bool,
    /// Where the last-good Route answered and this one refuses; written by the dataplane only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedIr>,
    /// When it was created, in seconds since the epoch: of two equal matches the older one wins.
    pub created_secs: i64,
    /// Its rules.
    pub rules: Vec<RuleIr>,
}
