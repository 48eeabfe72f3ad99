//! What holds of a stored or sent event whatever its bytes. The targets in `fuzz/` run these rules on bytes that a
//! fuzzer finds, the property tests below on bytes that look right at first.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::claim::{Claim, done_of, read_claims};
use super::spool::{Ask, Numbered, Read, Record, read_parts};
use super::{Entry, Envelope};

/// What is read from the broker says the same when it is written again.
pub fn envelope(bytes: &[u8]) {
    let Ok(read) = Envelope::from_json(bytes) else { return };
    let again = read.to_json().map(|json| Envelope::from_json(&json).ok());
    assert_eq!(again.ok().flatten(), Some(read));
}

/// A row of the store is an event or damaged, and never the end of reading; one that was altered is damaged.
pub fn row(head: &[u8], data: &[u8]) {
    let read = read_parts(head, data, true);
    assert!(read.is_ok(), "{read:?}");
    if let Ok(Read::Whole(pending)) = read {
        assert_eq!((&*pending.envelope.event.data, pending.envelope.sequence), (data, 7));
    }
    assert!(data == b"others" || matches!(read_parts(head, data, false), Ok(Read::Damaged(1))));
}

/// What a process asks of a shard is read or refused, and says the same when it is written again.
pub fn question(bytes: &[u8]) {
    fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
        let Ok(read) = rmp_serde::from_slice::<T>(bytes) else { return };
        let written = rmp_serde::to_vec_named(&read).unwrap_or_default();
        let again = rmp_serde::from_slice::<T>(&written).map(|read| rmp_serde::to_vec_named(&read).unwrap_or_default());
        assert_eq!(again.ok(), Some(written));
    }
    read::<Vec<Entry>>(bytes);
    read::<Vec<Numbered>>(bytes);
    read::<Ask>(bytes);
    read::<Record>(bytes);
}

/// What Redis says of claims is as many claims as it has values for, or none; what it says of a conversation is its
/// second number.
pub fn claim(values: &[Option<i64>], text: &str) {
    let said = |value: &Option<i64>| value.map_or(redis::Value::Nil, redis::Value::Int);
    if let Ok(claims) = read_claims(&redis::Value::Array(values.iter().map(said).collect())) {
        let number = |claim: &Claim| match *claim {
            Claim::New { sequence, .. } | Claim::TakenOver { sequence, .. } => Some(sequence),
            Claim::Confirmed => None,
        };
        let numbers: Vec<_> = claims.iter().map(number).collect();
        let wanted =
            values.chunks(3).map(|said| if said.first() == Some(&Some(2)) { None } else { said.get(1).copied()? });
        assert_eq!(numbers, wanted.collect::<Vec<_>>());
    }
    if let Some(done) = done_of(text) {
        assert!(text.split(' ').nth(1).and_then(|number| number.parse().ok()) == Some(done));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use policy::names::{Kind, ObjectRef, TenantName};
    use proptest::prelude::*;

    use super::super::spool::{Place, head_of};
    use super::super::{Envelope, Event};

    fn event() -> Event {
        Event {
            tenant: TenantName::parse("acme").unwrap(),
            source: ObjectRef::new(Kind::WebhookSource, "acme", "whatsapp"),
            id: "wamid.1".into(),
            kind: "whatsapp.message.text".into(),
            conversation: "1#2".into(),
            time: "2026-01-01T00:00:00.25Z".parse().unwrap(),
            data: Bytes::from_static(br#"{"a": [1]}"#),
            dataraw: Some(Bytes::from_static(b"{}")),
            traceparent: Some("00-1-2-01".into()),
            unknown: true,
            sanitised: Some("#/a".into()),
            request_id: Some("r-1".into()),
        }
    }

    fn written() -> Vec<u8> {
        let envelope = Envelope {
            event: event(),
            sequence: i64::MAX,
            previous: Some(i64::MIN),
            redelivered: true,
            gap: true,
            late: true,
            degraded: true,
        };
        envelope.to_json().unwrap()
    }

    /// One byte is another one, or the rest is cut.
    fn altered(mut bytes: Vec<u8>, at: prop::sample::Index, with: Option<u8>) -> Vec<u8> {
        let at = at.index(bytes.len());
        match with {
            Some(with) => bytes[at] = with,
            None => bytes.truncate(at),
        }
        bytes
    }

    #[test]
    fn a_row_as_it_is_stored_is_an_event() {
        let read = super::read_parts(&head_of(&event()), b"{}", true).unwrap();
        assert!(matches!(read, super::Read::Whole(pending) if pending.envelope.event.id == event().id));
    }

    proptest! {
        #[test]
        fn an_altered_message_is_refused_or_says_one_thing(at in any::<prop::sample::Index>(), with in any::<Option<u8>>()) {
            super::envelope(&altered(written(), at, with));
        }

        #[test]
        fn an_altered_row_is_damaged_or_an_event(
            at in any::<prop::sample::Index>(), with in any::<Option<u8>>(), data in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            super::row(&altered(head_of(&event()), at, with), &data);
        }

        #[test]
        fn an_altered_question_is_refused_or_says_one_thing(
            at in any::<prop::sample::Index>(), with in any::<Option<u8>>(),
        ) {
            let envelope = Envelope::from_json(&written()).unwrap();
            let question = rmp_serde::to_vec_named(&super::Ask { envelope, row: Some(Place { store: None, row: 7 }) }).unwrap();
            super::question(&question);
            super::question(&altered(question, at, with));
        }

        #[test]
        fn whatever_redis_says_is_claims_or_none(
            values in prop::collection::vec(prop::option::of(-1..4_i64), 0..7), text in "[0-9 -]{0,12}",
        ) {
            super::claim(&values, &text);
        }
    }
}
