//! Where a request comes from, when trusted proxies stand in between.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::hygiene::FieldRules;

/// Which hops in front of the gateway are believed when they say where a request came from.
#[derive(Clone, Debug, Default)]
pub struct TrustedHops {
    /// So many proxies append to `X-Forwarded-For` before the gateway sees it.
    pub count: usize,
    /// Proxies by address: entries of these are passed over.
    pub ranges: Vec<IpNet>,
    /// Which header fields they, and everybody else, may set.
    pub fields: FieldRules,
}

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// An IPv4 address in IPv6 clothes is the IPv4 address.
#[must_use]
pub fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl TrustedHops {
    fn trusts(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| policy::ip_allow::plain(*range).contains(&address))
    }

    /// Whether the connected peer itself may speak about its request: forwarded fields and request ids.
    #[must_use]
    pub fn trusts_peer(&self, peer: IpAddr) -> bool {
        self.count > 0 || self.trusts(plain(peer))
    }

    /// The caller's address. `X-Forwarded-For` is read from the right: each entry was written by the hop to
    /// its right, so the first that no trusted hop stands behind is the caller. What is written left of it is
    /// the caller's own word and worth nothing; so is an entry that is no address.
    #[must_use]
    pub fn caller(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = plain(peer);
        if !self.trusts_peer(peer) {
            return peer;
        }
        let fields: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        // Bytes and not text: what a caller wrote first must not make unreadable what a proxy wrote behind it.
        let entries = fields.iter().rev().flat_map(|field| field.rsplit(|byte| *byte == b','));
        let mut caller = peer;
        let mut left = self.count;
        for entry in entries {
            if left == 0 && !self.trusts(caller) {
                break;
            }
            left = left.saturating_sub(1);
            let Some(address) = parse(entry) else { break };
            caller = address;
        }
        caller
    }
}

/// An address with a zone (`fe80::1%eth0`) is none: the zone means something only to who wrote it.
/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse::<IpAddr>().ok();
    address.or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip())).map(plain)
}

/// Returns the network that counts as one address: an IPv6 caller has at least a /64.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(count: usize, ranges: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
        let hops = TrustedHops { count, ranges, fields: FieldRules::default() };
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        hops.caller(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn what_an_untrusted_caller_writes_is_not_believed() {
        assert_eq!(caller(0, &[], "192.0.2.9", &["10.0.0.1"]), "192.0.2.9");
        assert_eq!(caller(1, &[], "192.0.2.9", &["10.0.0.1, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(caller(1, &[], "192.0.2.9", &["10.0.0.1", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(caller(2, &[], "192.0.2.9", &["10.0.0.1, 198.51.100.7, 203.0.113.5"]), "198.51.100.7");
        assert_eq!(caller(0, &["192.0.2.0/24"], "192.0.2.9", &["1.1.1.1, 198.51.100.7, 192.0.2.8"]), "198.51.100.7");
        assert_eq!(caller(0, &["192.0.2.0/24"], "198.51.100.7", &["1.1.1.1"]), "198.51.100.7");
    }

    #[test]
    fn nothing_on_the_left_hides_what_a_proxy_wrote() {
        for forged in
            ["caf\u{e9}", "", " ", ",", "unknown", "10.0.0.1:99999", "::ffff:10.0.0.1", "fe80::1%eth0", "a\tb"]
        {
            let field = format!("{forged}, 198.51.100.7");
            assert_eq!(caller(1, &[], "10.0.0.9", &[&field]), "198.51.100.7", "{forged:?}");
            assert_eq!(caller(0, &["10.0.0.0/8"], "10.0.0.9", &[&field]), "198.51.100.7", "{forged:?}");
            assert_eq!(caller(1, &[], "10.0.0.9", &[forged, "198.51.100.7"]), "198.51.100.7", "{forged:?}");
            let behind_two = format!("{forged}, 198.51.100.7, 203.0.113.5");
            assert_eq!(caller(2, &[], "10.0.0.9", &[&behind_two]), "198.51.100.7", "{forged:?}");
        }
        assert_eq!(caller(2, &[], "10.0.0.9", &["198.51.100.7"]), "198.51.100.7", "a proxy was passed by");
    }

    #[test]
    fn an_entry_that_is_no_plain_address_is_nobody() {
        for odd in [
            "fe80::1%eth0",
            "[fe80::1%eth0]:80",
            "010.0.0.1",
            "10.1",
            "0x0a000001",
            "10.0.0.1/8",
            "[10.0.0.1]x",
            "_hidden",
        ] {
            assert_eq!(caller(1, &[], "192.0.2.9", &[odd]), "192.0.2.9", "{odd}");
        }
    }

    #[test]
    fn a_proxy_is_trusted_in_either_clothes() {
        assert_eq!(caller(0, &["::ffff:192.0.2.0/120"], "192.0.2.9", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(caller(0, &["192.0.2.0/24"], "::ffff:192.0.2.9", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(caller(0, &["192.0.2.0/24"], "192.0.2.9", &["198.51.100.7, ::ffff:192.0.2.8"]), "198.51.100.7");
    }

    #[test]
    fn clothes_ports_and_rubbish_are_taken_off() {
        assert_eq!(caller(0, &[], "::ffff:192.0.2.9", &[]), "192.0.2.9");
        assert_eq!(caller(1, &[], "192.0.2.9", &["[2001:db8::1]:99"]), "2001:db8::1");
        assert_eq!(caller(1, &[], "192.0.2.9", &["198.51.100.7:1234"]), "198.51.100.7");
        assert_eq!(caller(1, &[], "192.0.2.9", &["1.1.1.1, unknown"]), "192.0.2.9");
        assert_eq!(caller(1, &[], "192.0.2.9", &[]), "192.0.2.9");
    }
}
