//! A request is granted when all conditions of one grant hold.

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use super::{AuthorizationIr, ClaimIr, GrantIr};
use crate::jwt::claim_at;
use crate::refusal::{Reason, Refusal};
use crate::request::Caller;

/// Decides whether the caller may use `method` here. Nobody (`None`, on an open rule) has no roles, scopes
/// or claims.
///
/// # Errors
/// [`Reason::NotAuthorized`]
pub fn authorize(ir: &AuthorizationIr, method: &Method, caller: Option<&Caller>) -> Result<(), Refusal> {
    let AuthorizationIr { grants } = ir;
    if grants.iter().any(|grant| holds(grant, method, caller)) {
        return Ok(());
    }
    let detail = if grants.iter().any(|grant| covers(grant, method)) {
        "the caller has not the roles, scopes or claims that this method needs here"
    } else {
        "nobody may use this method here"
    };
    Err(Refusal::new(Reason::NotAuthorized, detail))
}

fn covers(grant: &GrantIr, method: &Method) -> bool {
    grant.methods.is_empty() || grant.methods.iter().any(|granted| **granted == *method.as_str())
}

fn holds(grant: &GrantIr, method: &Method, caller: Option<&Caller>) -> bool {
    let GrantIr { methods: _, roles, scopes, claims } = grant;
    covers(grant, method)
        && (roles.is_empty() || caller.is_some_and(|caller| roles.iter().any(|role| caller.roles.contains(role))))
        && scopes.iter().all(|scope| caller.is_some_and(|caller| has_scope(&caller.claims, scope)))
        && claims.iter().all(|claim| caller.is_some_and(|caller| has_claim(&caller.claims, claim)))
}

/// Scopes stand in `scope` (RFC 8693, RFC 9068) or, with some issuers, in `scp`: separated by spaces, or a
/// list. They are not roles: a role named like a scope does not grant it.
fn has_scope(claims: &Value, scope: &str) -> bool {
    ["scope", "scp"].iter().filter_map(|name| claims.get(name)).any(|value| match value {
        Value::String(text) => text.split(' ').any(|held| held == scope),
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(scope)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    })
}

/// Whether the claim, or one item of it when it is a list, is one of the values.
pub(crate) fn has_claim(claims: &Value, claim: &ClaimIr) -> bool {
    let ClaimIr { claim, values } = claim;
    match claim_at(claims, claim) {
        Some(Value::Array(items)) => items.iter().any(|item| is_one_of(item, values)),
        Some(value) => is_one_of(value, values),
        None => false,
    }
}

fn is_one_of(value: &Value, values: &[Arc<str>]) -> bool {
    match value {
        Value::String(text) => values.iter().any(|wanted| **wanted == *text.as_str()),
        Value::Number(_) | Value::Bool(_) => {
            let text = value.to_string();
            values.iter().any(|wanted| **wanted == *text)
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(items: &[&str]) -> Vec<Arc<str>> {
        items.iter().map(|item| Arc::from(*item)).collect()
    }

    fn grant(methods: &[&str], roles: &[&str]) -> GrantIr {
        GrantIr { methods: texts(methods), roles: texts(roles), scopes: vec![], claims: vec![] }
    }

    fn caller(roles: &[&str], claims: Value) -> Caller {
        Caller {
            id: "u1".into(),
            method: "m".into(),
            tenant: None,
            roles: texts(roles),
            claims: Arc::new(claims),
            forward: vec![],
        }
    }

    fn granted(grants: &[GrantIr], method: &Method, caller: Option<&Caller>) -> bool {
        authorize(&AuthorizationIr { grants: grants.to_vec() }, method, caller).is_ok()
    }

    #[test]
    fn one_role_of_the_list_is_enough_and_a_method_without_a_grant_is_refused() {
        let grants = [grant(&["GET"], &["agent", "supervisor"]), grant(&["POST"], &["supervisor"])];
        let agent = caller(&["agent"], Value::Null);
        assert!(granted(&grants, &Method::GET, Some(&agent)));
        assert!(!granted(&grants, &Method::POST, Some(&agent)));
        assert!(!granted(&grants, &Method::DELETE, Some(&agent)));
        assert!(!granted(&grants, &Method::GET, None));
    }

    #[test]
    fn nobody_is_granted_only_what_needs_nothing() {
        assert!(granted(&[grant(&["GET"], &[])], &Method::GET, None));
        assert!(!granted(&[grant(&["GET"], &[])], &Method::POST, None));
    }

    #[test]
    fn all_scopes_are_needed_and_a_role_is_no_scope() {
        let both = GrantIr { scopes: texts(&["read", "write"]), ..grant(&[], &[]) };
        let grants = [both];
        assert!(granted(&grants, &Method::GET, Some(&caller(&[], json!({"scope": "write read"})))));
        assert!(granted(&grants, &Method::GET, Some(&caller(&[], json!({"scp": ["read", "write"]})))));
        assert!(!granted(&grants, &Method::GET, Some(&caller(&[], json!({"scope": "read"})))));
        assert!(!granted(&grants, &Method::GET, Some(&caller(&[], json!({"scope": "readwrite"})))));
        assert!(!granted(&grants, &Method::GET, Some(&caller(&["read", "write"], Value::Null))));
    }

    #[test]
    fn claims_compare_as_text_and_lists_by_item() {
        let claim = |path: &[&str], values: &[&str]| ClaimIr { claim: texts(path), values: texts(values) };
        let with = |claims: Vec<ClaimIr>| [GrantIr { claims, ..grant(&[], &[]) }];
        let who = caller(&[], json!({"email_verified": true, "level": 3, "org": {"units": ["a", "b"]}, "o": {}}));
        assert!(granted(&with(vec![claim(&["email_verified"], &["true"])]), &Method::GET, Some(&who)));
        assert!(granted(&with(vec![claim(&["level"], &["2", "3"])]), &Method::GET, Some(&who)));
        assert!(granted(&with(vec![claim(&["org", "units"], &["b"])]), &Method::GET, Some(&who)));
        assert!(!granted(&with(vec![claim(&["org", "units"], &["c"])]), &Method::GET, Some(&who)));
        assert!(!granted(&with(vec![claim(&["o"], &["{}"])]), &Method::GET, Some(&who)));
        assert!(!granted(&with(vec![claim(&["absent"], &["null"])]), &Method::GET, Some(&who)));
        let two = with(vec![claim(&["level"], &["3"]), claim(&["email_verified"], &["false"])]);
        assert!(!granted(&two, &Method::GET, Some(&who)));
    }
}
