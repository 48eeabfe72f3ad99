//! Keys and numbers: which event this is, and where in its conversation it stands.
//!
//! A number is `max(last + 1, now in microseconds)`: a store that was restored from an old copy still
//! numbers later events higher. Where the spool is the queue, the claim itself is the transaction that makes
//! the event durable, so there is no claim without its event and nothing to take over after a crash: a
//! transaction that failed gave its numbers back. Where gateways share a Redis, the claim is a memo there:
//! see [`Claims`].

mod layout;
mod link;
mod record;
mod redis;
mod script;
mod settings;

pub use self::link::{Eviction, RedisTraffic};
pub use self::record::Confirmed;
pub use self::redis::{Away, Claim, Claims, ClaimsCounters, ClaimsState, Conversation, Wanted};
#[cfg(any(test, feature = "fuzz"))]
pub(super) use self::redis::{done_of, read_claims};
pub use self::settings::{ClaimsError, RedisSettings};

use policy::names::{Kind, ObjectRef, TenantName};
use ring::digest::{Context, SHA256};

use super::Event;

/// The first 16 bytes of a SHA-256.
pub type Key = [u8; 16];

/// Hashes parts so that no two lists of parts are the same text: each is led by its length.
pub(crate) fn digest<const N: usize>(parts: [&[u8]; N]) -> Key {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = Key::default();
    for (to, from) in key.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    key
}

/// The conversation that an event belongs to.
pub(super) fn conversation_key(tenant: &TenantName, source: &ObjectRef, conversation: &str) -> Key {
    digest([
        if source.kind == Kind::Route { b"requests" } else { &b"conversation"[..] },
        tenant.as_str().as_bytes(),
        source.namespace.as_bytes(),
        source.name.as_bytes(),
        conversation.as_bytes(),
    ])
}

/// The event itself. A refused entry has a key of its own: when the provider sends it again after its
/// refusal was mended, it must be delivered.
pub(super) fn event_key(event: &Event, refused: bool) -> Key {
    digest([
        match refused {
            _ if event.source.kind == Kind::Route => b"request",
            true => b"refused",
            false => &b"event"[..],
        },
        event.tenant.as_str().as_bytes(),
        event.source.namespace.as_bytes(),
        event.source.name.as_bytes(),
        event.id.as_bytes(),
    ])
}

/// The next number of a conversation whose last was `last`; `floor` is the highest number that may have
/// been forgotten.
pub(super) fn next_number(last: Option<i64>, floor: i64, now_us: i64) -> i64 {
    now_us.max(last.unwrap_or(floor).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_when_the_clock_falls() {
        assert_eq!(next_number(Some(100), 0, 50), 101);
        assert_eq!(next_number(Some(100), 0, 500), 500);
        assert_eq!(next_number(None, 700, 500), 701);
    }

    #[test]
    fn a_route_shares_no_conversation_with_a_source_of_its_name() {
        let tenant = TenantName::parse("acme").unwrap();
        let key = |kind| conversation_key(&tenant, &ObjectRef::new(kind, "acme", "echo"), "");
        assert_ne!(key(Kind::Route), key(Kind::WebhookSource));
    }

    proptest::proptest! {
        #[test]
        fn keys_are_injective(a in ".{0,6}", b in ".{0,6}", c in ".{0,6}", d in ".{0,6}") {
            let same = a == c && b == d;
            let one = digest([a.as_bytes(), b.as_bytes()]);
            let two = digest([c.as_bytes(), d.as_bytes()]);
            proptest::prop_assert_eq!(one == two, same);
        }
    }
}
