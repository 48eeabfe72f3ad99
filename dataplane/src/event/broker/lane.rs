//! One partition, or the dead-letter queue, being consumed: its channel, and what of it is in flight.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::connection::Pauses;
use super::message::{Delivered, Settled};
use super::{BrokerSettings, topology};

/// Acknowledgements sent at once.
const ACKS_AT_ONCE: usize = 64;

/// Acknowledgements have no answer, and RabbitMQ forgets those that its quorum queue has not logged when their
/// channel is closed: the last of a burst would be delivered again to the next consumer.
const LINGER: Duration = Duration::from_millis(200);

/// Unacknowledged deliveries of the dead-letter queue: they are handled one by one.
const DEAD_PREFETCH: u16 = 16;

/// A partition, or the dead-letter queue, and what tells it to leave.
pub(super) struct Lane<'a> {
    pub(super) connection: &'a Connection,
    pub(super) settings: &'a BrokerSettings,
    /// None for the dead-letter queue.
    pub(super) partition: Option<u16>,
    pub(super) deliveries: mpsc::Sender<Delivered>,
    pub(super) leave: watch::Receiver<bool>,
}

/// Why a channel was left.
enum Left {
    /// It is another's now, or nobody takes deliveries.
    HandedOver,
    /// A delivery was given back.
    GaveBack,
}

impl Lane<'_> {
    /// Consumes until it is told to leave, on a new channel whenever one fails. Its number.
    pub(super) async fn run(mut self) -> Option<u16> {
        let mut pauses = Pauses::new();
        loop {
            pauses.succeeded();
            match self.channel().await {
                Ok(Left::HandedOver) => return self.partition,
                Ok(Left::GaveBack) => {}
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(queue = self.queue(), error, "the channel of a queue ended");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pauses.next()) => {}
                _ = self.leave.wait_for(|leave| *leave) => return self.partition,
            }
        }
    }

    fn queue(&self) -> String {
        self.partition.map_or_else(|| self.settings.dead(), |partition| self.settings.queue(partition))
    }

    async fn channel(&mut self) -> Result<Left, lapin::Error> {
        let channel = self.connection.create_channel().await?;
        topology::declare_queue(&channel, self.settings, self.partition).await?;
        let prefetch = self.partition.map_or(DEAD_PREFETCH, |_| self.settings.prefetch.get());
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let queue = self.queue();
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let mut consumer = channel.basic_consume(queue.into(), "".into(), options, none).await?;
        let left = self.consume(&channel, &mut consumer).await?;
        if matches!(left, Left::HandedOver) {
            tokio::time::sleep(LINGER).await;
        }
        // Closing is what hands over: the broker takes back what is unacknowledged and makes the next
        // consumer active in one step. After a `basic.cancel` the next would start before that, with what
        // comes behind. lapin sends one when a consumer is dropped, so ours outlives its channel.
        channel.close(200, "OK".into()).await?;
        drop(consumer);
        Ok(left)
    }

    async fn consume(&mut self, channel: &Channel, consumer: &mut Consumer) -> Result<Left, lapin::Error> {
        let (settle, mut settled) = mpsc::unbounded_channel();
        // Dropped with this function: whoever holds a delivery then knows that its channel is gone.
        let (_alive, alive) = watch::channel(());
        // No longer than the prefetch.
        let mut waiting = VecDeque::new();
        let mut in_flight = InFlight::default();
        let mut acks = Vec::with_capacity(ACKS_AT_ONCE);
        let mut until = None;
        loop {
            let leaving = *self.leave.borrow_and_update();
            if leaving && in_flight.0.is_empty() {
                return Ok(Left::HandedOver);
            }
            if leaving && until.is_none() {
                until = Some(Instant::now() + self.settings.hand_over_timeout);
            }
            tokio::select! {
                biased;
                _ = settled.recv_many(&mut acks, ACKS_AT_ONCE) => {
                    if !in_flight.settle(channel, &mut acks).await? {
                        return Ok(Left::GaveBack);
                    }
                }
                _ = self.leave.changed(), if !leaving => {}
                // Always looked at: an error of the channel comes this way. While leaving nothing is taken;
                // what comes is given back by the closing.
                next = consumer.next() => match next {
                    Some(Ok(delivery)) if !leaving => waiting.push_back(delivery),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    None => return Err(cancelled()),
                },
                room = self.deliveries.reserve(), if !leaving && !waiting.is_empty() => {
                    let Ok(room) = room else { return Ok(Left::HandedOver) };
                    if let Some(delivery) = waiting.pop_front() {
                        in_flight.0.insert(delivery.delivery_tag);
                        let partition = self.partition.unwrap_or_default();
                        room.send(Delivered::new(partition, delivery, settle.clone(), alive.clone()));
                    }
                }
                Some(()) = wait(until) => return Ok(Left::HandedOver),
            }
        }
    }
}

async fn wait(until: Option<Instant>) -> Option<()> {
    tokio::time::sleep_until(until?).await;
    Some(())
}

/// The tags of deliveries that somebody has.
#[derive(Default)]
struct InFlight(BTreeSet<u64>);

impl InFlight {
    /// Sends acknowledgements together, those before the first that is still in flight as one: a quorum
    /// queue logs each. False when a delivery was given back.
    async fn settle(&mut self, channel: &Channel, settled: &mut Vec<Settled>) -> Result<bool, lapin::Error> {
        let mut kept = true;
        let mut done = BTreeSet::new();
        for one in settled.drain(..) {
            match one {
                Settled::Ack(tag) => _ = self.0.remove(&tag) && done.insert(tag),
                Settled::Reject(tag) => {
                    if self.0.remove(&tag) {
                        channel.basic_reject(tag, BasicRejectOptions { requeue: false }).await?;
                    }
                }
                Settled::GiveBack => kept = false,
            }
        }
        let single = match self.0.first() {
            Some(first) => done.split_off(first),
            None => BTreeSet::new(),
        };
        let together = done.last().map(|tag| (*tag, true));
        let acks = together.into_iter().chain(single.into_iter().map(|tag| (tag, false)));
        try_join_all(acks.map(|(tag, multiple)| channel.basic_ack(tag, BasicAckOptions { multiple }))).await?;
        Ok(kept)
    }
}

/// The broker ended the consumer: its queue was deleted, or lost its node.
fn cancelled() -> lapin::Error {
    lapin::ErrorKind::InvalidChannelState(lapin::ChannelState::Closed, "the broker ended the consumer").into()
}
