//! Who is counted together, as bytes. Two that are not the same never have the same bytes.

use std::net::IpAddr;

use crate::names::{ObjectRef, TenantName};
use crate::request::Caller;

const CALLER: u8 = 1;
const V4: u8 = 4;
const V6: u8 = 6;

/// One caller: by method and id, or on an open rule by address.
#[must_use]
pub fn who(caller: Option<&Caller>, address: IpAddr) -> Vec<u8> {
    match caller {
        Some(caller) => {
            let mut key = Vec::with_capacity(1 + 8 + caller.method.len() + caller.id.len());
            key.push(CALLER);
            part(&mut key, caller.method.as_bytes());
            key.extend_from_slice(caller.id.as_bytes());
            key
        }
        None => network(address),
    }
}

/// An address; of IPv6 the /64, since whoever has one address there has them all.
#[must_use]
pub fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => [&[V4], address.octets().as_slice()].concat(),
        IpAddr::V6(address) => [&[V6], address.octets().split_at(8).0].concat(),
    }
}

/// One limit of one policy of one tenant.
#[must_use]
pub fn limit(tenant: &TenantName, policy: &ObjectRef, limit: &str) -> Vec<u8> {
    let ObjectRef { kind, namespace, name } = policy;
    let mut key = Vec::new();
    for text in [tenant.as_str(), &kind.to_string(), namespace, name, limit] {
        part(&mut key, text.as_bytes());
    }
    key
}

/// A part that others follow says how long it is.
fn part(key: &mut Vec<u8>, bytes: &[u8]) {
    key.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    key.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::names::Kind;

    fn caller(method: &str, id: &str) -> Caller {
        let claims = Arc::new(Value::Null);
        Caller { id: id.into(), method: method.into(), tenant: None, roles: vec![], claims, forward: vec![] }
    }

    const NOBODY: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    #[test]
    fn an_ipv6_network_is_one_caller_and_a_mapped_address_is_itself() {
        let key = |text: &str| network(text.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    proptest! {
        #[test]
        fn different_callers_never_share_a_key(
            a in ("[ab\u{0}\u{1}:/]{0,4}", "[ab\u{0}\u{1}:/]{0,4}"), b in ("[ab\u{0}\u{1}:/]{0,4}", "[ab\u{0}\u{1}:/]{0,4}"),
        ) {
            let key = |(method, id): &(String, String)| who(Some(&caller(method, id)), NOBODY);
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }

        #[test]
        fn no_caller_shares_a_key_with_an_address(method in ".{0,8}", id in ".{0,8}", address in any::<IpAddr>()) {
            prop_assert_ne!(who(Some(&caller(&method, &id)), address), who(None, address));
        }

        #[test]
        fn different_limits_never_share_a_key(
            a in ("[ab]{1,2}", "[ab/]{0,2}", "[ab/]{0,2}", "[ab/]{0,2}"),
            b in ("[ab]{1,2}", "[ab/]{0,2}", "[ab/]{0,2}", "[ab/]{0,2}"),
        ) {
            let key = |(tenant, namespace, name, of): &(String, String, String, String)| {
                let policy = ObjectRef::new(Kind::RateLimitPolicy, namespace.as_str(), name.as_str());
                limit(&TenantName::parse(tenant).unwrap(), &policy, of)
            };
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }
    }
}
