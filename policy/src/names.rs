//! Names that were parsed once and are safe ever after: as label, metric, path and key.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not the name it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label (RFC 1123).
    #[error("must be 1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit")]
    Label,
    /// Not a host name.
    #[error("must be a lower-case host name such as api.acme.example, or a wildcard such as *.acme.example")]
    Hostname,
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// The name of a tenant: a DNS label, unique in the installation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantName(Arc<str>);

impl TenantName {
    /// Parses a DNS label.
    ///
    /// # Errors
    /// [`NameError::Label`] when it is none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.into())) } else { Err(NameError::Label) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for TenantName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<TenantName> for String {
    fn from(name: TenantName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// A host name as a Tenant or Route claims it: exact, or with a wildcard for one or more labels on the
/// left (as in Gateway API).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Hostname {
    /// Exactly this host.
    Exact(Arc<str>),
    /// Every host that ends with `.` and this, and has at least one label more.
    Wildcard(Arc<str>),
}

impl Hostname {
    /// Parses `api.acme.example` or `*.acme.example`.
    ///
    /// # Errors
    /// [`NameError::Hostname`] when it is neither.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (wildcard, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let is_address = rest.parse::<std::net::IpAddr>().is_ok();
        if rest.len() > 253 || is_address || !rest.split('.').all(is_label) {
            return Err(NameError::Hostname);
        }
        Ok(if wildcard { Self::Wildcard(rest.into()) } else { Self::Exact(rest.into()) })
    }

    /// Whether a canonical host is one of those that this names.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Wildcard(suffix) => {
                host.strip_suffix(&**suffix).is_some_and(|left| left.len() > 1 && left.ends_with('.'))
            }
        }
    }

    /// Whether every host that `other` names is also named by this.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Exact(name)) => self.matches(name),
            (Self::Wildcard(suffix), Self::Wildcard(narrower)) => suffix == narrower || self.matches(narrower),
            (Self::Exact(_), Self::Wildcard(_)) => false,
        }
    }

    /// Whether some host is named by both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl TryFrom<String> for Hostname {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> Self {
        name.to_string()
    }
}

/// The kinds of objects that the gateway reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A tenant; cluster-scoped.
    Tenant,
    /// Routes of a tenant's API.
    Route,
    /// Rate limits.
    RateLimitPolicy,
    /// Webhooks.
    WebhookSource,
    /// Keys and secrets.
    Secret,
    /// Schemas and lists.
    ConfigMap,
    /// Upstreams.
    Service,
    /// Their addresses.
    EndpointSlice,
    /// Labels that a Tenant's selector reads.
    Namespace,
    /// Permission for references from another namespace (Gateway API).
    ReferenceGrant,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Names one object: `Route acme/agents`, `Tenant acme`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty for a cluster-scoped object.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// Names an object; an empty namespace means cluster-scoped.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{} {}", self.kind, self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostname(text: &str) -> Hostname {
        Hostname::parse(text).unwrap()
    }

    #[test]
    fn a_wildcard_needs_at_least_one_label_more() {
        let wildcard = hostname("*.acme.example");
        assert!(wildcard.matches("a.acme.example"));
        assert!(wildcard.matches("a.b.acme.example"));
        assert!(!wildcard.matches("acme.example"));
        assert!(!wildcard.matches(".acme.example"));
        assert!(!wildcard.matches("evilacme.example"));
    }

    #[test]
    fn covering_follows_matching() {
        assert!(hostname("*.acme.example").covers(&hostname("a.acme.example")));
        assert!(hostname("*.acme.example").covers(&hostname("*.b.acme.example")));
        assert!(!hostname("*.b.acme.example").covers(&hostname("*.acme.example")));
        assert!(!hostname("a.acme.example").covers(&hostname("*.acme.example")));
        assert!(hostname("a.acme.example").overlaps(&hostname("*.acme.example")));
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for text in
            ["", "*", "*.", "A.example", "a..b", "-a.example", "a.example.", "10.0.0.1", "a.*.b", "a_b.c", "::1"]
        {
            assert_eq!(Hostname::parse(text), Err(NameError::Hostname), "{text}");
        }
        assert!(TenantName::parse("Acme").is_err());
        assert!(TenantName::parse("acme-2").is_ok());
    }
}
