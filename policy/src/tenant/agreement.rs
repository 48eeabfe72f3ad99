//! Host, token and key must name one tenant before any of it is believed.

use serde_json::Value;

use super::IdentifiersIr;
use crate::authorization::{ClaimIr, has_claim};
use crate::jwt::claim_at;
use crate::names::TenantName;
use crate::refusal::{Reason, Refusal};
use crate::request::Caller;

/// What names a tenant besides its hosts, ready to be asked.
#[derive(Clone, Debug)]
pub struct Agreement {
    tenant: TenantName,
    claims: Vec<ClaimIr>,
}

impl Agreement {
    /// For the tenant that the host belongs to.
    #[must_use]
    pub fn new(tenant: &TenantName, identifiers: &IdentifiersIr) -> Self {
        Self { tenant: tenant.clone(), claims: identifiers.claims.clone() }
    }

    /// Whether what the credential says of its tenant is true of this one: the tenant that it names is this
    /// one by name or by an identifier, and no claim that identifies tenants has another tenant's value. Where claims
    /// identify tenants, a token must have one of them: without any, another tenant's token of the same issuer would do.
    ///
    /// # Errors
    /// [`Reason::TenantMismatch`]
    pub fn check(&self, caller: &Caller) -> Result<(), Refusal> {
        let named = match caller.tenant.as_deref() {
            Some(named) => named == self.tenant.as_str() || self.identified_by(caller, named),
            None => caller.claims.is_null() || self.claims.is_empty() || self.identifies(caller),
        };
        if named && self.claims.iter().all(|claim| self.agrees(caller, claim)) {
            return Ok(());
        }
        Err(Refusal::new(Reason::TenantMismatch, "the credential was made for another tenant than this host's"))
    }

    fn identified_by(&self, caller: &Caller, named: &str) -> bool {
        self.claims.iter().any(|claim| {
            claim.values.iter().any(|value| **value == *named)
                && claim_at(&caller.claims, &claim.claim).and_then(Value::as_str) == Some(named)
        })
    }

    /// Returns whether a token has a claim that identifies tenants. An API key has no claims, and is its tenant's own.
    fn identifies(&self, caller: &Caller) -> bool {
        self.claims.iter().any(|claim| claim_at(&caller.claims, &claim.claim).is_some())
    }

    /// A claim that is absent says nothing; one that is there must be this tenant's.
    fn agrees(&self, caller: &Caller, claim: &ClaimIr) -> bool {
        match claim_at(&caller.claims, &claim.claim) {
            None => true,
            Some(value) => value.as_str() == Some(self.tenant.as_str()) || has_claim(&caller.claims, claim),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn agreement() -> Agreement {
        let claim = ClaimIr { claim: vec!["tenant_id".into()], values: vec!["4711".into(), "acme-old".into()] };
        let identifiers = IdentifiersIr { claims: vec![claim], ..IdentifiersIr::default() };
        Agreement::new(&TenantName::parse("acme").unwrap(), &identifiers)
    }

    fn caller(tenant: Option<&str>, claims: Value) -> Caller {
        let tenant = tenant.map(Arc::from);
        Caller { id: "u".into(), method: "m".into(), tenant, roles: vec![], claims: Arc::new(claims), forward: vec![] }
    }

    #[test]
    fn a_credential_names_its_tenant_by_name_or_by_an_identifier() {
        assert!(agreement().check(&caller(Some("acme"), json!({"org": "acme"}))).is_ok());
        assert!(agreement().check(&caller(Some("4711"), json!({"tenant_id": "4711"}))).is_ok());
        assert!(agreement().check(&caller(Some("acme"), json!({"tenant_id": "acme"}))).is_ok());
        assert!(agreement().check(&caller(None, Value::Null)).is_ok());
    }

    #[test]
    fn another_tenants_credential_is_refused() {
        for caller in [
            // A token that says nothing of its tenant may be anybody's.
            caller(None, json!({"org": "acme"})),
            caller(Some("globex"), json!({"tenant_id": "globex"})),
            caller(None, json!({"tenant_id": "globex"})),
            // The identifier's value in another claim names nobody.
            caller(Some("4711"), json!({"org": "4711"})),
            caller(Some("acme"), json!({"org": "acme", "tenant_id": "globex"})),
            caller(Some("ACME"), json!({})),
        ] {
            assert_eq!(agreement().check(&caller).unwrap_err().reason, Reason::TenantMismatch, "{caller:?}");
        }
    }
}
