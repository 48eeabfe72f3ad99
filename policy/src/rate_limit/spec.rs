//! What a user writes for rate limits.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Per, WhenUnavailable};
use crate::mode::Mode;
use crate::quota::QuotaSpec;
use crate::status::ObjectStatus;
use crate::units::DurationText;

/// What a policy may target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A Tenant: everything of it.
    Tenant,
    /// A Route, or a rule of it.
    Route,
    /// A WebhookSource.
    WebhookSource,
}

fn own_group() -> String {
    crate::crd::GROUP.to_owned()
}

/// What a policy limits (GEP-713).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!has(self.sectionName) || self.kind == 'Route'", "message": "sectionName names a rule, so kind must be Route"}]))]
pub struct TargetRefSpec {
    /// The target's API group.
    #[serde(default = "own_group")]
    #[schemars(length(max = 253), regex(pattern = "^postern\\.dev$"))]
    pub group: String,
    /// The target's kind.
    pub kind: TargetKind,
    /// The target's name; its namespace is the policy's.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A rule of the Route, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub section_name: Option<String>,
}

/// At most `requests` in a `window`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitSpec {
    /// Its name, in answers and logs.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Whose requests are counted together.
    pub per: Per,
    /// How many.
    #[schemars(range(min = 1, max = 1000000000))]
    pub requests: u32,
    /// In how long; 1ms to 1d.
    pub window: DurationText,
    /// How many may come at once; `requests` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000000))]
    pub burst: Option<u32>,
    /// A CEL condition: only requests for which it holds are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub when: Option<String>,
}

/// What happens to what is over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnExceeded {
    /// It is refused with 429.
    Refuse,
    /// An event is accepted and waits for its turn; for WebhookSources.
    Pace,
}

fn local_share() -> WhenUnavailable {
    WhenUnavailable::LocalShare
}

/// Limits for the things that it targets. Policies add up: all that target a thing apply, the strictest decides.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "RateLimitPolicy",
    plural = "ratelimitpolicies",
    namespaced,
    shortname = "rlp",
    category = "postern",
    status = "ObjectStatus",
    derive = "PartialEq",
    doc = "Rate limits and quotas for Tenants, Routes and WebhookSources. Policies add up: the strictest decides."
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "has(self.limits) || has(self.quotas)", "message": "name limits, quotas or both: a policy without either limits nothing"}, {"rule": "!has(self.onExceeded) || self.onExceeded != 'Pace' || self.targetRefs.all(t, t.kind == 'WebhookSource')", "message": "Pace is for events: every target must be a WebhookSource"}]))]
pub struct RateLimitPolicySpec {
    /// The tenant that it belongs to; needed only where a namespace serves several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub tenant: Option<String>,
    /// What it limits.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub target_refs: Vec<TargetRefSpec>,
    /// Limits; all of them apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub limits: Vec<LimitSpec>,
    /// Quotas; all of them apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub quotas: Vec<QuotaSpec>,
    /// When the shared count cannot be asked.
    #[serde(default = "local_share")]
    pub when_unavailable: WhenUnavailable,
    /// What happens to what is over a limit; Refuse for requests, Pace for events when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_exceeded: Option<OnExceeded>,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
