//! Which setting applies, and where it came from.
//!
//! Settings fall from Tenant to Route to rule; the nearest wins, whole block by whole block. Nothing is
//! merged inside a block, so that one look at one object tells what applies.

use serde::{Deserialize, Serialize};

use crate::mode::Mode;

/// Where an effective setting was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// On the rule itself.
    Rule,
    /// On the Route, for all its rules.
    Route,
    /// On the WebhookSource.
    WebhookSource,
    /// On the Tenant, for all its Routes.
    Tenant,
    /// On a RateLimitPolicy that targets it.
    RateLimitPolicy,
    /// Nowhere: what the gateway does when nothing is said.
    Default,
}

/// A compiled policy in the place where it applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached<T> {
    /// What it does.
    pub ir: T,
    /// Whether it enforces, audits or rests.
    pub mode: Mode,
    /// Where it was written.
    pub origin: Origin,
}

/// The nearest block that was written: rule before route before tenant.
#[must_use]
pub fn nearest<'a, T>(rule: Option<&'a T>, route: Option<&'a T>, tenant: Option<&'a T>) -> Option<(&'a T, Origin)> {
    rule.map(|block| (block, Origin::Rule))
        .or_else(|| route.map(|block| (block, Origin::Route)))
        .or_else(|| tenant.map(|block| (block, Origin::Tenant)))
}
