//! The settings that fall from Tenant to Route to rule: each level compiled once, then the nearest chosen.

use std::sync::Arc;

use super::{DEFAULT_REQUEST_MS, RouteSpec, RuleSpec, TimeoutsIr, TimeoutsSpec};
use crate::attach::{Attached, Origin, nearest};
use crate::authentication::{self, AuthenticationIr, AuthenticationSpec};
use crate::authorization::{self, AuthorizationIr, GrantSpec};
use crate::circuit_breaker::{self, CircuitBreakerIr, CircuitBreakerSpec};
use crate::compression::CompressionSpec;
use crate::cors::{self, CorsIr, CorsSpec};
use crate::fallback::{self, FallbackIr, FallbackSpec};
use crate::headers::{self, SecurityHeadersIr, SecurityHeadersSpec};
use crate::installation::Installation;
use crate::ip_allow::{self, IpAllowIr, IpAllowSpec};
use crate::mode::Mode;
use crate::on_failure::{self, OnFailureIr, OnFailureSpec};
use crate::problem::Problems;
use crate::retry::{self, RetryIr, RetrySpec};
use crate::tenant::TenantSpec;
use crate::units::DurationText;

/// What one level says of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<T> {
    /// This.
    Good(Attached<T>),
    /// Something that has a problem; the field that has it.
    Broken(Arc<str>),
}

/// The settings that one level writes.
#[derive(Clone, Copy, Debug)]
pub struct Level<'a> {
    origin: Origin,
    authentication: Option<&'a AuthenticationSpec>,
    authorization: &'a [GrantSpec],
    authorization_mode: Option<Mode>,
    addresses: Option<&'a IpAllowSpec>,
    cors: Option<&'a CorsSpec>,
    security_headers: Option<&'a SecurityHeadersSpec>,
    compression: Option<&'a CompressionSpec>,
    timeouts: Option<&'a TimeoutsSpec>,
    retry: Option<&'a RetrySpec>,
    circuit_breaker: Option<&'a CircuitBreakerSpec>,
    fallback: Option<&'a FallbackSpec>,
    on_failure: Option<&'a OnFailureSpec>,
}

macro_rules! level {
    ($spec:ident, $origin:expr, $authentication:expr, $authorization:expr, $mode:expr) => {
        Level {
            origin: $origin,
            authentication: $authentication,
            authorization: $authorization,
            authorization_mode: $mode,
            addresses: $spec.addresses.as_ref(),
            cors: $spec.cors.as_ref(),
            security_headers: $spec.security_headers.as_ref(),
            compression: $spec.compression.as_ref(),
            timeouts: $spec.timeouts.as_ref(),
            retry: $spec.retry.as_ref(),
            circuit_breaker: $spec.circuit_breaker.as_ref(),
            fallback: $spec.fallback.as_ref(),
            on_failure: $spec.on_failure.as_ref(),
        }
    };
}

impl<'a> Level<'a> {
    /// What a Tenant writes for all its Routes. Its `authentication` declares methods and chooses none.
    #[must_use]
    pub fn of_tenant(spec: &'a TenantSpec) -> Self {
        level!(spec, Origin::Tenant, None, &[], None)
    }

    /// What a Route writes for all its rules.
    #[must_use]
    pub fn of_route(spec: &'a RouteSpec) -> Self {
        let authentication = spec.authentication.as_ref();
        level!(spec, Origin::Route, authentication, &spec.authorization, spec.authorization_mode)
    }

    /// What a rule writes.
    #[must_use]
    pub fn of_rule(spec: &'a RuleSpec) -> Self {
        let authentication = spec.authentication.as_ref();
        level!(spec, Origin::Rule, authentication, &spec.authorization, spec.authorization_mode)
    }
}

/// The settings of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub(super) authentication: Option<Part<AuthenticationIr>>,
    pub(super) authorization: Option<Part<AuthorizationIr>>,
    pub(super) addresses: Option<Part<IpAllowIr>>,
    pub(super) cors: Option<Part<CorsIr>>,
    pub(super) security_headers: Option<Part<SecurityHeadersIr>>,
    /// Never good in this version.
    pub(super) compression: Option<Part<()>>,
    pub(super) timeouts: Option<Part<TimeoutsIr>>,
    pub(super) retry: Option<Part<RetryIr>>,
    pub(super) circuit_breaker: Option<Part<CircuitBreakerIr>>,
    pub(super) fallback: Option<Part<FallbackIr>>,
    pub(super) on_failure: Option<Part<OnFailureIr>>,
}

