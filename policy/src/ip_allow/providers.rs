//! Ranges that providers publish, as whoever runs the gateway hands them in.
//!
//! No list is built in: the providers change theirs, and a list that is out of date refuses what it should let
//! through and lets through what it should refuse. What is built in is where to get each, and what never to take.

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::ProviderIr;
use super::compile::ranges;
use super::ranges::plain;
use crate::installation::Installation;
use crate::problem::Problems;

/// The version of the format.
const VERSION: u32 = 1;
/// The most ranges of one provider.
pub const MAX_RANGES: usize = 5_000;
/// The longest name of a provider.
const MAX_NAME_BYTES: usize = 63;
/// The shortest prefixes, of IPv4 and IPv6: no provider has more addresses, and a slip such as 0.0.0.0/0 or its two
/// halves lets everybody in.
const SHORTEST: (u8, u8) = (8, 16);
/// How far clocks may differ.
const SKEW_SECS: i64 = 86_400;

/// A list as it is handed in, in YAML or JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderRangesSpec {
    /// The version of this format: 1.
    pub version: u32,
    /// Whose ranges these are; the name by which `sourceAddresses.providers` means them.
    pub provider: String,
    /// Where they were taken from.
    pub source: String,
    /// When: a date, or a time with its zone (RFC 3339).
    pub date: String,
    /// All of them, in CIDR form.
    pub ranges: Vec<String>,
}

/// What one provider publishes. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRanges {
    /// The provider.
    pub provider: Arc<str>,
    /// Where the ranges were taken from.
    pub source: Arc<str>,
    /// When, in seconds since the epoch.
    pub date_secs: i64,
    /// The ranges, in order and each once.
    pub ranges: Vec<IpNet>,
}

/// A provider whose webhooks are known here.
struct Known {
    provider: &'static str,
    obtain: &'static str,
    /// Ranges that it publishes for something else.
    never: &'static [&'static str],
}

const KNOWN: &[Known] = &[
    Known {
        provider: "Meta",
        obtain: "its ranges are the routes of AS32934 (whois.radb.net), or facebook.com/peering/geofeed",
        never: &[],
    },
    Known {
        provider: "Genesys",
        obtain: "GET /api/v2/ipranges of your region lists them: take those of service open-messaging",
        // Media: resources.help.genesys.cloud, "Genesys Cloud-owned IP address ranges"; as of 2026-11.
        never: &["52.129.96.0/20", "169.150.104.0/21", "167.234.48.0/20", "136.245.64.0/18"],
    },
];

fn known(provider: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.provider == provider)
}

/// A list, or all that is wrong with it: half a list is none. `now_secs` is the time since the epoch.
pub fn compile_ranges(spec: &ProviderRangesSpec, now_secs: i64, mut problems: Problems<'_>) -> Option<ProviderRanges> {
    let ProviderRangesSpec { version, provider, source, date, ranges: texts } = spec;
    let before = problems.errors();
    if *version != VERSION {
        problems.at("version").invalid(format!("{version} is not read"), format!("write version: {VERSION}"));
    }
    let tame = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if provider.is_empty() || provider.len() > MAX_NAME_BYTES || !provider.bytes().all(tame) {
        let help = format!("write 1 to {MAX_NAME_BYTES} letters, digits, '-', '_' and '.'");
        problems.at("provider").invalid(format!("{provider:?} is no name"), help);
    }
    if source.trim().is_empty() {
        problems.at("source").invalid("is empty", "write where the ranges were taken from");
    }
    let date_secs = date_secs(date);
    match date_secs {
        None => problems
            .at("date")
            .invalid(format!("{date:?} is no date"), "write a date such as 2026-11-20, or 2026-11-20T09:00:00Z"),
        Some(secs) if secs > now_secs.saturating_add(SKEW_SECS) => problems.at("date").invalid(
            format!("{date} has not come yet"),
            "write when the ranges were taken: their age is counted from it",
        ),
        Some(_) => {}
    }
    if texts.is_empty() {
        problems
            .at("ranges")
            .invalid("is empty", "write all ranges of the provider: an empty list is never taken over");
    }
    if texts.len() > MAX_RANGES {
        problems.at("ranges").invalid(format!("holds more than {MAX_RANGES}"), "join neighbouring ranges");
        return None;
    }
    let mut found: Vec<IpNet> = ranges(texts, problems.at("ranges")).into_iter().map(plain).collect();
    let never: Vec<IpNet> =
        known(provider).iter().flat_map(|known| known.never).filter_map(|net| net.parse().ok()).collect();
    for net in &found {
        narrow(net, &never, problems.at("ranges"));
    }
    found.sort_unstable();
    found.dedup();
    (problems.errors() == before).then(|| ProviderRanges {
        provider: provider.as_str().into(),
        source: source.as_str().into(),
        date_secs: date_secs.unwrap_or_default(),
        ranges: found,
    })
}

/// A range that lets in more than a provider.
fn narrow(net: &IpNet, never: &[IpNet], mut problems: Problems<'_>) {
    let shortest = match net {
        IpNet::V4(_) => SHORTEST.0,
        IpNet::V6(_) => SHORTEST.1,
    };
    if net.prefix_len() < shortest {
        let help = format!("write the provider's own ranges, /{shortest} or longer");
        problems.invalid(format!("holds {net}, which no provider has all of"), help);
    }
    if let Some(other) = never.iter().find(|other| other.contains(net) || net.contains(*other)) {
        let help = "take only the ranges that webhooks are sent from";
        problems.invalid(format!("holds {net}, but {other} carries media and sends no webhooks"), help);
    }
}

