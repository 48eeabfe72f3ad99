//! JWT methods.

use std::sync::Arc;

use http::HeaderName;

use super::keys::{from_jwks, from_secret};
use super::{Algorithm, ForwardIr, JwtIr, JwtKeyIr, JwtKeysSpec, JwtSpec, MAX_KEYS, RolesFromIr};
use crate::problem::Problems;
use crate::refs::{Refs, resolved};

/// What `clockSkew` is when it is left out.
const DEFAULT_SKEW_SECS: u32 = 30;

/// The largest `clockSkew`: an expired token is good for as long.
const MAX_SKEW_SECS: u64 = 300;

/// The most names in a claim's path.
const MAX_CLAIM_DEPTH: usize = 8;

/// Header fields that a claim must not be forwarded in.
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The method of a block; `None` when a problem was recorded.
pub fn compile(spec: &JwtSpec, refs: &dyn Refs, mut problems: Problems<'_>) -> Option<JwtIr> {
    let JwtSpec { name, issuer, audiences, algorithms, keys, clock_skew, tenant_claim, roles_from, forward: forwarded } =
        spec;
    let before = problems.errors();
    if issuer.is_empty() {
        problems.at("issuer").invalid("is empty", "write exactly what the tokens' iss says");
    }
    if audiences.is_empty() {
        problems.at("audiences").invalid("is empty", "name what the tokens' aud says for this API");
    }
    if algorithms.is_empty() {
        problems.at("algorithms").invalid("is empty", "name what the issuer signs with, such as ES256");
    }
    let skew = clock_skew.as_ref().map_or(u64::from(DEFAULT_SKEW_SECS), |skew| skew.millis().div_ceil(1000));
    if skew > MAX_SKEW_SECS {
        problems.at("clockSkew").invalid("is longer than 5m", "write at most 5m; set the issuer's clock instead");
    }
    let keys = compile_keys(keys, algorithms, refs, problems.at("keys"));
    let tenant_claim = tenant_claim.as_ref().and_then(|claim| claim_path(claim, problems.at("tenantClaim")));
    let mut roles = Vec::with_capacity(roles_from.len());
    for (index, from) in roles_from.iter().enumerate() {
        let claim = claim_path(&from.claim, problems.at("rolesFrom").item(index).at("claim"));
        roles.extend(claim.map(|claim| RolesFromIr { claim, format: from.format }));
    }
    let mut forward = Vec::with_capacity(forwarded.len());
    for (index, spec) in forwarded.iter().enumerate() {
        let mut problems = problems.at("forward");
        let mut problems = problems.item(index);
        let claim = claim_path(&spec.claim, problems.at("claim"));
        let header = forward_header(&spec.header, problems.at("header"));
        forward.extend(claim.zip(header).map(|(claim, header)| ForwardIr { claim, header }));
    }
    let ir = JwtIr {
        name: name.as_str().into(),
        issuer: issuer.as_str().into(),
        audiences: audiences.iter().map(|audience| Arc::from(audience.as_str())).collect(),
        keys: keys.unwrap_or_default(),
        clock_skew_secs: u32::try_from(skew).unwrap_or(DEFAULT_SKEW_SECS),
        tenant_claim,
        roles_from: roles,
        forward,
    };
    (problems.errors() == before).then_some(ir)
}

fn compile_keys(
    spec: &JwtKeysSpec,
    algorithms: &[Algorithm],
    refs: &dyn Refs,
    mut problems: Problems<'_>,
) -> Option<Vec<JwtKeyIr>> {
    let JwtKeysSpec { jwks_uri, secret_ref, inline, oidc_discovery, refresh, max_stale } = spec;
    let fetched = [
        ("jwksURI", jwks_uri.is_some()),
        ("oidcDiscovery", oidc_discovery.is_some()),
        ("refresh", refresh.is_some()),
        ("maxStale", max_stale.is_some()),
    ];
    for (name, _) in fetched.into_iter().filter(|(_, present)| *present) {
        problems.at(name).not_enforced("write the issuer's JWK Set in keys.inline, or name a Secret in keys.secretRef");
    }
    let keys = match (secret_ref, inline) {
        (Some(reference), None) => {
            let mut problems = problems.at("secretRef");
            let secret = resolved(refs.secret(reference), &mut problems)?;
            from_secret(&secret, algorithms, problems)?
        }
        (None, Some(text)) => from_jwks(text.as_bytes(), algorithms, false, problems.at("inline"))?,
        (None, None) if jwks_uri.is_some() || oidc_discovery.is_some() => return None,
        (Some(_), Some(_)) | (None, None) => {
            problems.invalid("must name one place for keys", "write either inline or secretRef");
            return None;
        }
    };
    if keys.len() > MAX_KEYS {
        problems
            .invalid(format!("has {} keys; {MAX_KEYS} are taken", keys.len()), "remove keys that are no longer used");
    }
    for algorithm in algorithms.iter().filter(|algorithm| !keys.iter().any(|key| key.algorithms.contains(algorithm))) {
        problems.warn(format!("no key can check {}", algorithm.name()), "add its key, or remove the algorithm");
    }
    Some(keys)
}

/// The path of a claim: names of nested objects, with dots between. A name that looks like an URL is one
/// name, dots included, as issuers use them for claims of their own.
pub(crate) fn claim_path(text: &str, mut problems: Problems<'_>) -> Option<Vec<Arc<str>>> {
    let path: Vec<Arc<str>> =
        if text.contains("://") { vec![text.into()] } else { text.split('.').map(Arc::from).collect() };
    if path.iter().any(|name| name.is_empty()) || path.len() > MAX_CLAIM_DEPTH {
        problems.invalid(
            format!("{text:?} is no path of a claim"),
            format!("write up to {MAX_CLAIM_DEPTH} names with dots between, such as realm_access.roles"),
        );
        return None;
    }
    Some(path)
}

fn forward_header(name: &str, mut problems: Problems<'_>) -> Option<Arc<str>> {
    let lower = name.to_ascii_lowercase();
    let named = HeaderName::from_bytes(lower.as_bytes()).is_ok();
    if named && !RESERVED.contains(&lower.as_str()) && !lower.starts_with("x-postern-") && !lower.contains('_') {
        return Some(lower.into());
    }
    problems.invalid(
        format!("{name:?} cannot carry a claim"),
        "name a header field of its own with '-' and no '_', such as x-user-id",
    );
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("jwt", |spec: &JwtSpec, refs, problems| compile(spec, refs, problems));
        golden::check_page("jwt", "/authentication/jwt/0", |spec: &JwtSpec, refs, problems| {
            compile(spec, refs, problems)
        });
    }
}
