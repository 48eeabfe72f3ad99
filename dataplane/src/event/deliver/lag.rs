//! Partition lag: how long a message takes through its partition's queue.
//!
//! The delivery worker that a partition prefers publishes a tick there every [`TICK_EVERY`], and whoever consumes the
//! partition measures it. A tick that its own publisher waits for counts as lag while it is under way, but only while
//! that worker is known to consume the partition: a tick that another worker consumes is measured there.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::now_ms;
use super::partitions::Shared;
use crate::event::broker::{Delivered, Outgoing, Publisher};

/// How often a tick goes through each partition.
pub(super) const TICK_EVERY: Duration = Duration::from_secs(15);
/// A partition whose ticks do not come here any more is not shown from here.
const SHOWN_FOR_MS: i64 = 60_000;
/// Marks a tick; its value is when it was published, in milliseconds since the epoch.
const TICK_HEADER: &str = "x-postern-tick";

/// The state of one partition.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// When a tick came here last, and how long it had taken.
    received: Option<(i64, i64)>,
    /// When this worker's own tick was published that has not come yet.
    under_way: Option<i64>,
}

/// The state of every partition; bounded by their number.
#[derive(Debug, Default)]
pub(super) struct Lags(BTreeMap<u16, Seen>);

impl Lags {
    fn sent(&mut self, partition: u16, now_ms: i64) {
        self.0.entry(partition).or_default().under_way = Some(now_ms);
    }

    fn not_sent(&mut self, partition: u16) {
        self.0.entry(partition).or_default().under_way = None;
    }

    fn received(&mut self, partition: u16, sent_ms: i64, now_ms: i64) {
        let lag_ms = now_ms.saturating_sub(sent_ms).max(0);
        *self.0.entry(partition).or_default() = Seen { received: Some((now_ms, lag_ms)), under_way: None };
    }

    /// Returns whether a tick is under way that will come here.
    fn awaits(&self, partition: u16, consumed: bool) -> bool {
        consumed && self.0.get(&partition).is_some_and(|seen| seen.received.is_some() && seen.under_way.is_some())
    }

    /// The lag of each partition in milliseconds, as far as this worker can say.
    fn shown(&self, now_ms: i64, consumed: impl Fn(u16) -> bool) -> BTreeMap<u16, i64> {
        let lag = |(partition, seen): (&u16, &Seen)| {
            let (received_ms, lag_ms) = seen.received?;
            if let Some(sent_ms) = seen.under_way.filter(|_| consumed(*partition)) {
                return Some((*partition, lag_ms.max(now_ms - sent_ms)));
            }
            (now_ms - received_ms < SHOWN_FOR_MS).then_some((*partition, lag_ms))
        };
        self.0.iter().filter_map(lag).collect()
    }
}

/// When a message was published, if it is a tick.
pub(super) fn tick(delivered: &Delivered) -> Option<i64> {
    delivered.headers.get(TICK_HEADER)?.parse().ok()
}

impl Shared {
    /// A tick has come through its partition.
    pub(super) fn ticked(&self, partition: u16, sent_ms: i64) {
        self.lags.borrow_mut().received(partition, sent_ms, now_ms());
    }

    /// Shows the lags.
    pub(super) fn show_lags(&self) {
        let shown = self.lags.borrow().shown(now_ms(), |partition| self.consumes(partition));
        self.counters.set_lags(shown);
    }
}

/// Publishes a tick to each partition that prefers this worker and has none under way.
pub(super) async fn publish(shared: Rc<Shared>, publisher: &Publisher, partitions: Vec<u16>) {
    let now = now_ms();
    let free = |partition: &u16| !shared.lags.borrow().awaits(*partition, shared.consumes(*partition));
    let partitions: Vec<u16> = partitions.into_iter().filter(free).collect();
    let ticks = partitions.iter().map(|partition| Outgoing {
        partition: *partition,
        event_id: "tick".to_owned(),
        body: Bytes::from_static(b"{}"),
        headers: vec![(TICK_HEADER, now.to_string())],
    });
    let ticks = ticks.collect();
    partitions.iter().for_each(|partition| shared.lags.borrow_mut().sent(*partition, now));

    let published = publisher.publish(ticks).await;
    for (partition, published) in partitions.iter().zip(published) {
        if published.is_err() {
            shared.lags.borrow_mut().not_sent(*partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_under_way_counts_as_lag_only_where_its_partition_is_consumed() {
        let mut lags = Lags::default();
        lags.sent(3, 1_000);
        assert!(lags.shown(9_000, |_| true).is_empty(), "nothing came through yet: the absence alarms");
        lags.received(3, 1_000, 1_250);
        assert_eq!(lags.shown(2_000, |_| true), BTreeMap::from([(3, 250)]));

        lags.sent(3, 16_000);
        assert!(lags.awaits(3, true) && !lags.awaits(3, false));
        assert_eq!(lags.shown(46_000, |_| true), BTreeMap::from([(3, 30_000)]));
        assert_eq!(lags.shown(46_000, |_| false), BTreeMap::from([(3, 250)]));
        assert!(lags.shown(62_000, |_| false).is_empty(), "another worker shows it by now");
    }
}
