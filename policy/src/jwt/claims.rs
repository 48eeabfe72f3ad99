//! What a token whose signature holds says, and whether that is enough.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::{ForwardIr, JwtIr, RolesFormat, RolesFromIr};

/// The most roles that one token may carry.
const MAX_ROLES: usize = 256;

/// The claim at a path of nested objects.
#[must_use]
pub fn claim_at<'a>(claims: &'a Value, path: &[Arc<str>]) -> Option<&'a Value> {
    path.iter().try_fold(claims, |value, name| value.as_object()?.get(&**name))
}

/// Why the claims of a token are not enough: safe to tell whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClaimError {
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    TooEarly,
    #[error("the token names no tenant in the claim that must")]
    NoTenant,
    #[error("the token's issuer (iss) is not the one that is trusted here")]
    Issuer,
    #[error("the token's audience (aud) is not this API")]
    Audience,
    #[error("the token has no {0}, or it is not {1}")]
    Type(&'static str, &'static str),
    #[error("the token's claim {0} is not of the type that roles have")]
    Roles(String),
    #[error("the token's claim {0} cannot be passed on as a header field")]
    Forward(String),
}

const SECONDS: &str = "a number of seconds";
/// Doubles count single seconds up to here.
const MAX_EXACT_SECS: f64 = 9_007_199_254_740_992.0;

/// When the token is good, in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) expires: i64,
    not_before: Option<i64>,
}

impl Period {
    pub(super) fn of(claims: &Value) -> Result<Self, ClaimError> {
        let expires = seconds(claims, "exp")?.ok_or(ClaimError::Type("exp", SECONDS))?;
        Ok(Self { expires, not_before: seconds(claims, "nbf")? })
    }

    pub(super) fn check(&self, now: i64, skew: u32) -> Result<(), ClaimError> {
        let skew = i64::from(skew);
        if now >= self.expires.saturating_add(skew) {
            return Err(ClaimError::Expired);
        }
        match self.not_before {
            Some(from) if now < from.saturating_sub(skew) => Err(ClaimError::TooEarly),
            Some(_) | None => Ok(()),
        }
    }
}

/// A NumericDate (RFC 7519, 2) as whole seconds; a fraction is cut off. Strings, negative and huge numbers are not
/// times: a reader that takes them for "absent" skips the check.
fn seconds(claims: &Value, name: &'static str) -> Result<Option<i64>, ClaimError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let whole = value.as_u64().and_then(|secs| i64::try_from(secs).ok());
    whole.or_else(|| whole_seconds(value.as_f64()?)).map(Some).ok_or(ClaimError::Type(name, SECONDS))
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked, and the fraction is to be cut off")]
fn whole_seconds(secs: f64) -> Option<i64> {
    (0.0..=MAX_EXACT_SECS).contains(&secs).then_some(secs as i64)
}

pub(super) fn check_issuer(ir: &JwtIr, claims: &Value) -> Result<(), ClaimError> {
    match claims.get("iss") {
        Some(Value::String(issuer)) if **issuer == *ir.issuer => Ok(()),
        Some(Value::String(_)) => Err(ClaimError::Issuer),
        Some(_) | None => Err(ClaimError::Type("iss", "a string")),
    }
}

pub(super) fn check_audience(ir: &JwtIr, claims: &Value) -> Result<(), ClaimError> {
    let wrong = || ClaimError::Type("aud", "a string or a list of strings");
    let accepted = |text: &str| ir.audiences.iter().any(|audience| **audience == *text);
    let held = match claims.get("aud") {
        Some(Value::String(audience)) => accepted(audience),
        Some(Value::Array(list)) => {
            let texts = list.iter().map(Value::as_str).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
            texts.into_iter().any(accepted)
        }
        Some(_) | None => return Err(wrong()),
    };
    if held { Ok(()) } else { Err(ClaimError::Audience) }
}

pub(super) fn subject(claims: &Value) -> Result<Arc<str>, ClaimError> {
    match claims.get("sub") {
        Some(Value::String(subject)) if !subject.is_empty() => Ok(subject.as_str().into()),
        Some(_) | None => Err(ClaimError::Type("sub", "a string that is not empty")),
    }
}

pub(super) fn tenant(path: Option<&[Arc<str>]>, claims: &Value) -> Result<Option<Arc<str>>, ClaimError> {
    let Some(path) = path else { return Ok(None) };
    match claim_at(claims, path) {
        Some(Value::String(tenant)) if !tenant.is_empty() => Ok(Some(tenant.as_str().into())),
        Some(_) | None => Err(ClaimError::NoTenant),
    }
}

pub(super) fn roles(from: &[RolesFromIr], claims: &Value) -> Result<Vec<Arc<str>>, ClaimError> {
    let mut roles: Vec<Arc<str>> = Vec::new();
    for RolesFromIr { claim, format } in from {
        let wrong = || ClaimError::Roles(claim.join("."));
        let found: Vec<&str> = match (claim_at(claims, claim), format) {
            (None | Some(Value::Null), _) => Vec::new(),
            (Some(Value::String(text)), RolesFormat::SpaceSeparated) => text.split(' ').collect(),
            (Some(Value::String(text)), RolesFormat::List) => vec![text],
            (Some(Value::Array(list)), RolesFormat::List) => {
                list.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?
            }
            (Some(_), _) => return Err(wrong()),
        };
        roles.extend(found.into_iter().filter(|role| !role.is_empty()).map(Arc::from));
        if roles.len() > MAX_ROLES {
            return Err(wrong());
        }
    }
    roles.sort_unstable();
    roles.dedup();
    Ok(roles)
}

/// The header fields that the upstream gets. An absent claim gives none; one that could be read in two
/// ways, or break out of its field, refuses the token.
pub(super) fn forward(
    forward: &[(ForwardIr, HeaderName)],
    claims: &Value,
) -> Result<Vec<(HeaderName, HeaderValue)>, ClaimError> {
    let mut fields = Vec::with_capacity(forward.len());
    for (ForwardIr { claim, header: _ }, name) in forward {
        let wrong = || ClaimError::Forward(claim.join("."));
        let text = match claim_at(claims, claim) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
            Some(Value::Array(list)) => {
                let items: Vec<&str> = list.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?;
                if items.iter().any(|item| item.contains(',') || item.trim() != *item) {
                    return Err(wrong());
                }
                items.join(",")
            }
            Some(Value::Object(_)) => return Err(wrong()),
        };
        if text.trim() != text || text.chars().any(char::is_control) {
            return Err(wrong());
        }
        fields.push((name.clone(), HeaderValue::from_bytes(text.as_bytes()).map_err(|_| wrong())?));
    }
    Ok(fields)
}
