//! The order in which a request meets the filters, and why. This enum is the order.

/// The filters of a request, in running order. `Ord` follows the order of declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// First: where a request comes from costs nothing to know, and must not cost a body byte.
    Addresses,
    /// Before authentication, so that who keeps failing it is stopped before it costs a signature check.
    Failures,
    /// Before a body byte is read: what a trusted proxy says of the sender's certificate is in the head.
    ClientCertificate,
    /// A preflight carries no credentials (Fetch standard), so it is answered before they are asked for.
    Cors,
    /// Who it is; for a webhook, the signature over the raw body. Nothing has parsed the body yet.
    Authentication,
    /// What host, token, key and payload say of the tenant must agree before any of it is believed.
    TenantAgreement,
    /// What this caller may do.
    Authorization,
    /// Only authenticated callers spend a budget: a forged request must not spend its victim's.
    RateLimit,
    /// Only a body that has been paid for is read: parsing it is the dearest thing that a caller can ask of a filter.
    Schema,
    /// Where it goes, if the upstream is not resting.
    CircuitBreaker,
    /// How often it is tried.
    Retry,
    /// What stands in for an upstream that has no answer.
    Fallback,
    /// What is kept of a request that the upstream did not answer.
    OnFailure,
    /// On the way back: what the browser is told.
    ResponseHeaders,
}

impl Filter {
    /// All filters in running order.
    pub const ORDER: &'static [Self] = &[
        Self::Addresses,
        Self::Failures,
        Self::ClientCertificate,
        Self::Cors,
        Self::Authentication,
        Self::TenantAgreement,
        Self::Authorization,
        Self::RateLimit,
        Self::Schema,
        Self::CircuitBreaker,
        Self::Retry,
        Self::Fallback,
        Self::OnFailure,
        Self::ResponseHeaders,
    ];

    /// The word for it in logs, metrics and `explain`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Failures => "failures",
            Self::ClientCertificate => "client_certificate",
            Self::Cors => "cors",
            Self::Authentication => "authentication",
            Self::TenantAgreement => "tenant_agreement",
            Self::Authorization => "authorization",
            Self::RateLimit => "rate_limit",
            Self::Schema => "schema",
            Self::CircuitBreaker => "circuit_breaker",
            Self::Retry => "retry",
            Self::Fallback => "fallback",
            Self::OnFailure => "on_failure",
            Self::ResponseHeaders => "response_headers",
        }
    }
}
