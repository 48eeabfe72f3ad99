//! Which body may hold how many bytes: the pure rule behind the process-wide budget.
//!
//! - **Pools.** All bodies share one pool. Bodies whose sender is not authenticated also share a second pool of half
//!   the size, so that they can never take the bytes that authenticated callers need.
//! - **Shares.** Up to half of a pool everybody takes what is needed. Above half, max-min fair shares bind: by tenant
//!   inside the pool, by address inside the tenant. Each level counts one newcomer more than there are, so that
//!   whoever comes next finds room.
//! - **Growth.** An eighth of each pool is for the oldest body of each tenant that still grows: at the limit that body
//!   goes on and ends, and makes room for the others.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hashbrown::HashMap;
use policy::names::TenantName;

/// True when the sender of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Nobody has been authenticated yet; an open rule never does.
    Unauthenticated,
    /// The credentials, or the signature over the whole body, held.
    Authenticated,
}

/// The owner of a body's bytes.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) tenant: TenantName,
    pub(super) network: IpAddr,
}

/// Bytes by address inside one tenant.
#[derive(Debug, Default)]
struct Tenant {
    used: u64,
    networks: HashMap<IpAddr, u64, foldhash::fast::RandomState>,
    /// Bodies that are not complete, by age.
    growing: BTreeSet<u64>,
}

/// Bytes that share one limit.
#[derive(Debug)]
struct Pool {
    limit: u64,
    used: u64,
    tenants: HashMap<TenantName, Tenant, foldhash::fast::RandomState>,
}

/// The level up to which everybody gets what is asked when `capacity` is shared max-min fairly by these, by the one
/// who asks and by a newcomer.
fn fair_level(capacity: u64, others: impl Iterator<Item = u64> + Clone) -> u64 {
    let mut level = 0;
    loop {
        let (mut below, mut above) = (0_u64, 2_u64);
        for used in others.clone() {
            if used <= level {
                below = below.saturating_add(used);
            } else {
                above += 1;
            }
        }
        let next = capacity.saturating_sub(below) / above;
        // The level only rises, and each round passes at least one of the others.
        if next <= level {
            return level;
        }
        level = next;
    }
}

impl Pool {
    fn new(limit: u64) -> Self {
        Self { limit, used: 0, tenants: HashMap::default() }
    }

    fn is_oldest(&self, owner: &Owner, body: u64) -> bool {
        self.tenants.get(&owner.tenant).is_some_and(|tenant| tenant.growing.first() == Some(&body))
    }

    fn fits(&self, owner: &Owner, bytes: u64, oldest: bool) -> bool {
        let wanted = self.used.saturating_add(bytes);
        let shared = self.limit - self.limit / 8;
        if oldest || wanted > shared {
            return oldest && wanted <= self.limit;
        }
        wanted <= self.limit / 2 || self.within_share(owner, bytes, shared)
    }

    fn within_share(&self, owner: &Owner, bytes: u64, capacity: u64) -> bool {
        let others = self.tenants.iter().filter(|(name, _)| **name != owner.tenant).map(|(_, tenant)| tenant.used);
        let level = fair_level(capacity, others);
        let Some(tenant) = self.tenants.get(&owner.tenant) else { return bytes <= level };
        if tenant.used.saturating_add(bytes) > level {
            return false;
        }
        let others = tenant.networks.iter().filter(|(network, _)| **network != owner.network).map(|(_, used)| *used);
        let here = tenant.networks.get(&owner.network).copied().unwrap_or_default();
        here.saturating_add(bytes) <= fair_level(level, others)
    }

    fn add(&mut self, owner: &Owner, body: u64, bytes: u64, grows: bool) {
        let tenant = self.tenants.entry(owner.tenant.clone()).or_default();
        self.used += bytes;
        tenant.used += bytes;
        *tenant.networks.entry(owner.network).or_default() += bytes;
        if grows {
            tenant.growing.insert(body);
        }
    }

    fn complete(&mut self, owner: &Owner, body: u64) {
        if let Some(tenant) = self.tenants.get_mut(&owner.tenant) {
            tenant.growing.remove(&body);
        }
    }

