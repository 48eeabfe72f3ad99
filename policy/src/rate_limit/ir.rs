//! Limits as they travel.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::names::ObjectRef;

/// Whose requests one bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Per {
    /// All requests of the tenant that the policy's target receives.
    Tenant,
    /// Each caller for itself; callers of an open rule are told apart by address.
    Caller,
}

/// At most `requests` in `window_ms`, with `burst` at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitIr {
    /// The limit's name, in headers and logs.
    pub name: Arc<str>,
    /// Whose requests are counted together.
    pub per: Per,
    /// How many requests a window earns.
    pub requests: NonZeroU32,
    /// The window in milliseconds; never 0.
    pub window_ms: u64,
    /// How many requests may come at once.
    pub burst: NonZeroU32,
}

/// What a policy limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetIr {
    /// Everything of the tenant.
    Tenant,
    /// One Route, or one rule of it.
    Route {
        /// The Route.
        route: ObjectRef,
        /// The rule's name.
        rule: Option<Arc<str>>,
    },
    /// One WebhookSource.
    WebhookSource(ObjectRef),
}

/// When the shared count cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum WhenUnavailable {
    /// This replica's share of the limit.
    LocalShare,
    /// Let through.
    Allow,
    /// Refuse.
    Refuse,
}

/// All limits of one RateLimitPolicy, or of the tenant's ceilings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimitIr {
    /// The object that says so; part of every key, so that policies never share a bucket.
    pub object: ObjectRef,
    /// What it limits; never empty.
    pub targets: Vec<TargetIr>,
    /// The limits; the strictest decides.
    pub limits: Vec<LimitIr>,
    /// When the shared count is away.
    pub when_unavailable: WhenUnavailable,
    /// Whether it enforces.
    pub mode: Mode,
    /// Fields that could not be compiled. Not empty: what the policy enforces on refuses every request, because nobody
    /// can say how many it would admit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken: Vec<Arc<str>>,
}

impl TargetIr {
    /// Whether it covers the requests of a rule. A limit on a Tenant covers every rule of its Routes.
    #[must_use]
    pub fn covers_rule(&self, of: &ObjectRef, name: &str) -> bool {
        match self {
            Self::Tenant => true,
            Self::Route { route, rule } => route == of && rule.as_deref().is_none_or(|rule| rule == name),
            Self::WebhookSource(_) => false,
        }
    }

    /// Whether it covers the requests of a WebhookSource. A limit on a Tenant does not: a provider's events are
    /// accepted at once unless the source itself is the target.
    #[must_use]
    pub fn covers_source(&self, of: &ObjectRef) -> bool {
        match self {
            Self::WebhookSource(source) => source == of,
            Self::Tenant | Self::Route { .. } => false,
        }
    }
}

impl RateLimitIr {
    /// Returns why everything that the policy covers refuses; nothing while it is sound, or does not enforce.
    pub fn refuses(&self) -> impl Iterator<Item = Arc<str>> {
        let broken = self.broken.iter().filter(|_| self.mode == Mode::Enforce);
        broken.map(|field| format!("{}: {field}", self.object).into())
    }

    /// Whether it applies to a rule of a Route.
    #[must_use]
    pub fn covers_rule(&self, route: &ObjectRef, rule: &str) -> bool {
        self.targets.iter().any(|target| target.covers_rule(route, rule))
    }

    /// Whether it applies to a WebhookSource.
    #[must_use]
    pub fn covers_source(&self, source: &ObjectRef) -> bool {
        self.targets.iter().any(|target| target.covers_source(source))
    }
}
