//! Which tenant holds a host or an identifier that several claim: the older Tenant, then the first by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use policy::authorization::ClaimSpec;
use policy::names::{Hostname, ObjectRef};
use policy::problem::{Problem, Problems};
use policy::tenant::{IdentifiersSpec, TenantSpec};

use super::texts;
use crate::gather::Declared;

/// What a tenant holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) hostnames: Vec<Hostname>,
    pub(super) identifiers: IdentifiersSpec,
}

impl Default for Held {
    fn default() -> Self {
        let identifiers = IdentifiersSpec {
            claims: Vec::new(),
            whats_app_phone_number_ids: Vec::new(),
            whats_app_business_account_ids: Vec::new(),
            genesys_integration_ids: Vec::new(),
        };
        Self { hostnames: Vec::new(), identifiers }
    }
}

/// Settles every claim. A Tenant that cannot be read keeps what it readably claims: an edit that breaks it must
/// not give its hosts to another.
pub(super) fn settle<'a>(
    tenants: impl Iterator<Item = &'a Declared<TenantSpec>>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<ObjectRef, Held> {
    let mut tenants: Vec<_> = tenants.collect();
    tenants.sort_by_key(|tenant| (tenant.meta.created_secs, &tenant.meta.object));
    let mut hosts = Hosts::default();
    let mut identifiers = HashMap::new();
    let mut settled = BTreeMap::new();
    for tenant in tenants {
        let object = &tenant.meta.object;
        let mut problems = Problems::of(object, problems);
        let mut held = Held::default();
        match &tenant.spec {
            None => {
                for host in
                    texts(&tenant.written.value(), "/spec/hostnames").filter_map(|text| Hostname::parse(text).ok())
                {
                    hosts.claim(&host, object);
                }
            }
            Some(spec) => {
                let mut problems = problems.at("spec");
                held.hostnames = hosts.settle(&spec.hostnames, object, problems.at("hostnames"));
                if let Some(spec) = &spec.identifiers {
                    held.identifiers = settle_identifiers(spec, object, &mut identifiers, problems.at("identifiers"));
                }
            }
        }
        settled.insert(object.clone(), held);
    }
    settled
}

/// Claims in force. `beneath` holds every parent of a claimed name, so that a wildcard finds what it would
/// cover without a look at every claim.
#[derive(Default)]
struct Hosts {
    claimed: HashMap<Hostname, ObjectRef>,
    beneath: HashMap<Arc<str>, Vec<(Hostname, ObjectRef)>>,
}

impl Hosts {
    fn settle(&mut self, wanted: &[String], object: &ObjectRef, mut problems: Problems<'_>) -> Vec<Hostname> {
        let mut held = Vec::with_capacity(wanted.len());
        for (index, text) in wanted.iter().enumerate() {
            let mut problems = problems.item(index);
            let host = match Hostname::parse(text) {
                Ok(host) => host,
                Err(error) => {
                    problems.invalid(format!("{text:?} is no host name"), format!("it {error}"));
                    continue;
                }
            };
            match self.holder(&host, object) {
                Some((theirs, holder)) => problems.conflict(
                    format!("{host} overlaps {theirs}, which {holder} holds: it is older, or first by name"),
                    "claim another host, or have the holder give it up",
                ),
                None => {
                    self.claim(&host, object);
                    held.push(host);
                }
            }
        }
        held
    }

    fn claim(&mut self, host: &Hostname, object: &ObjectRef) {
        for parent in parents(host) {
            self.beneath.entry(parent.into()).or_default().push((host.clone(), object.clone()));
        }
        self.claimed.entry(host.clone()).or_insert_with(|| object.clone());
    }

    /// Another tenant's claim that overlaps.
    fn holder(&self, host: &Hostname, object: &ObjectRef) -> Option<(Hostname, ObjectRef)> {
        let other = |host: Hostname| {
            let holder = self.claimed.get(&host).filter(|holder| *holder != object)?;
            Some((host, holder.clone()))
        };
        let above = parents(host).find_map(|parent| other(Hostname::Wildcard(parent.into())));
        let below = || match host {
            Hostname::Exact(_) => None,
            Hostname::Wildcard(suffix) => {
                self.beneath.get(suffix).and_then(|claims| claims.iter().find(|(_, holder)| holder != object)).cloned()
            }
        };
        other(host.clone()).or(above).or_else(below)
    }
}

/// What a wildcard must end in to cover the host: all that follows one of its dots.
fn parents(host: &Hostname) -> impl Iterator<Item = &str> {
    let (Hostname::Exact(name) | Hostname::Wildcard(name)) = host;
    name.match_indices('.').filter_map(|(at, _)| name.get(at + 1..))
}

type Identifiers = HashMap<(&'static str, String), ObjectRef>;

fn settle_identifiers(
    spec: &IdentifiersSpec,
    object: &ObjectRef,
    taken: &mut Identifiers,
    mut problems: Problems<'_>,
) -> IdentifiersSpec {
    let mut free = |kind: &'static str, value: &str, mut problems: Problems<'_>| {
        let holder = taken.entry((kind, value.to_owned())).or_insert_with(|| object.clone());
        if holder == object {
            return true;
        }
        let message = format!("{value:?} belongs to {holder}: it is older, or first by name");
        problems.conflict(message, "remove it here, or have the holder give it up");
        false
    };
    let mut ids = |kind: &'static str, values: &[String], mut problems: Problems<'_>| -> Vec<String> {
        let free = values.iter().enumerate().filter(|(index, value)| free(kind, value, problems.item(*index)));
        free.map(|(_, value)| value.clone()).collect()
    };
    let whats_app_phone_number_ids =
        ids("phone", &spec.whats_app_phone_number_ids, problems.at("whatsAppPhoneNumberIDs"));
    let whats_app_business_account_ids =
        ids("account", &spec.whats_app_business_account_ids, problems.at("whatsAppBusinessAccountIDs"));
    let genesys_integration_ids = ids("genesys", &spec.genesys_integration_ids, problems.at("genesysIntegrationIDs"));
    let mut claims = Vec::with_capacity(spec.claims.len());
    for (index, ClaimSpec { name, values }) in spec.claims.iter().enumerate() {
        let mut problems = problems.at("claims");
        let mut problems = problems.item(index);
        let mut problems = problems.at("values");
        let mut mine = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            if free("claim", &format!("{name}={value}"), problems.item(index)) {
                mine.push(value.clone());
            }
        }
        if !mine.is_empty() {
            claims.push(ClaimSpec { name: name.clone(), values: mine });
        }
    }
    IdentifiersSpec { claims, whats_app_phone_number_ids, whats_app_business_account_ids, genesys_integration_ids }
}
