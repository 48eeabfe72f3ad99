//! Ranges and countries, ready to decide.

use std::net::IpAddr;
use std::sync::Arc;

use policy::ip_allow::{AddressRanges, CountriesIr, IpAllowIr};
use policy::refusal::{Reason, Refusal};

use crate::outside::CountryDatabase;

/// A block names countries, and there is no country database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the block names countries, and this gateway has no country database")]
pub struct NoCountryDatabase;

/// Which addresses may call.
#[derive(Clone, Debug)]
pub struct Addresses {
    ranges: AddressRanges,
    countries: Option<(CountriesIr, Arc<CountryDatabase>)>,
}

impl Addresses {
    /// Makes a block ready.
    ///
    /// # Errors
    /// [`NoCountryDatabase`]
    pub fn new(ir: &IpAllowIr, database: Option<&Arc<CountryDatabase>>) -> Result<Self, NoCountryDatabase> {
        let countries = match (&ir.countries, database) {
            (None, _) => None,
            (Some(countries), Some(database)) => Some((countries.clone(), Arc::clone(database))),
            (Some(_), None) => return Err(NoCountryDatabase),
        };
        Ok(Self { ranges: AddressRanges::new(ir), countries })
    }

    /// Whether the address may call: ranges and country both let it. `now_secs` is the time since the epoch.
    ///
    /// # Errors
    /// [`Reason::AddressDenied`], and what [`AddressRanges::check`] says. An address that cannot be looked up is
    /// denied.
    pub fn check(&self, address: IpAddr, now_secs: impl FnOnce() -> i64) -> Result<(), Refusal> {
        self.ranges.check(address, now_secs)?;
        let Some((countries, database)) = &self.countries else { return Ok(()) };
        if database.country(address).is_ok_and(|country| countries.allows(country)) {
            return Ok(());
        }
        Err(Refusal::new(Reason::AddressDenied, "requests from the country of this source address are not taken here"))
    }
}
