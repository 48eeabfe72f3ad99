//! What whoever runs the cluster writes for a tenant.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api_key::ApiKeySpec;
use crate::authorization::ClaimSpec;
use crate::circuit_breaker::CircuitBreakerSpec;
use crate::compression::CompressionSpec;
use crate::cors::CorsSpec;
use crate::fallback::FallbackSpec;
use crate::headers::SecurityHeadersSpec;
use crate::introspection::IntrospectionSpec;
use crate::ip_allow::IpAllowSpec;
use crate::jwt::JwtSpec;
use crate::mutual_tls::MutualTlsSpec;
use crate::on_failure::OnFailureSpec;
use crate::reference::{LabelSelector, SecretRef};
use crate::retry::RetrySpec;
use crate::route::TimeoutsSpec;
use crate::status::ObjectStatus;
use crate::units::SizeText;

/// The namespaces in which a tenant's objects may live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "has(self.names) != has(self.selector)", "message": "name either names or selector"}]))]
pub struct NamespacesSpec {
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// By the labels of the Namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// What is this tenant's on hostnames and webhooks that tenants share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentifiersSpec {
    /// Claims whose values name the tenant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub claims: Vec<ClaimSpec>,
    /// WhatsApp phone numbers, by their ids.
    #[serde(rename = "whatsAppPhoneNumberIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 64)))]
    pub whats_app_phone_number_ids: Vec<String>,
    /// WhatsApp business accounts.
    #[serde(rename = "whatsAppBusinessAccountIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 64)))]
    pub whats_app_business_account_ids: Vec<String>,
    /// Genesys integrations.
    #[serde(rename = "genesysIntegrationIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 64)))]
    pub genesys_integration_ids: Vec<String>,
}

/// A certificate for the tenant's hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantTlsSpec {
    /// A Secret of type kubernetes.io/tls.
    pub secret_ref: SecretRef,
}

/// Bounds that no Route can lift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CeilingsSpec {
    /// Requests a second, over all Routes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000000))]
    pub max_requests_per_second: Option<u32>,
    /// Events a second, over all sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000000))]
    pub max_events_per_second: Option<u32>,
    /// Connections with a request of this tenant in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub max_connections: Option<u32>,
    /// The largest request body; 4Mi when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<SizeText>,
    /// Bytes of events that wait, are parked or are dead; 1Gi when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_bytes: Option<SizeText>,
}

/// The authentication methods that a tenant has. Names are unique over all four lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantMethodsSpec {
    /// Tokens (RFC 7519).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub jwt: Vec<JwtSpec>,
    /// Opaque tokens (RFC 7662).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub introspection: Vec<IntrospectionSpec>,
    /// API keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub api_keys: Vec<ApiKeySpec>,
    /// Client certificates.
    #[serde(rename = "mutualTLS", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub mutual_tls: Vec<MutualTlsSpec>,
}

/// Which gateways get what changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GatewaysSpec {
    /// All of them.
    #[default]
    All,
    /// Those of the canary set; the others keep what they have of this tenant until this says All.
    Canary,
}

/// How changes of a tenant come to gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutSpec {
    /// Which of them get what changes: of the Tenant, of its objects, and of what those name. Endpoints of Services change
    /// everywhere.
    #[serde(default)]
    pub gateways: GatewaysSpec,
}

/// A tenant: its hosts, its bounds, its methods, and what its Routes fall back to.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "postern.dev",
    version = "v1alpha1",
    kind = "Tenant",
    plural = "tenants",
    shortname = "tn",
    category = "postern",
    status = "ObjectStatus",
    derive = "PartialEq",
    doc = "A tenant: the hosts and identifiers that are its own, its namespaces, its ceilings and its authentication methods."
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantSpec {
    /// The namespaces in which its Routes, WebhookSources and RateLimitPolicies may live.
    pub namespaces: NamespacesSpec,
    /// The hosts that are its own; `*.` stands for one label or more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 253), regex(pattern = "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")))]
    pub hostnames: Vec<String>,
    /// What is its own on hostnames and webhooks that tenants share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifiers: Option<IdentifiersSpec>,
    /// Certificates for its hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub tls: Vec<TenantTlsSpec>,
    /// Bounds that no Route can lift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceilings: Option<CeilingsSpec>,
    /// The authentication methods that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication: Option<TenantMethodsSpec>,
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
    /// How changes come to gateways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
}
