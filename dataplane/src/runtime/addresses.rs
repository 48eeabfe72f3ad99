//! Ranges and countries, ready to decide.

use std::net::IpAddr;
use std::sync::Arc;

use policy::ip_allow::{AddressRanges, CountriesIr, IpAllowIr};
use policy::refusal::{Reason, Refusal};

use crate::outside::CountryDatabase;

/// Which addresses may call.
#[derive(Clone, Debug)]
pub struct Addresses {
    // Boxed, as most rules have none and would still have their place.
    ranges: Box<AddressRanges>,
    countries: Option<CountriesIr>,
    database: Option<Arc<CountryDatabase>>,
}

impl Addresses {
    /// Makes a block ready. One that names countries refuses without a database: were it not applied, the last good
    /// might know nothing of them.
    #[must_use]
    pub fn new(ir: &IpAllowIr, database: Option<&Arc<CountryDatabase>>) -> Self {
        Self { ranges: Box::new(AddressRanges::new(ir)), countries: ir.countries.clone(), database: database.cloned() }
    }

    /// Whether the address may call: ranges and country both let it. `now_secs` is the time since the epoch.
    ///
    /// # Errors
    /// [`Reason::AddressDenied`], and what [`AddressRanges::check`] says. An address that cannot be looked up is
    /// denied; without a database it is [`Reason::PolicyBroken`].
    pub fn check(&self, address: IpAddr, now_secs: impl FnOnce() -> i64) -> Result<(), Refusal> {
        self.ranges.check(address, now_secs)?;
        let Some(countries) = &self.countries else { return Ok(()) };
        let Some(database) = &self.database else {
            let detail = "the addresses name countries, and this gateway was started without a country database";
            return Err(Refusal::new(Reason::PolicyBroken, detail));
        };
        if database.country(address).is_ok_and(|country| countries.allows(country)) {
            return Ok(());
        }
        Err(Refusal::new(Reason::AddressDenied, "requests from the country of this source address are not taken here"))
    }
}

#[cfg(test)]
mod tests {
    use policy::ip_allow::CountryCode;

    use super::*;

    #[test]
    fn countries_without_a_database_refuse_and_let_nobody_through() {
        let countries = CountriesIr { allow: vec![], deny: vec![CountryCode::parse("KP").unwrap()] };
        let ir = IpAllowIr { countries: Some(countries), ..IpAllowIr::default() };
        let refused = Addresses::new(&ir, None).check("192.0.2.1".parse().unwrap(), || 0);
        assert_eq!(refused.map_err(|refusal| refusal.reason), Err(Reason::PolicyBroken));
    }
}
