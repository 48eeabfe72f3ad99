//! Endpoints of Service ports, from EndpointSlices.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use policy::names::{Kind, ObjectRef};
use policy::upstream::{EndpointIr, ServiceEndpoints, ServicePort};

use crate::gather::core::{Endpoint, EndpointSlice, PortRef, Service};
use crate::gather::{Gathered, in_namespace};

/// The endpoints of every Service port that is named; sorted, each address once.
#[must_use]
pub fn endpoints(gathered: &Gathered, named: &BTreeSet<ServicePort>) -> Vec<ServiceEndpoints> {
    named.iter().map(|service| of(gathered, service)).collect()
}

/// The endpoints of one.
#[must_use]
pub fn of(gathered: &Gathered, named: &ServicePort) -> ServiceEndpoints {
    let ServicePort { namespace, name, port } = named;
    let object = ObjectRef::new(Kind::Service, namespace.clone(), name.clone());
    let slices = in_namespace(&gathered.endpoint_slices, Kind::EndpointSlice, namespace)
        .map(|(_, slice)| slice)
        .filter(|slice| *slice.service == **name);
    let mut found: Vec<EndpointIr> = Vec::new();
    if let Some(service) = gathered.services.get(&object) {
        for slice in slices {
            if let Some(port) = target_port(service, *port, slice) {
                found.extend(
                    slice.endpoints.iter().filter_map(|endpoint| ready(endpoint).map(|r| (endpoint, r))).flat_map(
                        |(endpoint, ready)| {
                            let addresses = endpoint.addresses.iter();
                            addresses.map(move |ip| EndpointIr { address: SocketAddr::new(*ip, port), ready })
                        },
                    ),
                );
            }
        }
    }
    // An address may stand in two slices while one replaces the other; ready in either is ready.
    found.sort_by_key(|endpoint| (endpoint.address, !endpoint.ready));
    found.dedup_by_key(|endpoint| endpoint.address);
    ServiceEndpoints { service: named.clone(), endpoints: found }
}

/// The pods' port for a Service port: a slice names it as the Service does. A slice that was written by hand
/// may leave names out; then the number decides, or there is only one that can be meant.
fn target_port(service: &Service, port: u16, slice: &EndpointSlice) -> Option<u16> {
    let wanted = service.ports.iter().find(|candidate| candidate.port == port)?;
    let by_name = slice.ports.iter().find(|candidate| candidate.name == wanted.name);
    let by_number = || match &wanted.target_port {
        Some(PortRef::Number(number)) => {
            slice.ports.iter().find(|candidate| candidate.name.is_empty() && candidate.port == *number)
        }
        Some(PortRef::Name(name)) => slice.ports.iter().find(|candidate| candidate.name == *name),
        None => None,
    };
    let only = || match (slice.ports.as_slice(), service.ports.len()) {
        ([only], 1) if only.name.is_empty() || wanted.name.is_empty() => Some(only),
        _ => None,
    };
    by_name.or_else(by_number).or_else(only).map(|port| port.port)
}

/// `Some(true)` for one that takes requests, `Some(false)` for one that serves while it terminates.
fn ready(endpoint: &Endpoint) -> Option<bool> {
    let conditions = endpoint.conditions;
    if conditions.ready.unwrap_or(true) {
        return Some(true);
    }
    let serving = conditions.serving.unwrap_or(false) && conditions.terminating.unwrap_or(false);
    serving.then_some(false)
}
