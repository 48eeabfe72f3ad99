//! What a Tenant declares, apart from what its Routes fall back to.

use std::sync::Arc;

use super::{CeilingsIr, CeilingsSpec, IdentifiersIr, IdentifiersSpec, MethodIr, TenantMethodsSpec, TenantSpec};
use crate::authorization::compile_claim;
use crate::names::Hostname;
use crate::problem::Problems;
use crate::refs::Refs;
use crate::units::SizeText;
use crate::{api_key, jwt};

/// The largest request body when nothing is said.
pub const DEFAULT_MAX_BODY_SIZE: u64 = 4 << 20;
/// Bytes of waiting events when nothing is said.
pub const DEFAULT_PENDING_BYTES: u64 = 1 << 30;

/// The bounds, with their defaults.
#[must_use]
pub fn compile_ceilings(spec: Option<&CeilingsSpec>) -> CeilingsIr {
    let bytes = |size: Option<&SizeText>, default| size.map_or(default, SizeText::bytes);
    CeilingsIr {
        max_requests_per_sec: spec.and_then(|spec| spec.max_requests_per_second),
        max_events_per_sec: spec.and_then(|spec| spec.max_events_per_second),
        max_connections: spec.and_then(|spec| spec.max_connections),
        max_body_size: bytes(spec.and_then(|spec| spec.max_body_size.as_ref()), DEFAULT_MAX_BODY_SIZE),
        pending_bytes: bytes(spec.and_then(|spec| spec.pending_bytes.as_ref()), DEFAULT_PENDING_BYTES),
    }
}

/// Those of the wanted hosts that the Tenant holds; all of the Tenant's when none is wanted.
pub fn compile_hosts(wanted: &[String], held: &[Hostname], mut problems: Problems<'_>) -> Vec<Hostname> {
    if wanted.is_empty() {
        if held.is_empty() {
            problems.not_allowed("is empty: the Tenant holds no host", "add spec.hostnames to the Tenant");
        }
        return held.to_vec();
    }
    let mut hosts = Vec::with_capacity(wanted.len());
    for (index, text) in wanted.iter().enumerate() {
        let mut problems = problems.item(index);
        match Hostname::parse(text) {
            Err(error) => problems.invalid(format!("{text:?} is no host name"), format!("it {error}")),
            Ok(host) if held.iter().any(|claim| claim.covers(&host)) => hosts.push(host),
            Ok(host) => {
                let all = held.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let help = match all.as_str() {
                    "" => "the Tenant holds no host: add it to spec.hostnames of the Tenant".to_owned(),
                    all => format!("use a host that the Tenant holds ({all}), or add it to the Tenant"),
                };
                problems.not_allowed(format!("{host} is not a host of this tenant"), help);
            }
        }
    }
    hosts
}

/// The identifiers; a claim that has a problem is left out, and so names no tenant.
pub fn compile_identifiers(spec: &IdentifiersSpec, mut problems: Problems<'_>) -> IdentifiersIr {
    let IdentifiersSpec { claims, whats_app_phone_number_ids, whats_app_business_account_ids, genesys_integration_ids } =
        spec;
    let mut named = Vec::with_capacity(claims.len());
    for (index, claim) in claims.iter().enumerate() {
        named.extend(compile_claim(claim, problems.at("claims").item(index)));
    }
    let texts = |texts: &[String]| texts.iter().map(|text| Arc::from(text.as_str())).collect();
    IdentifiersIr {
        claims: named,
        whats_app_phone_number_ids: texts(whats_app_phone_number_ids),
        whats_app_business_account_ids: texts(whats_app_business_account_ids),
        genesys_integration_ids: texts(genesys_integration_ids),
    }
}

/// The methods. One that has a problem is there by its name alone, and refuses; `unread` are the names of
/// those that could not be read at all.
pub fn compile_methods(
    spec: &TenantSpec,
    unread: &[String],
    refs: &dyn Refs,
    mut problems: Problems<'_>,
) -> Vec<MethodIr> {
    let none = TenantMethodsSpec { jwt: vec![], introspection: vec![], api_keys: vec![], mutual_tls: vec![] };
    let TenantMethodsSpec { jwt, introspection, api_keys, mutual_tls } = spec.authentication.as_ref().unwrap_or(&none);
    let mut problems = problems.at("authentication");
    let mut methods = Methods(Vec::new());
    for name in unread {
        methods.0.push(MethodIr::Broken(name.as_str().into()));
    }
    for (index, spec) in jwt.iter().enumerate() {
        let method = jwt::compile(spec, refs, problems.at("jwt").item(index)).map(MethodIr::Jwt);
        methods.add(&spec.name, method, problems.at("jwt").item(index));
    }
    for (index, spec) in introspection.iter().enumerate() {
        problems.at("introspection").item(index).not_enforced("leave it out, and use a jwt or apiKeys method");
        methods.add(&spec.name, None, problems.at("introspection").item(index));
    }
    for (index, spec) in api_keys.iter().enumerate() {
        let method = api_key::compile(spec, refs, problems.at("apiKeys").item(index)).map(MethodIr::ApiKey);
        methods.add(&spec.name, method, problems.at("apiKeys").item(index));
    }
    for (index, spec) in mutual_tls.iter().enumerate() {
        problems.at("mutualTLS").item(index).not_enforced("leave it out, and use a jwt or apiKeys method");
        methods.add(&spec.name, None, problems.at("mutualTLS").item(index));
    }
    methods.0
}

struct Methods(Vec<MethodIr>);

impl Methods {
    /// Adds a method; of two with one name neither can be meant, so both refuse.
    fn add(&mut self, name: &str, method: Option<MethodIr>, mut problems: Problems<'_>) {
        let broken = MethodIr::Broken(name.into());
        match self.0.iter_mut().find(|other| &**method_name(other) == name) {
            Some(other) => {
                problems.at("name").invalid(format!("{name} names two methods"), "give each method its own name");
                *other = broken;
            }
            None => self.0.push(method.unwrap_or(broken)),
        }
    }
}

/// The name by which Routes choose a method.
#[must_use]
pub fn method_name(method: &MethodIr) -> &Arc<str> {
    match method {
        MethodIr::Jwt(jwt) => &jwt.name,
        MethodIr::ApiKey(api_key) => &api_key.name,
        MethodIr::Broken(name) => name,
    }
}