/// Compiles one level. `declared` are the tenant's methods, `unread` the blocks that could not be read, as
/// paths from the root of the object.
#[must_use]
pub fn compile(
    level: Level<'_>,
    declared: &[Arc<str>],
    installation: &Installation,
    unread: &[String],
    mut problems: Problems<'_>,
) -> Settings {
    let p = &mut problems;
    let one = Reader { origin: level.origin, unread };
    let grants = if level.authorization.is_empty() { None } else { Some(level.authorization) };
    let grants_mode = level.authorization_mode.unwrap_or_default();
    Settings {
        authentication: one.read(
            p,
            "authentication",
            level.authentication,
            |s| s.mode,
            |s, p| authentication::compile(Some(s), declared, p),
        ),
        authorization: one
            .read(p, "authorization", grants, |_| grants_mode, authorization::compile)
            .or_else(|| one.read(p, "authorizationMode", None, |(): &()| grants_mode, |(), _| None)),
        addresses: one.read(p, "addresses", level.addresses, |s| s.mode, |s, p| ip_allow::compile(s, installation, p)),
        cors: one.read(p, "cors", level.cors, |s| s.mode, cors::compile),
        security_headers: one.read(p, "securityHeaders", level.security_headers, |s| s.mode, headers::compile),
        compression: one.read(
            p,
            "compression",
            level.compression,
            |s| s.mode,
            |s, mut p| {
                if s.mode.runs() {
                    p.not_enforced("leave it out, or write mode: \"Off\"; bodies pass as they are");
                }
                (!s.mode.runs()).then_some(())
            },
        ),
        timeouts: one.read(p, "timeouts", level.timeouts, |_| Mode::Enforce, timeouts),
        retry: one.read(p, "retry", level.retry, |s| s.mode, retry::compile),
        circuit_breaker: one.read(p, "circuitBreaker", level.circuit_breaker, |s| s.mode, circuit_breaker::compile),
        fallback: one.read(p, "fallback", level.fallback, |s| s.mode, fallback::compile),
        on_failure: one.read(p, "onFailure", level.on_failure, |s| s.mode, on_failure::compile),
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    origin: Origin,
    unread: &'a [String],
}

impl Reader<'_> {
    fn read<S: ?Sized, T>(
        self,
        problems: &mut Problems<'_>,
        name: &str,
        spec: Option<&S>,
        mode: impl Fn(&S) -> Mode,
        compile: impl Fn(&S, Problems<'_>) -> Option<T>,
    ) -> Option<Part<T>> {
        let mut problems = problems.at(name);
        let broken = match self.origin {
            Origin::Tenant => format!("{}: {}", problems.object(), problems.field()),
            Origin::Rule | Origin::Route | Origin::WebhookSource | Origin::RateLimitPolicy | Origin::Default => {
                problems.field().to_owned()
            }
        };
        if self.unread.iter().any(|field| field == problems.field()) {
            return Some(Part::Broken(broken.into()));
        }
        let spec = spec?;
        Some(match compile(spec, problems.reborrow()) {
            Some(ir) => Part::Good(Attached { ir, mode: mode(spec), origin: self.origin }),
            None => Part::Broken(broken.into()),
        })
    }
}

fn timeouts(spec: &TimeoutsSpec, mut problems: Problems<'_>) -> Option<TimeoutsIr> {
    let TimeoutsSpec { request, stream, backend_request } = spec;
    let request_ms = request.as_ref().map_or(DEFAULT_REQUEST_MS, DurationText::millis);
    let backend_request_ms = backend_request.as_ref().map_or(0, DurationText::millis);
    let stream_ms = stream.as_ref().map_or(0, DurationText::millis);
    if request_ms > 0 && backend_request_ms > request_ms {
        problems
            .at("backendRequest")
            .invalid("is longer than timeouts.request", "make it at most timeouts.request (30s when that is left out)");
        return None;
    }
    if stream_ms > 0 && request.is_some() && request_ms > stream_ms {
        problems
            .at("stream")
            .invalid("is shorter than timeouts.request, which is a part of it", "make it at least timeouts.request");
        return None;
    }
    Some(TimeoutsIr { request_ms, backend_request_ms, stream_ms })
}

/// The three levels of one setting.
pub(super) struct Levels<'a> {
    pub(super) rule: &'a Settings,
    pub(super) route: &'a Settings,
    pub(super) tenant: &'a Settings,
}

impl<'a> Levels<'a> {
    /// The nearest level that says anything; what is broken there is noted in `broken`.
    pub(super) fn pick<T: Clone + 'a>(
        &self,
        part: impl Fn(&'a Settings) -> Option<&'a Part<T>>,
        broken: &mut Vec<Arc<str>>,
    ) -> Option<Attached<T>> {
        let (part, _) = nearest(part(self.rule), part(self.route), part(self.tenant))?;
        match part {
            Part::Good(attached) => Some(attached.clone()),
            Part::Broken(field) => {
                broken.push(Arc::clone(field));
                None
            }
        }
    }
}
