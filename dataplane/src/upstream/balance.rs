//! Picks an endpoint: of two at random, the one with less to do.

use std::net::SocketAddr;
use std::rc::Rc;

use policy::names::TenantName;
use policy::upstream::EndpointIr;
use tokio::time::Instant;

use super::pool::{Slot, UpstreamCore};

/// An endpoint that was picked.
pub(crate) struct Picked {
    pub(crate) address: SocketAddr,
    pub(crate) slot: Rc<Slot>,
}

/// Ready endpoints first, then those that still serve while they terminate; in each group those that were
/// neither tried in this request nor rest, then those not tried, then any.
pub(crate) fn pick(
    core: &UpstreamCore,
    tenant: &TenantName,
    endpoints: &[EndpointIr],
    tried: &[SocketAddr],
    now: Instant,
) -> Option<Picked> {
    let slot = |e: &EndpointIr| Picked { address: e.address, slot: core.slot(tenant, e.address, now) };
    if let [only] = endpoints {
        return Some(slot(only));
    }
    let any_ready = endpoints.iter().any(|e| e.ready);
    let serves = |e: &&EndpointIr| e.ready == any_ready;
    let fresh = |e: &&EndpointIr| serves(e) && !tried.contains(&e.address);
    if tried.is_empty()
        && let Some(picked) = two_choices(core, endpoints.iter().filter(serves).map(slot), now)
    {
        return Some(picked);
    }
    two_choices(core, endpoints.iter().filter(fresh).map(slot), now)
        .or_else(|| reservoir(core, endpoints.iter().filter(fresh).map(slot)))
        .or_else(|| reservoir(core, endpoints.iter().filter(serves).map(slot)))
}

/// The less busy of two that do not rest.
fn two_choices(core: &UpstreamCore, all: impl Iterator<Item = Picked>, now: Instant) -> Option<Picked> {
    let awake: Vec<Picked> = all.filter(|picked| !picked.slot.rests(now)).collect();
    let count = awake.len();
    let first = below(core.random(), count)?;
    let second = below(core.random(), count.saturating_sub(1)).map_or(first, |n| if n >= first { n + 1 } else { n });
    let busy = |at: usize| awake.get(at).map_or(u32::MAX, |picked| picked.slot.in_flight());
    let at = if busy(second) < busy(first) { second } else { first };
    awake.into_iter().nth(at)
}

fn reservoir(core: &UpstreamCore, all: impl Iterator<Item = Picked>) -> Option<Picked> {
    let mut all: Vec<Picked> = all.collect();
    let at = below(core.random(), all.len())?;
    Some(all.swap_remove(at))
}

/// A number below `count`, or nothing when there is none.
fn below(random: u64, count: usize) -> Option<usize> {
    let at = usize::try_from((u128::from(random) * count as u128) >> 64).ok()?;
    (at < count).then_some(at)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policy::upstream::AddressGuard;

    use super::*;
    use crate::upstream::pool::InFlight;

    fn endpoint(port: u16, ready: bool) -> EndpointIr {
        EndpointIr { address: ([127, 0, 0, 1], port).into(), ready }
    }

    fn ports(core: &UpstreamCore, endpoints: &[EndpointIr], tried: &[SocketAddr]) -> Vec<u16> {
        let tenant = TenantName::parse("acme").unwrap();
        let mut ports: Vec<u16> = (0..200)
            .filter_map(|_| pick(core, &tenant, endpoints, tried, Instant::now()))
            .map(|picked| picked.address.port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    fn core() -> UpstreamCore {
        UpstreamCore::new(AddressGuard::default(), 7)
    }

    #[test]
    fn terminating_ones_serve_only_when_none_is_ready() {
        assert_eq!(ports(&core(), &[endpoint(1, true), endpoint(2, false), endpoint(3, true)], &[]), [1, 3]);
        assert_eq!(ports(&core(), &[endpoint(1, false), endpoint(2, false)], &[]), [1, 2]);
        assert_eq!(ports(&core(), &[], &[]), [0; 0]);
    }

    #[test]
    fn what_was_tried_is_asked_again_only_when_nothing_else_is_left() {
        let endpoints = [endpoint(1, true), endpoint(2, true)];
        let (one, two) = (endpoints[0].address, endpoints[1].address);
        assert_eq!(ports(&core(), &endpoints, &[one]), [2]);
        assert_eq!(ports(&core(), &endpoints, &[one, two]), [1, 2]);
    }

    #[test]
    fn the_busier_of_two_waits() {
        let core = core();
        let tenant = TenantName::parse("acme").unwrap();
        let endpoints = [endpoint(1, true), endpoint(2, true)];
        let _busy = InFlight::new(core.slot(&tenant, endpoints[0].address, Instant::now()));
        assert_eq!(ports(&core, &endpoints, &[]), [2]);
    }

    #[test]
    fn who_refuses_connections_rests_a_while_unless_it_is_the_only_one() {
        let core = core();
        let tenant = TenantName::parse("acme").unwrap();
        let endpoints = [endpoint(1, true), endpoint(2, true)];
        let now = Instant::now();
        let slot = core.slot(&tenant, endpoints[0].address, now);
        slot.connect_failed(now);
        assert_eq!(ports(&core, &endpoints, &[]), [2]);
        assert_eq!(ports(&core, &endpoints[..1], &[]), [1]);
        assert!(!slot.rests(now + Duration::from_millis(501)));
        slot.connect_failed(now);
        assert!(slot.rests(now + Duration::from_millis(501)), "the rest doubles");
    }
}
