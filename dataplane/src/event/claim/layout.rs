//! The keys in Redis. All of one tenant's carry its name as hash tag: a cluster keeps them on one node, so
//! that one script may touch them.

use policy::names::TenantName;

use super::Key;

/// Tiers of buckets; one bucket in the first, sixteen times as many in each next. Told to the scripts, too.
pub(super) const TIERS: usize = 4;

/// Names keys.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    prefix: String,
}

impl Layout {
    /// The prefix holds no brace, or the hash tag would not be the tenant.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// What is written to see whether writing works.
    pub(super) fn probe(&self) -> String {
        format!("{}:probe", self.prefix)
    }

    /// Which process of Redis was asked last, and since when.
    pub(super) fn run(&self) -> String {
        format!("{}:run", self.prefix)
    }

    fn key(&self, tenant: &TenantName, kind: u8, rest: &[u8]) -> Vec<u8> {
        let tenant = tenant.as_str().as_bytes();
        let mut key = Vec::with_capacity(self.prefix.len() + tenant.len() + rest.len() + 4);
        key.extend_from_slice(self.prefix.as_bytes());
        key.extend_from_slice(b":{");
        key.extend_from_slice(tenant);
        key.extend_from_slice(b"}");
        key.push(kind);
        key.extend_from_slice(rest);
        key
    }

    /// How many ids a tenant has by hour, and what is forgotten.
    pub(super) fn record(&self, tenant: &TenantName) -> Vec<u8> {
        self.key(tenant, b'r', &[])
    }

    /// An unconfirmed claim.
    pub(super) fn memo(&self, tenant: &TenantName, event: &Key) -> Vec<u8> {
        self.key(tenant, b'm', event)
    }

    /// The numbers of a conversation.
    pub(super) fn conversation(&self, tenant: &TenantName, conversation: &Key) -> Vec<u8> {
        self.key(tenant, b'c', conversation)
    }

    /// Where an id may be, in each tier: by nothing, 4, 8 and 12 bits of it.
    pub(super) fn buckets(&self, tenant: &TenantName, event: &Key) -> [Vec<u8>; TIERS] {
        let [first, second, ..] = *event;
        [
            self.key(tenant, b'0', &[]),
            self.key(tenant, b'1', &[first >> 4]),
            self.key(tenant, b'2', &[first]),
            self.key(tenant, b'3', &[first, second >> 4]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn all(tenant: &str, key: &Key) -> Vec<Vec<u8>> {
        let (layout, tenant) = (Layout::new("postern"), TenantName::parse(tenant).unwrap());
        let mut keys = vec![layout.record(&tenant), layout.memo(&tenant, key), layout.conversation(&tenant, key)];
        keys.extend(layout.buckets(&tenant, key));
        keys
    }

    /// What a cluster hashes: from the first brace to the first that closes.
    fn hash_tag(key: &[u8]) -> &[u8] {
        let from = key.iter().position(|&byte| byte == b'{').unwrap() + 1;
        let length = key.iter().skip(from).position(|&byte| byte == b'}').unwrap();
        key.get(from..from + length).unwrap()
    }

    proptest! {
        #[test]
        fn a_memo_and_a_conversation_are_one_key_each(
            a in "[a-z0-9]{1,4}", b in "[a-z0-9]{1,4}", one in any::<Key>(), two in any::<Key>()
        ) {
            let (left, right) = (all(&a, &one), all(&b, &two));
            let same = a == b && one == two;
            prop_assert_eq!(left.get(1) == right.get(1), same);
            prop_assert_eq!(left.get(2) == right.get(2), same);
        }

        #[test]
        fn tenants_and_kinds_share_no_key(
            a in "[a-z0-9]{1,4}", b in "[a-z0-9]{1,4}", one in any::<Key>(), two in any::<Key>()
        ) {
            let left: HashSet<_> = all(&a, &one).into_iter().collect();
            prop_assert_eq!(left.len(), 7);
            if a != b {
                prop_assert!(all(&b, &two).iter().all(|key| !left.contains(key)));
            }
        }

        #[test]
        fn all_keys_of_a_tenant_have_its_name_as_hash_tag(a in "[a-z0-9]{1,4}", key in any::<Key>()) {
            for one in all(&a, &key) {
                prop_assert_eq!(hash_tag(&one), a.as_bytes());
            }
        }
    }
}
