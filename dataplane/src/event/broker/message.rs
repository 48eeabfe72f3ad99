//! What goes to the broker and what comes from it.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use tokio::sync::{mpsc, watch};

/// Written to disk by the broker before it confirms.
const PERSISTENT: u8 = 2;
const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A message to publish: persistent and mandatory.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its partition.
    pub partition: u16,
    /// The id of the event, as the message id.
    pub event_id: String,
    /// The event.
    pub body: Bytes,
    /// What consumers need without reading the body.
    pub headers: Vec<(&'static str, String)>,
}

impl Outgoing {
    /// Its properties. `number` is ours alone: by it a message that comes back is known again.
    pub(super) fn properties(&self, number: u64) -> BasicProperties {
        let mut headers = FieldTable::default();
        for (name, value) in &self.headers {
            headers.insert((*name).into(), AMQPValue::LongString(value.as_str().into()));
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(CONTENT_TYPE.into())
            .with_correlation_id(number.to_string().into())
            .with_headers(headers);
        match lapin::types::ShortString::try_new(self.event_id.as_str()) {
            Ok(id) => properties.with_message_id(id),
            // Longer than a short string holds: the body has it too.
            Err(_) => properties,
        }
    }
}

/// Why a message is not known to be in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// Not sent: no broker.
    #[error("the broker is away")]
    Away,
    /// Not sent: the broker takes nothing now.
    #[error("the broker takes nothing: an alarm of memory or disk")]
    Blocked,
    /// The broker refused it: its queue is full, or could not store it.
    #[error("the broker refused it")]
    Nacked,
    /// The broker has no queue for it.
    #[error("the broker has no queue for it")]
    Returned,
    /// Not sent: there was no room in the window in time.
    #[error("too much is unconfirmed")]
    Full,
    /// Not sent: the broker would close the channel.
    #[error("the message is too big")]
    TooLarge,
    /// Not sent: the partition does not exist.
    #[error("there is no such partition")]
    NoPartition,
    /// Sent, and the connection ended or was blocked before it was confirmed.
    #[error("it was sent, and what became of it is unknown")]
    Unknown,
    /// Sent, and not confirmed in time.
    #[error("it was sent, and not confirmed in time")]
    TimedOut,
}

impl NotPublished {
    /// Whether it may be in its queue all the same: to publish it again may repeat it, never lose it.
    #[must_use]
    pub fn may_be_there(self) -> bool {
        match self {
            Self::Unknown | Self::TimedOut => true,
            Self::Away
            | Self::Blocked
            | Self::Nacked
            | Self::Returned
            | Self::Full
            | Self::TooLarge
            | Self::NoPartition => false,
        }
    }

    /// For metrics and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Blocked => "blocked",
            Self::Nacked => "nacked",
            Self::Returned => "returned",
            Self::Full => "full",
            Self::TooLarge => "too_large",
            Self::NoPartition => "no_partition",
            Self::Unknown => "unknown",
            Self::TimedOut => "timed_out",
        }
    }
}

/// What became of a delivery, for its lane.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settled {
    /// Acknowledge it.
    Ack(u64),
    /// It is no event: to the dead-letter queue.
    Reject(u64),
    /// It was dropped: give it and all after it back.
    GiveBack,
}

/// A message that is ours until it is acknowledged, dropped, or its channel is gone.
///
/// One that is dropped without [`Delivered::ack`] is given back with all that its partition has in flight:
/// the broker delivers them again, in order.
#[derive(Debug)]
pub struct Delivered {
    /// Its partition; of what the broker gave up, 0.
    pub partition: u16,
    /// The event.
    pub body: Bytes,
    /// Its headers that are text.
    pub headers: BTreeMap<String, String>,
    /// It was delivered before, to somebody.
    pub redelivered: bool,
    tag: u64,
    // Never full for long: it holds no more than the channel's prefetch.
    settle: Option<mpsc::UnboundedSender<Settled>>,
    // Nothing is ever sent on it; its sender lives as long as the channel.
    channel: watch::Receiver<()>,
}

impl Delivered {
    pub(super) fn new(
        partition: u16,
        delivery: lapin::message::Delivery,
        settle: mpsc::UnboundedSender<Settled>,
        channel: watch::Receiver<()>,
    ) -> Self {
        let table = delivery.properties.headers().as_ref();
        let text = |value: &AMQPValue| value.as_long_string().map(LongString::to_string);
        let headers = table.into_iter().flat_map(|table| table.inner());
        let headers = headers.filter_map(|(name, value)| Some((name.to_string(), text(value)?))).collect();
        Self {
            partition,
            body: Bytes::from(delivery.data),
            headers,
            redelivered: delivery.redelivered,
            tag: delivery.delivery_tag,
            settle: Some(settle),
            channel,
        }
    }

    /// It is done with. Never blocks. After its channel is gone it does nothing: the message comes again.
    pub fn ack(mut self) {
        if let Some(settle) = self.settle.take() {
            let _ = settle.send(Settled::Ack(self.tag));
        }
    }

    /// It is no event, and nobody can make one of it: the broker moves it to its dead-letter queue.
    pub fn reject(mut self) {
        if let Some(settle) = self.settle.take() {
            let _ = settle.send(Settled::Reject(self.tag));
        }
    }

    /// For how long its partition is ours.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        Tenure(self.channel.clone())
    }

    /// Whether its channel is gone: it will be delivered again, to us or another, so an attempt must stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.channel.has_changed().is_err()
    }

    /// Resolves when its channel is gone. It may be awaited on any runtime, and outlive the delivery.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut channel = self.channel.clone();
        async move { while channel.changed().await.is_ok() {} }
    }
}

/// The time for which a partition is ours: when its channel is gone, it may be somebody else's.
#[derive(Clone, Debug)]
pub struct Tenure(watch::Receiver<()>);

impl Tenure {
    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            let _ = settle.send(Settled::GiveBack);
        }
    }
}
