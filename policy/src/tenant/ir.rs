//! A tenant as it travels.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api_key::ApiKeyIr;
use crate::authorization::ClaimIr;
use crate::jwt::JwtIr;
use crate::names::Hostname;

/// Bounds that no Route can lift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CeilingsIr {
    /// Requests a second, over all Routes; also compiled into a rate limit.
    pub max_requests_per_sec: Option<u32>,
    /// Events a second, over all sources.
    pub max_events_per_sec: Option<u32>,
    /// Connections with a request of this tenant in flight.
    pub max_connections: Option<u32>,
    /// Bytes of a request body.
    pub max_body_size: u64,
    /// Bytes of events that wait, are parked or are dead.
    pub pending_bytes: u64,
}

/// What is this tenant's on hostnames and webhooks that tenants share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentifiersIr {
    /// Claims whose values name the tenant.
    pub claims: Vec<ClaimIr>,
    /// WhatsApp phone numbers.
    pub whats_app_phone_number_ids: Vec<Arc<str>>,
    /// WhatsApp business accounts.
    pub whats_app_business_account_ids: Vec<Arc<str>>,
    /// Genesys integrations.
    pub genesys_integration_ids: Vec<Arc<str>>,
}

/// One authentication method, or its name alone when it could not be compiled: then it refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MethodIr {
    /// Tokens.
    Jwt(JwtIr),
    /// Keys.
    ApiKey(ApiKeyIr),
    /// A method that could not be compiled, by name. A request that shows no other credential gets
    /// `policy_broken`.
    Broken(Arc<str>),
}

/// A tenant without its routes and sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantIr {
    /// Its hosts.
    pub hostnames: Vec<Hostname>,
    /// What is its own elsewhere.
    pub identifiers: IdentifiersIr,
    /// Its bounds.
    pub ceilings: CeilingsIr,
    /// Its methods.
    pub methods: Vec<MethodIr>,
    /// Only gateways of the canary set get what changes.
    #[serde(default)]
    pub canary: bool,
}
