//! The contacts of a change, found by their ids: a change may have thousands, and each message looks for its own.

use hashbrown::HashMap;
use serde_json::Value;

use crate::webhook_source::entry::text;

type Map = HashMap<String, usize, foldhash::fast::RandomState>;

/// Contacts by wa id and by user id; of two with one id, the first.
pub(super) struct Contacts<'v> {
    list: &'v [Value],
    wa_ids: Map,
    user_ids: Map,
}

impl<'v> Contacts<'v> {
    /// The contacts of a change's value.
    pub(super) fn of(value: &'v Value) -> Self {
        let list = value.get("contacts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let (mut wa_ids, mut user_ids) = (Map::default(), Map::default());
        for (place, contact) in list.iter().enumerate() {
            for (map, name) in [(&mut wa_ids, "wa_id"), (&mut user_ids, "user_id")] {
                if let Some(id) = text(contact, &[name]) {
                    map.entry(id).or_insert(place);
                }
            }
        }
        Self { list, wa_ids, user_ids }
    }

    /// The first with this wa id or user id.
    pub(super) fn find(&self, wa_id: Option<&str>, user_id: Option<&str>) -> Option<&'v Value> {
        let by_wa_id = wa_id.and_then(|id| self.wa_ids.get(id));
        let by_user_id = user_id.and_then(|id| self.user_ids.get(id));
        self.list.get(*by_wa_id.into_iter().chain(by_user_id).min()?)
    }

    /// The only one: it is meant, whatever number it is written with.
    pub(super) fn lone(&self) -> Option<&'v Value> {
        match self.list {
            [only] => Some(only),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_contact_with_either_id_is_meant() {
        let value = json!({"contacts": [
            {"wa_id": "1", "n": 0}, {"user_id": "DE.2", "n": 1}, {"wa_id": 3, "user_id": "DE.2", "n": 2}, {"wa_id": "1", "n": 3}]});
        let contacts = Contacts::of(&value);
        let find = |wa_id, user_id| contacts.find(wa_id, user_id).map(|contact| contact["n"].as_u64().unwrap());
        assert_eq!(
            (find(Some("1"), None), find(None, Some("DE.2")), find(Some("3"), None)),
            (Some(0), Some(1), Some(2))
        );
        assert_eq!((find(Some("3"), Some("DE.2")), find(Some("9"), None), find(None, None)), (Some(1), None, None));
        assert!(contacts.lone().is_none() && Contacts::of(&json!({"contacts": 7})).lone().is_none());
    }
}