    fn remove(&mut self, owner: &Owner, body: u64, bytes: u64) {
        self.complete(owner, body);
        self.used = self.used.saturating_sub(bytes);
        let Some(tenant) = self.tenants.get_mut(&owner.tenant) else { return };
        tenant.used = tenant.used.saturating_sub(bytes);
        if let Some(used) = tenant.networks.get_mut(&owner.network) {
            *used = used.saturating_sub(bytes);
            if *used == 0 {
                tenant.networks.remove(&owner.network);
            }
        }
        if tenant.used == 0 && tenant.growing.is_empty() {
            self.tenants.remove(&owner.tenant);
        }
    }
}

/// Both pools. Bounded by itself: a tenant and an address are there only while they hold bytes.
#[derive(Debug)]
pub(super) struct Shares {
    all: Pool,
    unauthenticated: Pool,
}

impl Shares {
    pub(super) fn new(limit: u64) -> Self {
        Self { all: Pool::new(limit), unauthenticated: Pool::new(limit / 2) }
    }

    /// The bytes that are held.
    pub(super) fn used(&self) -> u64 {
        self.all.used
    }

    /// Takes bytes for a new body, which is known by its age from now on. Whether there was room.
    pub(super) fn begin(&mut self, owner: &Owner, sender: Sender, body: u64, bytes: u64) -> bool {
        let fits = self.fits(owner, sender, bytes, false);
        if fits {
            self.add(owner, sender, body, bytes, true);
        }
        fits
    }

    /// Takes more bytes for a body. Whether there was room.
    pub(super) fn grow(&mut self, owner: &Owner, sender: Sender, body: u64, bytes: u64) -> bool {
        let oldest = self.pool(sender).is_oldest(owner, body);
        let fits = self.fits(owner, sender, bytes, false) || (oldest && self.fits(owner, sender, bytes, true));
        if fits {
            self.add(owner, sender, body, bytes, true);
        }
        fits
    }

    /// A body is complete: it keeps its bytes, and the next one of its tenant is the oldest that grows.
    pub(super) fn complete(&mut self, owner: &Owner, body: u64) {
        self.all.complete(owner, body);
        self.unauthenticated.complete(owner, body);
    }

    /// The sender of a body is known now.
    pub(super) fn authenticate(&mut self, owner: &Owner, body: u64, bytes: u64) {
        self.unauthenticated.remove(owner, body, bytes);
    }

    /// Gives back what a body held.
    pub(super) fn end(&mut self, owner: &Owner, sender: Sender, body: u64, bytes: u64) {
        self.all.remove(owner, body, bytes);
        if sender == Sender::Unauthenticated {
            self.unauthenticated.remove(owner, body, bytes);
        }
    }

    fn pool(&self, sender: Sender) -> &Pool {
        match sender {
            Sender::Unauthenticated => &self.unauthenticated,
            Sender::Authenticated => &self.all,
        }
    }

    fn fits(&self, owner: &Owner, sender: Sender, bytes: u64, oldest: bool) -> bool {
        let unauthenticated = || self.unauthenticated.fits(owner, bytes, oldest);
        self.all.fits(owner, bytes, oldest) && (sender == Sender::Authenticated || unauthenticated())
    }

