//! To whom an entry belongs.

use std::sync::Arc;

use hashbrown::HashMap;

use super::entry::EntryIdentifiers;
use crate::names::TenantName;
use crate::tenant::IdentifiersIr;

type Map = HashMap<Arc<str>, TenantName, foldhash::fast::RandomState>;

/// Every identifier with the tenant that has it.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    phone_numbers: Map,
    business_accounts: Map,
    integrations: Map,
}

impl Owners {
    /// The table of all tenants. Two that claim one identifier are a conflict that compile has decided; should
    /// it not have, whoever comes first keeps it.
    pub fn new<'a>(tenants: impl IntoIterator<Item = (&'a TenantName, &'a IdentifiersIr)>) -> Self {
        let mut owners = Self::default();
        let claim = |map: &mut Map, ids: &[Arc<str>], tenant: &TenantName| {
            for id in ids {
                map.entry(id.clone()).or_insert_with(|| tenant.clone());
            }
        };
        for (tenant, identifiers) in tenants {
            claim(&mut owners.phone_numbers, &identifiers.whats_app_phone_number_ids, tenant);
            claim(&mut owners.business_accounts, &identifiers.whats_app_business_account_ids, tenant);
            claim(&mut owners.integrations, &identifiers.genesys_integration_ids, tenant);
        }
        owners
    }

    /// The tenant that an entry names. A phone number decides before the account that it belongs to: numbers of
    /// one account may be different tenants'.
    #[must_use]
    pub fn of(&self, entry: &EntryIdentifiers) -> Option<&TenantName> {
        let phone = entry.phone_number_id.as_ref().and_then(|id| self.phone_numbers.get(id.as_str()));
        let account = || entry.business_account_id.as_ref().and_then(|id| self.business_accounts.get(id.as_str()));
        let integration = || entry.integration_id.as_ref().and_then(|id| self.integrations.get(id.as_str()));
        phone.or_else(account).or_else(integration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_decides_before_its_account() {
        let (acme, globex) = (TenantName::parse("acme").unwrap(), TenantName::parse("globex").unwrap());
        let ids = |phone: &str, account: &str| IdentifiersIr {
            whats_app_phone_number_ids: vec![phone.into()],
            whats_app_business_account_ids: vec![account.into()],
            ..IdentifiersIr::default()
        };
        let owners = Owners::new([(&acme, &ids("1", "a")), (&globex, &ids("2", "b"))]);
        let entry = |phone: &str, account: &str| EntryIdentifiers {
            phone_number_id: Some(phone.to_owned()),
            business_account_id: Some(account.to_owned()),
            integration_id: None,
        };
        assert_eq!(owners.of(&entry("2", "a")), Some(&globex));
        assert_eq!(owners.of(&entry("9", "a")), Some(&acme));
        assert_eq!(owners.of(&entry("9", "z")), None);
    }
}
