//! The "no" that a filter returns, and the one vocabulary of reasons.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::schema::Violation;

/// Declares every reason once: its word, its status and its title. The word is the `reason` of the
/// problem document, of the log line and of the metric label.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:ident, $title:literal;)*) => {
        /// Why the gateway said no. One vocabulary for callers, logs, graphs and code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, for docs and for registering metric handles.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word: `reason` in the problem document, the log and the metrics.
            #[must_use]
            pub const fn word(self) -> &'static str { match self { $(Self::$name => $word,)* } }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> StatusCode { match self { $(Self::$name => StatusCode::$status,)* } }

            /// The `title` of the problem document: the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Self::$name => $title,)* } }
        }
    };
}

reasons! {
    /// The bytes are not one unambiguous HTTP request (RFC 9112).
    MalformedRequest = "malformed_request", BAD_REQUEST, "The request is malformed";
    /// The path could be read in two ways.
    AmbiguousPath = "ambiguous_path", BAD_REQUEST, "The path is ambiguous";
    /// More header fields or bytes than the listener takes.
    HeadersTooLarge = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The header section is too large";
    /// The request target is longer than the listener takes.
    TargetTooLong = "target_too_long", URI_TOO_LONG, "The request target is too long";
    /// The caller took too long to send the head or the body.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "The request took too long to arrive";
    /// The body is larger than the route takes.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body could not be read to its end.
    BodyIncomplete = "body_incomplete", BAD_REQUEST, "The body ended early";
    /// The gateway holds as many connections or requests as it may.
    Overloaded = "overloaded", SERVICE_UNAVAILABLE, "The gateway is at its limit";
    /// No tenant has this host.
    UnknownHost = "unknown_host", NOT_FOUND, "No tenant serves this host";
    /// The host is known, but no rule matches.
    NoRoute = "no_route", NOT_FOUND, "No route matches";
    /// A rule has this path, but not for this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// The object that owns this host and path could not be programmed.
    NotProgrammed = "not_programmed", SERVICE_UNAVAILABLE, "The route is not programmed";
    /// A security policy of the rule could not be compiled or attached, so the rule refuses.
    PolicyBroken = "policy_broken", SERVICE_UNAVAILABLE, "A policy of this route is broken";
    /// The caller's address is not allowed.
    AddressDenied = "address_denied", FORBIDDEN, "The address is not allowed";
    /// The sender did not show the wanted client certificate to the trusted proxy in front.
    ClientCertificateRefused = "client_certificate_refused", FORBIDDEN, "The client certificate is not accepted";
    /// The address failed authentication too often.
    TooManyFailures = "too_many_failures", TOO_MANY_REQUESTS, "Too many failed attempts from this address";
    /// The cross-origin request is not allowed (preflight).
    OriginDenied = "origin_denied", FORBIDDEN, "The origin is not allowed";
    /// No credential was sent.
    CredentialsMissing = "credentials_missing", UNAUTHORIZED, "Credentials are missing";
    /// A credential was sent and is not valid.
    CredentialsInvalid = "credentials_invalid", UNAUTHORIZED, "The credentials are not valid";
    /// A credential was sent and has expired, or is not valid yet.
    CredentialsExpired = "credentials_expired", UNAUTHORIZED, "The credentials are outside their time";
    /// The keys to check a credential with are not available.
    KeysUnavailable = "keys_unavailable", UNAUTHORIZED, "The keys to check the credentials with are not available";
    /// The webhook carries no signature.
    SignatureMissing = "signature_missing", FORBIDDEN, "The signature is missing";
    /// The webhook's signature does not match its bytes.
    SignatureInvalid = "signature_invalid", FORBIDDEN, "The signature does not match";
    /// The webhook's signed time is outside the window, or an event is older than its window.
    TimestampOutsideWindow = "timestamp_outside_window", FORBIDDEN, "The timestamp is outside the window";
    /// The provider's handshake carried the wrong token.
    HandshakeRefused = "handshake_refused", FORBIDDEN, "The handshake is refused";
    /// Host, token, key and payload do not name one tenant.
    TenantMismatch = "tenant_mismatch", FORBIDDEN, "The credentials belong to another tenant";
    /// The caller lacks a role, scope or claim.
    NotAuthorized = "not_authorized", FORBIDDEN, "The caller may not do this";
    /// A rate limit is spent.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "The rate limit is exceeded";
    /// The payload is not JSON, or not what the source says.
    PayloadInvalid = "payload_invalid", BAD_REQUEST, "The payload is not valid";
    /// The body does not say that it is plain JSON, and a schema asks for it (RFC 9110, 15.5.16).
    MediaTypeUnsupported = "media_type_unsupported", UNSUPPORTED_MEDIA_TYPE, "The media type is not supported";
    /// The payload is JSON and does not fit the schema (RFC 9110, 15.5.21).
    SchemaInvalid = "schema_invalid", UNPROCESSABLE_ENTITY, "The payload does not fit the schema";
    /// An entry of a shared webhook belongs to no tenant it is shared with.
    Unclaimed = "unclaimed", NOT_FOUND, "No tenant claims this entry";
    /// The events could not be made durable, so they are not accepted.
    NotDurable = "not_durable", SERVICE_UNAVAILABLE, "The event cannot be stored now";
    /// The tenant's share of the event store is full.
    PendingFull = "pending_full", SERVICE_UNAVAILABLE, "The tenant's event store is full";
    /// No endpoint of the upstream is ready.
    NoEndpoint = "no_endpoint", SERVICE_UNAVAILABLE, "The upstream has no ready endpoint";
    /// The circuit breaker of the upstream is open.
    BreakerOpen = "breaker_open", SERVICE_UNAVAILABLE, "The upstream is failing and is given a rest";
    /// The upstream could not be reached, or broke off.
    UpstreamFailed = "upstream_failed", BAD_GATEWAY, "The upstream could not be reached";
    /// The upstream's answer is not valid HTTP.
    UpstreamMalformed = "upstream_malformed", BAD_GATEWAY, "The upstream's answer is malformed";
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream_timeout", GATEWAY_TIMEOUT, "The upstream did not answer in time";
    /// The upgrade that was asked for is not one the gateway carries.
    UpgradeRefused = "upgrade_refused", BAD_REQUEST, "The upgrade is not supported";
    /// The gateway itself failed; its log says how.
    Internal = "internal", INTERNAL_SERVER_ERROR, "The gateway failed";
}

