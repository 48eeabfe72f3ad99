//! One rule of a Route, ready to decide.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use policy::authentication::Authenticator;
use policy::authorization::AuthorizationIr;
use policy::cors::Cors;
use policy::fallback::FallbackIr;
use policy::headers::SecurityHeaders;
use policy::names::ObjectRef;
use policy::rate_limit::Limits;
use policy::retry::RetryIr;
use policy::route::{PathForm, TimeoutsIr};
use policy::schema::Schema;

use super::{Addresses, Guard};
use crate::telemetry::RouteAttempts;
use crate::upstream::{Backend, Upstream};

/// What a request to a rule meets, in the order of [`policy::stage::Filter`]. What is large and few rules have is boxed:
/// there are very many rules.
#[derive(Debug)]
pub struct Rule {
    /// The Route, for logs: `Route acme/agents`.
    pub object: Arc<str>,
    /// The rule's name.
    pub name: Arc<str>,
    /// Ambiguous forms that its paths may have.
    pub path_forms: Vec<PathForm>,
    /// Security fields that could not be compiled; not empty: every request is refused.
    pub broken_security: Vec<Arc<str>>,
    /// Traffic fields that could not be compiled and have no last good; not empty: what security admits gets
    /// `not_programmed`.
    pub broken_traffic: Vec<Arc<str>>,
    /// Addresses that may call.
    pub addresses: Option<Guard<Box<Addresses>>>,
    /// Cross-origin requests.
    pub cors: Option<Guard<Box<Cors>>>,
    /// Who may call; `None` is mode `Off`: nobody is asked.
    pub authentication: Option<Guard<Authenticator>>,
    /// What callers may do.
    pub authorization: Option<Guard<AuthorizationIr>>,
    /// The limits that apply, each policy with its own mode.
    pub limits: Limits,
    /// What request bodies must look like.
    pub schema: Option<Guard<Arc<Schema>>>,
    /// Header fields for answers.
    pub security_headers: Option<Guard<SecurityHeaders>>,
    /// Header fields that the tenant's methods forward: from outside they are always removed.
    pub forwarded_names: Vec<HeaderName>,
    /// Header fields with credentials that the upstream must not get.
    pub removed_credentials: Vec<HeaderName>,
    /// Deadlines.
    pub timeouts: TimeoutsIr,
    /// Retries.
    pub retry: Option<Guard<Box<RetryIr>>>,
    /// The answer when the upstream has none.
    pub fallback: Option<Guard<FallbackIr>>,
    /// What is kept of a request that the upstream did not answer.
    pub on_failure: Option<Guard<Box<OnFailure>>>,
    /// The largest request body.
    pub max_body_size: u64,
    /// Where it goes, with shares.
    pub backends: Vec<Backend>,
    /// The counters of each backend's attempts, in the same order.
    pub attempts: Vec<Arc<RouteAttempts>>,
}

/// Keeps requests that fail.
#[derive(Clone, Debug)]
pub struct OnFailure {
    /// The Route, as source of what is kept.
    pub route: ObjectRef,
    /// How long it is kept.
    pub retention: Duration,
    /// The largest body that is kept.
    pub max_body_size: u64,
}

impl Rule {
    /// The counters of the attempts on one of the rule's upstreams.
    #[must_use]
    pub fn attempts_on(&self, upstream: &Arc<Upstream>) -> Option<&RouteAttempts> {
        let mut both = self.backends.iter().zip(&self.attempts);
        both.find(|(backend, _)| Arc::ptr_eq(&backend.upstream, upstream)).map(|(_, attempts)| &**attempts)
    }

    /// The time for the whole request, if it is limited.
    #[must_use]
    pub fn request_timeout(&self) -> Option<Duration> {
        (self.timeouts.request_ms > 0).then(|| Duration::from_millis(self.timeouts.request_ms))
    }
}