    fn add(&mut self, owner: &Owner, sender: Sender, body: u64, bytes: u64, grows: bool) {
        self.all.add(owner, body, bytes, grows);
        if sender == Sender::Unauthenticated {
            self.unauthenticated.add(owner, body, bytes, grows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sender::{Authenticated, Unauthenticated};
    use super::*;

    fn owner(tenant: &str, last: u8) -> Owner {
        Owner { tenant: TenantName::parse(tenant).unwrap(), network: IpAddr::from([10, 0, 0, last]) }
    }

    /// Takes bytes in units of one until there is no room; how many.
    fn fill(shares: &mut Shares, owner: &Owner, sender: Sender, first: u64) -> u64 {
        (first..).take_while(|body| shares.begin(owner, sender, *body, 1)).count() as u64
    }

    #[test]
    fn one_tenant_has_half_and_the_next_finds_room() {
        let mut shares = Shares::new(800);
        assert_eq!(fill(&mut shares, &owner("acme", 1), Authenticated, 0), 400);
        let next = fill(&mut shares, &owner("globex", 1), Authenticated, 1000);
        assert!((100..=350).contains(&next), "{next}");
        assert!(shares.begin(&owner("initech", 1), Authenticated, 5000, 1), "a third one finds room too");
    }

    #[test]
    fn one_address_leaves_room_for_the_others_of_its_tenant() {
        let mut shares = Shares::new(800);
        fill(&mut shares, &owner("globex", 1), Authenticated, 0);
        fill(&mut shares, &owner("acme", 1), Authenticated, 10_000);
        assert!(shares.begin(&owner("acme", 2), Authenticated, 20_000, 1));
    }

    #[test]
    fn unauthenticated_bodies_have_at_most_half() {
        let mut shares = Shares::new(800);
        for last in 1..50 {
            for tenant in ["acme", "globex", "initech", "umbrella"] {
                fill(&mut shares, &owner(tenant, last), Unauthenticated, u64::from(last) * 10_000);
            }
        }
        assert!(shares.used() <= 400, "{}", shares.used());
        assert!(shares.begin(&owner("acme", 1), Authenticated, 1_000_000, 50));
    }

    #[test]
    fn only_the_oldest_body_of_a_tenant_grows_at_the_limit() {
        let mut shares = Shares::new(800);
        let acme = owner("acme", 1);
        assert!(shares.begin(&acme, Unauthenticated, 1, 100) && shares.begin(&acme, Unauthenticated, 2, 100));
        assert!(!shares.grow(&acme, Unauthenticated, 2, 100));
        assert!(shares.grow(&acme, Unauthenticated, 1, 100));
        shares.complete(&acme, 1);
        assert!(shares.grow(&acme, Unauthenticated, 2, 100), "the next one is the oldest now");
        shares.end(&acme, Unauthenticated, 1, 200);
        shares.authenticate(&acme, 2, 200);
        assert_eq!((shares.used(), shares.unauthenticated.used), (200, 0));
        shares.end(&acme, Authenticated, 2, 200);
        assert!(shares.all.tenants.is_empty() && shares.unauthenticated.tenants.is_empty());
    }

    #[test]
    fn whatever_happens_the_limit_holds_and_the_sums_agree() {
        let mut shares = Shares::new(10_000);
        let mut held: Vec<(Owner, Sender, u64, u64)> = Vec::new();
        let mut seed = 42_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for body in 0..20_000 {
            let tenant = ["acme", "globex", "initech"][random(3) as usize];
            let sender = if random(2) == 0 { Unauthenticated } else { Authenticated };
            let (owner, bytes) = (owner(tenant, random(4) as u8), random(400));
            if shares.begin(&owner, sender, body, bytes) {
                held.push((owner, sender, body, bytes));
            }
            let at = random(held.len().max(1) as u64) as usize;
            match random(4) {
                0 if !held.is_empty() => {
                    let (owner, sender, body, bytes) = held.swap_remove(at);
                    shares.end(&owner, sender, body, bytes);
                }
                1 if !held.is_empty() => {
                    let (owner, sender, body, bytes) = &mut held[at];
                    if shares.grow(owner, *sender, *body, 50) {
                        *bytes += 50;
                    }
                }
                2 if !held.is_empty() => shares.complete(&held[at].0.clone(), held[at].2),
                _ => {}
            }
            let sum = |sender: Option<Sender>| -> u64 {
                held.iter().filter(|(_, of, ..)| sender.is_none_or(|sender| *of == sender)).map(|held| held.3).sum()
            };
            assert_eq!(shares.used(), sum(None));
            assert_eq!(shares.unauthenticated.used, sum(Some(Unauthenticated)));
            assert!(shares.used() <= 10_000 && shares.unauthenticated.used <= 5_000);
        }
    }
}
