//! `postern events find`: what became of one event, over all stores.

use dataplane::event::outcomes::EventOutcome;
use dataplane::event::spool::operate::Filter;
use jiff::Timestamp;
use serde_json::json;

use super::stores::Stores;
use super::{EventsError, Places};
use crate::out;

/// Prints the outcomes of an event id, oldest first, then its rows that are still in a store.
pub(super) fn find(places: &Places, id: &str) -> Result<(), EventsError> {
    let stores = Stores::open(places)?;
    let (mut outcomes, mut since_ms, mut all) = (Vec::new(), i64::MIN, true);
    for store in &stores.all {
        match stores.find(store, id) {
            Ok(found) => {
                since_ms = since_ms.max(found.since_ms);
                outcomes.extend(found.outcomes.into_iter().map(|outcome| (store.name(), outcome)));
            }
            Err(error) => {
                all = false;
                out::failed(&error, out::TROUBLE);
            }
        }
    }
    outcomes.sort_by_key(|(_, outcome)| outcome.at_ms);
    for (store, outcome) in &outcomes {
        out::line(line(store, outcome));
    }

    let mut rows = stores.list(Filter { id: Some(id.to_owned()), ..Filter::default() });
    let mut stored = false;
    while let Some(row) = rows.next() {
        stored = true;
        out::line(serde_json::to_string(&row)?);
    }
    match (outcomes.is_empty() && !stored, all && rows.all) {
        (_, false) => Err(EventsError::Partly),
        (true, true) => Err(EventsError::NotFound(id.to_owned(), timestamp(since_ms))),
        (false, true) => Ok(()),
    }
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn line(store: &str, outcome: &EventOutcome) -> serde_json::Value {
    let EventOutcome { at_ms, kind, tenant, source, id, r#type, request_id, reason, attempts, status } = outcome;
    let mut line = json!({
        "time": timestamp(*at_ms).to_string(),
        "outcome": kind.word(),
        "tenant": tenant.as_str(),
        "source": &**source,
        "id": &**id,
        "type": &**r#type,
        "attempts": attempts,
        "shard": store,
    });
    let optional = [
        ("request_id", request_id.as_deref().map(|text| json!(text))),
        ("reason", reason.as_deref().map(|text| json!(text))),
        ("status", status.map(|status| json!(status))),
    ];
    if let Some(members) = line.as_object_mut() {
        members.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    line
}
