//! What a user writes for the routes of an API.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PathForm;
use crate::authentication::AuthenticationSpec;
use crate::authorization::GrantSpec;
use crate::circuit_breaker::CircuitBreakerSpec;
use crate::compression::CompressionSpec;
use crate::cors::CorsSpec;
use crate::credentials::Credentials;
use crate::fallback::FallbackSpec;
use crate::headers::SecurityHeadersSpec;
use crate::ip_allow::IpAllowSpec;
use crate::mode::Mode;
use crate::on_failure::OnFailureSpec;
use crate::retry::RetrySpec;
use crate::schema::SchemaSpec;
use crate::split::SplitSpec;
use crate::status::ObjectStatus;
use crate::transform::TransformStep;
use crate::units::DurationText;
use crate::units::SizeText;
use crate::upstream::BackendSpec;

/// A request method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// RFC 9110, 9.3.1.
    Get,
    /// RFC 9110, 9.3.2.
    Head,
    /// RFC 9110, 9.3.3.
    Post,
    /// RFC 9110, 9.3.4.
    Put,
    /// RFC 9110, 9.3.5.
    Delete,
    /// RFC 9110, 9.3.6.
    Connect,
    /// RFC 9110, 9.3.7.
    Options,
    /// RFC 9110, 9.3.8.
    Trace,
    /// RFC 5789.
    Patch,
}

impl Method {
    /// As it stands in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// The whole path.
    Exact,
    /// The path, or what continues it after a `/`.
    #[default]
    PathPrefix,
    /// A regular expression for the whole path.
    RegularExpression,
}

fn root() -> String {
    "/".to_owned()
}

/// A condition on the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!has(self.type) || self.type == 'RegularExpression' || self.value.startsWith('/')", "message": "the path must start with /"}, {"rule": "!has(self.type) || self.type == 'RegularExpression' || !(self.value.contains('//') || self.value.contains('/./') || self.value.contains('/../') || self.value.endsWith('/.') || self.value.endsWith('/..') || self.value.lowerAscii().contains('%2f') || self.value.contains('#'))", "message": "the path must hold no //, /./, /../, %2f or #: such a path is never matched"}]))]
pub struct PathMatchSpec {
    /// How it is compared.
    #[serde(rename = "type", default)]
    pub type_: PathMatchType,
    /// What it is compared with.
    #[serde(default = "root")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValueMatchType {
    /// Exactly this.
    #[default]
    Exact,
    /// A regular expression for the whole value.
    RegularExpression,
}

/// A condition on a header field or a query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueMatchSpec {
    /// The header field or query parameter.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// How its value is compared.
    #[serde(rename = "type", default)]
    pub type_: ValueMatchType,
    /// What it is compared with.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// One match: all of its conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchSpec {
    /// On the path; every path when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatchSpec>,
    /// One of these methods; none means GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS. TRACE and methods of extensions
    /// (PROPFIND) are refused unless they stand here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 32), regex(pattern = "^[A-Za-z][A-Za-z0-9_-]*$")))]
    pub methods: Vec<String>,
    /// On header fields; all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<ValueMatchSpec>,
    /// On query parameters; all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub query_params: Vec<ValueMatchSpec>,
}

/// Deadlines; 0s means none. `backendRequest` may not be longer than `request`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!has(self.request) || !has(self.backendRequest) || self.request.contains('d') || self.backendRequest.contains('d') || duration(self.request) == duration('0s') || duration(self.backendRequest) <= duration(self.request)", "message": "backendRequest must not be longer than request"}]))]
pub struct TimeoutsSpec {
    /// From the request to the head of the response, with all attempts; 30s when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<DurationText>,
    /// For the whole, to the end of the response body; no limit when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<DurationText>,
    /// For one attempt until the response head; `request` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<DurationText>,
}

/// Forms of a path that upstreams read in two ways, so that a rule on `/admin` could be passed by `/admin;x`. Requests
/// with one are refused unless their rule allows it, and every reading of the path leads to the same rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathsSpec {
    /// The forms that are forwarded as they came.
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub allow: Vec<PathForm>,
}

/// One rule: what it takes, what it asks, where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// Its name, in logs and as `sectionName`; `rule-` and a hash of its matches when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// What it takes; one of them must hold. Everything when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<MatchSpec>,
    /// Ambiguous paths that the upstream needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<PathsSpec>,
    /// Who may call; any method of the tenant when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<AuthenticationSpec>,
    /// What callers may do; a request needs one grant that holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub authorization: Vec<GrantSpec>,
    /// Whether `authorization` enforces, audits or rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_mode: Option<Mode>,
    /// What becomes of the API key that proved the caller; Remove when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Which addresses may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<IpAllowSpec>,
    /// Cross-origin requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsSpec>,
    /// Security headers on answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_headers: Option<SecurityHeadersSpec>,
    /// Compressed bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<CompressionSpec>,
    /// Deadlines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsSpec>,
    /// When a request is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
    /// When an upstream is given a rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreakerSpec>,
    /// The answer when the upstream has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackSpec>,
    /// What becomes of a request that the upstream did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailureSpec>,
    /// The largest request body; the tenant's ceiling stays above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<SizeText>,
    /// What request bodies must look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_schema: Option<SchemaSpec>,
    /// How requests are changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub request_transform: Vec<TransformStep>,
    /// How answers are changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub response_transform: Vec<TransformStep>,
    /// Where it goes, by weight.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub backend_refs: Vec<BackendSpec>,
    /// How a weighted split treats a caller who comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitSpec>,
}

/// The routes of an API on one or more of its tenant's hosts. What is said here holds for every rule that does not say it itself.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "Route",
    plural = "routes",
    namespaced,
    shortname = "pr",
    category = "postern",
    status = "ObjectStatus",
    derive = "PartialEq",
    doc = "The routes of a tenant's API: what is taken, what is asked of callers, and where it goes."
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self.rules.all(r, !has(r.name) || self.rules.exists_one(o, has(o.name) && o.name == r.name))", "message": "two rules have the same name: give each its own"}]))]
pub struct RouteSpec {
    /// The tenant that it belongs to; needed only where a namespace serves several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub tenant: Option<String>,
    /// Its hosts, all of them the tenant's; all of the tenant's when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 253), regex(pattern = "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")))]
    pub hostnames: Vec<String>,
    /// Who may call; any method of the tenant when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<AuthenticationSpec>,
    /// What callers may do; a request needs one grant that holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub authorization: Vec<GrantSpec>,
    /// Whether `authorization` enforces, audits or rests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_mode: Option<Mode>,
    /// Which addresses may call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<IpAllowSpec>,
    /// Cross-origin requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<CorsSpec>,
    /// Security headers on answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_headers: Option<SecurityHeadersSpec>,
    /// Compressed bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<CompressionSpec>,
    /// Deadlines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutsSpec>,
    /// When a request is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
    /// When an upstream is given a rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreakerSpec>,
    /// The answer when the upstream has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackSpec>,
    /// What becomes of a request that the upstream did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailureSpec>,
    /// The largest request body; the tenant's ceiling stays above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<SizeText>,
    /// Its rules.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<RuleSpec>,
}
