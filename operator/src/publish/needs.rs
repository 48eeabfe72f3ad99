//! Which endpoints one dataplane is told of: those that its tenants lead to, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::names::TenantName;
use policy::upstream::ServicePort;

/// Ports of Services.
pub(super) type Ports = BTreeSet<ServicePort>;

/// What one dataplane needs.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// It serves all tenants, and so is told of all that they lead to.
    all: bool,
    /// What every dataplane needs.
    own: Ports,
    /// What it said it leads to: its last good may lead where its tenants lead no more.
    asked: Ports,
    /// Where the tenants that it was sent lead.
    tenants: BTreeMap<TenantName, Arc<Ports>>,
    /// How many of them lead to a port.
    counts: BTreeMap<ServicePort, usize>,
}

impl Needs {
    pub(super) fn new(all: bool, own: Ports, asked: impl IntoIterator<Item = ServicePort>) -> Self {
        Self { all, own, asked: asked.into_iter().collect(), ..Self::default() }
    }

    /// Whether it need not be asked tenant by tenant.
    pub(super) fn all(&self) -> bool {
        self.all
    }

    /// Whether it is told of a port.
    pub(super) fn has(&self, port: &ServicePort) -> bool {
        self.all || self.own.contains(port) || self.asked.contains(port) || self.counts.contains_key(port)
    }

    /// A tenant is about to lead here too: those ports that it was not told of.
    pub(super) fn expect(&mut self, tenant: &TenantName, ports: &Arc<Ports>) -> Vec<ServicePort> {
        let missing: Vec<ServicePort> = ports.iter().filter(|port| !self.has(port)).cloned().collect();
        if !missing.is_empty() {
            let before = self.tenants.get(tenant).map(Arc::clone).unwrap_or_default();
            self.lead(tenant, &Arc::new(&*before | &**ports));
        }
        missing
    }

    /// A tenant leads here and nowhere else: those ports that it is told of no more.
    pub(super) fn lead(&mut self, tenant: &TenantName, ports: &Arc<Ports>) -> Vec<ServicePort> {
        if self.all {
            return Vec::new();
        }
        let before = self.tenants.remove(tenant).unwrap_or_default();
        for port in &**ports {
            *self.counts.entry(port.clone()).or_default() += 1;
        }
        if !ports.is_empty() {
            self.tenants.insert(tenant.clone(), Arc::clone(ports));
        }
        let mut left = Vec::new();
        for port in &*before {
            let Some(count) = self.counts.get_mut(port) else { continue };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(port);
                self.asked.remove(port);
                left.push(port.clone());
            }
        }
        left.retain(|port| !self.has(port));
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> ServicePort {
        ServicePort { namespace: "shop".into(), name: name.into(), port: 80 }
    }

    fn ports<const N: usize>(names: [&str; N]) -> Arc<Ports> {
        Arc::new(names.map(port).into())
    }

    #[test]
    fn a_port_is_needed_while_a_tenant_leads_there() {
        let (one, other) = (TenantName::parse("one").unwrap(), TenantName::parse("other").unwrap());
        let mut needs = Needs::new(false, [port("own")].into(), [port("old"), port("broken")]);
        assert!(["own", "old", "broken"].iter().all(|name| needs.has(&port(name))) && !needs.has(&port("a")));
        assert_eq!(needs.expect(&one, &ports(["a", "old", "own"])), [port("a")]);
        assert_eq!(needs.expect(&one, &ports(["a", "old", "own"])), []);
        assert_eq!(needs.lead(&one, &ports(["a", "old", "own"])), []);
        assert_eq!(needs.expect(&other, &ports(["a", "b"])), [port("b")]);
        needs.lead(&other, &ports(["a", "b"]));
        // What another needs, or the installation, stays; what it only had before goes with the tenant that had it.
        assert_eq!(needs.lead(&one, &ports([])), [port("old")]);
        assert_eq!(needs.lead(&other, &ports(["b"])), [port("a")]);
        assert!(["own", "b", "broken"].iter().all(|name| needs.has(&port(name))));
    }

    #[test]
    fn until_a_tenant_is_sent_it_leads_where_it_did_too() {
        let one = TenantName::parse("one").unwrap();
        let mut needs = Needs::new(false, Ports::new(), []);
        needs.lead(&one, &ports(["a"]));
        assert_eq!(needs.expect(&one, &ports(["b"])), [port("b")]);
        assert!(needs.has(&port("a")) && needs.has(&port("b")));
        assert_eq!(needs.lead(&one, &ports(["b"])), [port("a")]);
    }

    #[test]
    fn who_serves_all_tenants_is_told_of_all() {
        let mut needs = Needs::new(true, Ports::new(), []);
        assert!(needs.has(&port("a")));
        assert_eq!(needs.lead(&TenantName::parse("one").unwrap(), &ports(["a"])), []);
        assert_eq!(needs.lead(&TenantName::parse("one").unwrap(), &ports([])), []);
    }
}
