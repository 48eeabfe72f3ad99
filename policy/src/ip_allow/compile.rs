//! What a user writes to ranges and countries.

use ipnet::IpNet;

use super::{CountriesIr, CountriesSpec, CountryCode, IpAllowIr, IpAllowSpec, SourceAddressesSpec, providers};
use crate::installation::Installation;
use crate::mode::Mode;
use crate::problem::Problems;

/// The ranges and countries of a block; `None` when a problem was recorded.
pub fn compile(spec: &IpAllowSpec, installation: &Installation, problems: Problems<'_>) -> Option<IpAllowIr> {
    let IpAllowSpec { allow, deny, countries, mode } = spec;
    block((&[], allow, deny), countries.as_ref(), (*mode, installation), problems)
}

/// The same of a WebhookSource, which can name providers.
pub fn compile_source(
    spec: &SourceAddressesSpec,
    installation: &Installation,
    problems: Problems<'_>,
) -> Option<IpAllowIr> {
    let SourceAddressesSpec { providers, allow, deny, countries, mode } = spec;
    block((providers, allow, deny), countries.as_ref(), (*mode, installation), problems)
}

fn block(
    (providers, allow, deny): (&[String], &[String], &[String]),
    countries: Option<&CountriesSpec>,
    (mode, installation): (Mode, &Installation),
    mut problems: Problems<'_>,
) -> Option<IpAllowIr> {
    let before = problems.errors();
    let countries = countries.filter(|block| !block.allow.is_empty() || !block.deny.is_empty());
    if providers.is_empty() && allow.is_empty() && deny.is_empty() && countries.is_none() {
        problems.invalid("says nothing", "name ranges or countries in it, or leave it out");
    }
    let ir = IpAllowIr {
        allow: ranges(allow, problems.at("allow")),
        deny: ranges(deny, problems.at("deny")),
        // A block that rests needs nothing: Off is the way back while a list or the database is missing.
        providers: if mode.runs() {
            providers::named(providers, installation, problems.at("providers"))
        } else {
            Vec::new()
        },
        countries: countries.map(|block| located(block, problems.at("countries"))),
    };
    if mode.runs() && ir.countries.is_some() && !installation.country_database {
        let help = "start the gateway with --country-database FILE (MaxMind DB format), or leave countries out";
        problems.at("countries").unresolved("needs a country database, and none is provided", help);
    }
    (problems.errors() == before).then_some(ir)
}

fn located(spec: &CountriesSpec, mut problems: Problems<'_>) -> CountriesIr {
    let CountriesSpec { allow, deny } = spec;
    let ir = CountriesIr { allow: codes(allow, problems.at("allow")), deny: codes(deny, problems.at("deny")) };
    if let Some(both) = ir.allow.iter().find(|code| ir.deny.contains(code)) {
        problems.invalid(format!("allows {both} and denies it"), "leave it out of one of them");
    }
    ir
}

fn codes(texts: &[String], mut problems: Problems<'_>) -> Vec<CountryCode> {
    let mut codes = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match CountryCode::parse(text) {
            Ok(code) => codes.push(code),
            Err(error) => problems
                .item(index)
                .invalid(format!("{text:?} {error}"), "write two capital letters, such as DE, or GB for Britain"),
        }
    }
    codes
}

pub(super) fn ranges(texts: &[String], mut problems: Problems<'_>) -> Vec<IpNet> {
    let mut ranges = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.parse::<IpNet>() {
            Ok(net) if net.trunc() == net => ranges.push(net),
            Ok(net) => {
                let help = format!("write {}, or {}/{}", net.trunc(), net.addr(), net.max_prefix_len());
                problems.item(index).invalid(format!("{text:?} has bits set after its prefix"), help);
            }
            Err(_) => problems.item(index).invalid(
                format!("{text:?} is no address range"),
                "write a range in CIDR form, such as 192.0.2.0/24, 2001:db8::/32, or 192.0.2.7/32 for one address",
            ),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::golden;

    /// Everything is provided but what a case is named for.
    fn provided() -> Installation {
        let list = |provider: &str, net: &str| super::super::ProviderRanges {
            provider: provider.into(),
            source: "a golden file".into(),
            date_secs: 1_800_000_000,
            ranges: vec![net.parse().unwrap()],
        };
        let lists = [list("Example", "192.0.2.0/24"), list("Other", "2001:db8::/32")];
        Installation {
            provider_ranges: lists.into_iter().map(|list| (Arc::clone(&list.provider), Arc::new(list))).collect(),
            max_age_secs: Some(86_400),
            country_database: true,
        }
    }

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        let compile_block =
            |spec: &SourceAddressesSpec, problems: Problems<'_>| compile_source(spec, &provided(), problems);
        golden::check("ip_allow", |spec: &SourceAddressesSpec, _, problems| compile_block(spec, problems));
        golden::check_page("ip_allow", "/addresses", |spec: &IpAllowSpec, _, problems| {
            compile(spec, &provided(), problems)
        });
        golden::check_page("ip_allow", "/sourceAddresses", |spec: &SourceAddressesSpec, _, problems| {
            compile_block(spec, problems)
        });
    }

    #[test]
    fn what_is_not_provided_is_refused_and_never_an_empty_list() {
        let object = crate::names::ObjectRef::new(crate::names::Kind::WebhookSource, "a", "b");
        let mut found = Vec::new();
        let spec = serde_json::json!({"providers": ["Meta"], "countries": {"deny": ["KP"]}});
        let spec: SourceAddressesSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(compile_source(&spec, &Installation::default(), Problems::of(&object, &mut found)), None);
        let told: Vec<_> = found.iter().map(|problem| (problem.field.as_str(), problem.help.as_str())).collect();
        assert_eq!((told[0].0, told[1].0), ("providers[0]", "countries"));
        assert!(told[0].1.contains("--provider-ranges") && told[0].1.contains("AS32934"), "{told:?}");
        assert!(told[1].1.contains("--country-database"), "{told:?}");
        let off = SourceAddressesSpec { mode: Mode::Off, ..spec };
        assert!(compile_source(&off, &Installation::default(), Problems::of(&object, &mut Vec::new())).is_some());
    }
}