/// What a refusal adds to its answer: a header field, or a member of the problem document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extra {
    /// `Retry-After` in whole seconds, rounded up (RFC 9110, 10.2.3).
    RetryAfter(Duration),
    /// `WWW-Authenticate` (RFC 9110, 11.6.1).
    Challenge(Cow<'static, str>),
    /// `Allow` (RFC 9110, 10.2.1).
    Allow(String),
    /// Another status than the reason's: one that a provider's page requires.
    Status(StatusCode),
    /// The member `violations` (RFC 9457, 3.2): the first places of a body that do not fit.
    Violations(Vec<Violation>),
}

/// The answer that a filter gives in place of forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What is wrong with this request and the way out, for the caller; never a secret.
    pub detail: Cow<'static, str>,
    /// What the answer carries besides.
    pub extras: Vec<Extra>,
}

impl Refusal {
    /// A refusal with its reason's status and title.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), extras: Vec::new() }
    }

    /// Returns the status of the response: the reason's, unless an [`Extra::Status`] replaces it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        let replaced = self.extras.iter().find_map(|extra| match extra {
            Extra::Status(status) => Some(*status),
            Extra::RetryAfter(_) | Extra::Challenge(_) | Extra::Allow(_) | Extra::Violations(_) => None,
        });
        replaced.unwrap_or(self.reason.status())
    }

    /// The same refusal with one more header field or member.
    #[must_use]
    pub fn with(mut self, extra: Extra) -> Self {
        self.extras.push(extra);
        self
    }
}