/// A date or a time as seconds since the epoch; a date begins at midnight UTC.
fn date_secs(text: &str) -> Option<i64> {
    let time = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse());
    time.ok().map(jiff::Timestamp::as_second)
}

/// The ranges of the named providers; each that the installation does not have is a problem.
pub(crate) fn named(names: &[String], installation: &Installation, mut problems: Problems<'_>) -> Vec<ProviderIr> {
    let mut found = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        match installation.provider_ranges.get(name.as_str()) {
            Some(list) => found.push(ProviderIr {
                provider: Arc::clone(&list.provider),
                date_secs: list.date_secs,
                old_from_secs: installation.max_age_secs.map(|age| list.date_secs.saturating_add(i64::from(age))),
                ranges: list.ranges.clone(),
            }),
            None => problems.item(index).unresolved(format!("no ranges of {name} are provided"), way_out(name)),
        }
    }
    found
}

fn way_out(name: &str) -> String {
    let obtain = known(name).map(|known| format!(" ({})", known.obtain)).unwrap_or_default();
    format!("provide a list with `provider: {name}` by --provider-ranges{obtain}, or write the ranges in allow")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Kind, ObjectRef};

    const NOW: i64 = 1_800_000_000;

    fn list(provider: &str, ranges: &[&str]) -> ProviderRangesSpec {
        ProviderRangesSpec {
            version: 1,
            provider: provider.to_owned(),
            source: "whois".to_owned(),
            date: "2026-11-20".to_owned(),
            ranges: ranges.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    fn read(spec: &ProviderRangesSpec) -> Result<ProviderRanges, Vec<String>> {
        let object = ObjectRef::new(Kind::ConfigMap, "a", "b");
        let mut found = Vec::new();
        let ranges = compile_ranges(spec, NOW, Problems::of(&object, &mut found));
        ranges
            .ok_or_else(|| found.into_iter().map(|problem| format!("{} {}", problem.field, problem.message)).collect())
    }

    #[test]
    fn a_list_is_kept_in_order_and_each_range_once() {
        let read = read(&list("Meta", &["2001:db8::/32", "203.0.113.0/24", "192.0.2.0/24", "203.0.113.0/24"])).unwrap();
        let ranges: Vec<_> = read.ranges.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["192.0.2.0/24", "203.0.113.0/24", "2001:db8::/32"]);
        assert_eq!(read.date_secs, 1_795_132_800);
    }

    #[test]
    fn a_list_that_lets_in_nobody_or_everybody_is_refused() {
        assert_eq!(read(&list("Meta", &[])), Err(vec!["ranges is empty".to_owned()]));
        for wide in ["0.0.0.0/0", "128.0.0.0/1", "::/0", "2000::/3", "::ffff:0.0.0.0/96"] {
            assert!(read(&list("Meta", &["192.0.2.0/24", wide])).is_err(), "{wide}");
        }
        assert!(read(&list("Meta", &["10.0.0.0/8", "2a00::/16"])).is_ok());
    }

    #[test]
    fn ranges_that_carry_media_are_no_source_of_webhooks() {
        for media in ["52.129.96.0/20", "52.129.100.0/24", "136.245.0.0/16"] {
            assert!(read(&list("Genesys", &["192.0.2.0/24", media])).is_err(), "{media}");
            assert!(read(&list("Other", &[media])).is_ok(), "{media}");
        }
    }

    #[test]
    fn all_that_is_wrong_with_a_list_is_told_at_once() {
        let spec = ProviderRangesSpec {
            version: 2,
            provider: "a b".to_owned(),
            source: " ".to_owned(),
            date: "2027-13-01".to_owned(),
            ranges: vec!["192.0.2.1".to_owned()],
        };
        let told = read(&spec).unwrap_err();
        let fields: Vec<_> = told.iter().filter_map(|text| text.split(' ').next()).collect();
        assert_eq!(fields, ["version", "provider", "source", "date", "ranges[0]"]);
        let tomorrow = ProviderRangesSpec { date: "2027-02-01".to_owned(), ..list("Meta", &["192.0.2.0/24"]) };
        assert_eq!(read(&tomorrow), Err(vec!["date 2027-02-01 has not come yet".to_owned()]));
    }

    proptest::proptest! {
        #[test]
        fn a_list_lets_in_somebody_and_not_everybody_or_says_why_it_is_none(
            ranges in proptest::collection::vec("([0-9]{1,3}\\.){3}0/[0-9]{1,2}|[0-9a-f]{1,4}::(ffff:[0-9.]{7})?/[0-9]{1,3}|[0-9a-f:./]{0,12}", 0..4),
            date in "20[0-9]{2}-[01][0-9]-[0-3][0-9](T00:00:00Z)?",
        ) {
            let spec = ProviderRangesSpec { ranges, date, ..list("Meta", &[]) };
            match read(&spec) {
                Ok(read) => {
                    proptest::prop_assert!(!read.ranges.is_empty() && read.date_secs <= NOW + SKEW_SECS);
                    let is_narrow = |net: &IpNet| match net {
                        IpNet::V4(net) => net.prefix_len() >= SHORTEST.0,
                        IpNet::V6(net) => net.prefix_len() >= SHORTEST.1,
                    };
                    proptest::prop_assert!(read.ranges.iter().all(is_narrow));
                }
                Err(told) => proptest::prop_assert!(!told.is_empty()),
            }
        }
    }
}
