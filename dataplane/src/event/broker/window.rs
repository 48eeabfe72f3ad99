//! What is sent and not yet confirmed, on one connection.
//!
//! A partition always uses the same channel, so its messages arrive in the order in which they were sent.
//! A message keeps its room in the window until the broker says what became of it or the connection ends,
//! also when its caller has been told that it is too late: a broker that does not confirm fills the window
//! and is sent no more.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Event};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;

use super::connection::{self, Link};
use super::message::{NotPublished, Outgoing};
use super::publish::{Answers, Job, Shared};
use super::settings::places;
use super::topology::routing_key;
use super::{BrokerError, BrokerSettings, State, topology};
use crate::event::die::{self, Point};

/// Channels at most; partitions share them when there are more.
const MAX_CHANNELS: u16 = 16;
/// Jobs taken at once, before confirms are looked at again.
const JOBS_AT_ONCE: usize = 64;
/// A confirm that is missing for so many timeouts never comes: the connection is given up.
const LOST_AFTER: u32 = 12;
/// How long after a message came back what is missing is declared again. Not at once: a RabbitMQ whose deleted
/// queue is there again before it has told the queue's consumers keeps them, and delivers nothing to them.
const MEND_AFTER: Duration = Duration::from_secs(1);
/// No queue is bound by this: a message with it must come back.
const PROBE_KEY: &str = "probe";

/// The broker's answer.
enum Confirmed {
    Ack,
    Nack,
    /// Either, and lapin hands over a message that came back: the number of that.
    Returned(Option<u64>),
}

type Sent = (u64, Result<Confirmed, lapin::Error>);

/// The answers of one job, sent when the last is known.
struct Batch {
    answers: Answers,
    left: usize,
    answer: Option<oneshot::Sender<Answers>>,
}

/// Where the fate of one message is told.
struct Asked {
    batch: Rc<RefCell<Batch>>,
    index: usize,
}

impl Asked {
    fn tell(self, fate: Result<(), NotPublished>) {
        let mut batch = self.batch.borrow_mut();
        if let Some(place) = batch.answers.get_mut(self.index) {
            *place = fate;
        }
        batch.left = batch.left.saturating_sub(1);
        if batch.left == 0 {
            let answers = std::mem::take(&mut batch.answers);
            if let Some(answer) = batch.answer.take() {
                let _ = answer.send(answers);
            }
        }
    }
}

/// A message that is sent and not confirmed.
struct Pending {
    /// None for the probe, and for one whose caller knows that its fate is unknown.
    asked: Option<Asked>,
    _room: Option<OwnedSemaphorePermit>,
    partition: u16,
    sent: Instant,
    returned: bool,
}

/// The channels of one connection and what is pending on them.
pub(super) struct Window<'a> {
    settings: &'a BrokerSettings,
    shared: &'a Shared,
    channels: Vec<Channel>,
    exchange: ShortString,
    sent: FuturesUnordered<Pin<Box<dyn Future<Output = Sent>>>>,
    pending: BTreeMap<u64, Pending>,
    /// The number of the next message; the probe has 0.
    next: u64,
    /// Callers of all numbers below have been answered.
    answered: u64,
    blocked: bool,
    /// The probe came back: what has no queue is not taken for accepted.
    proven: bool,
    /// Confirms are expected since then.
    running: Instant,
    /// A message came back then: something that was declared is gone.
    gone: Option<Instant>,
    /// Partitions in which a confirm was late and none came since: nobody else waits as long for the same silence.
    silent: BTreeSet<u16>,
}

/// What woke the window.
enum Woken {
    Told(Option<Event>),
    Confirmed(Option<Sent>),
    Late,
    Asked(usize),
}

impl<'a> Window<'a> {
    pub(super) async fn open(
        connection: &Connection,
        settings: &'a BrokerSettings,
        shared: &'a Shared,
    ) -> Result<Self, BrokerError> {
        let mut channels = Vec::new();
        for _ in 0..settings.partitions.get().min(MAX_CHANNELS) {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            channels.push(channel);
        }
        Ok(Self {
            settings,
            shared,
            channels,
            exchange: settings.exchange().into(),
            sent: FuturesUnordered::new(),
            pending: BTreeMap::new(),
            next: 0,
            answered: 0,
            blocked: false,
            proven: false,
            running: Instant::now(),
            gone: None,
            silent: BTreeSet::new(),
        })
    }

    /// Publishes what is asked until the connection fails, or nobody asks any more.
    pub(super) async fn run(
        &mut self,
        link: &mut Link,
        jobs: &mut mpsc::UnboundedReceiver<Job>,
    ) -> Result<(), BrokerError> {
        let ended = self.work(link, jobs).await;
        // What the broker had confirmed is confirmed; of the rest nothing is known.
        while let Some(Some(sent)) = self.sent.next().now_or_never() {
            let _ = self.settle(sent).await;
        }
        self.unknown(NotPublished::Unknown);
        ended
    }

    async fn work(&mut self, link: &mut Link, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Result<(), BrokerError> {
        let mut asked = Vec::with_capacity(JOBS_AT_ONCE);
        let mut over = false;
        self.probe().await;
        while !(over && self.first_unanswered().is_none()) {
            let wake = self.wake_at();
            let woken = tokio::select! {
                biased;
                told = link.events.next() => Woken::Told(told),
                sent = self.sent.next(), if !self.sent.is_empty() => Woken::Confirmed(sent),
                () = tokio::time::sleep_until(wake) => Woken::Late,
                count = jobs.recv_many(&mut asked, JOBS_AT_ONCE), if !over => Woken::Asked(count),
            };
            match woken {
                Woken::Told(told) => self.told(told)?,
                Woken::Confirmed(Some(sent)) => self.settle(sent).await?,
                Woken::Confirmed(None) => {}
                Woken::Late => self.late()?,
                Woken::Asked(count) => over = count == 0,
            }
            for job in asked.drain(..) {
                self.take(job).await;
            }
            if !self.blocked && self.gone.is_some_and(|since| since + MEND_AFTER <= Instant::now()) {
                self.mend(&link.connection).await?;
            }
        }
        Ok(())
    }

    /// Declares again what somebody took away, so that its partition does not wait for a new connection.
    async fn mend(&mut self, connection: &Connection) -> Result<(), BrokerError> {
        tracing::warn!("messages came back from the broker: what is missing there is declared again");
        self.gone = None;
        let timeout = self.settings.confirm_timeout;
        let declared = tokio::time::timeout(timeout, topology::declare(connection, self.settings)).await;
        declared.map_err(|_| BrokerError::Slow { what: "declare the queues", seconds: timeout.as_secs() })?
    }

    /// Sends a message that has no queue: only its return proves that such a message comes back.
    async fn probe(&mut self) {
        let message = Outgoing { partition: 0, event_id: String::new(), body: Bytes::new(), headers: Vec::new() };
        self.send(message, PROBE_KEY.into(), None, None).await;
    }

    async fn take(&mut self, job: Job) {
        if self.blocked {
            return job.refuse(NotPublished::Blocked);
        }
        if !self.proven {
            return job.refuse(NotPublished::Away);
        }
        let Job { messages, mut room, answer } = job;
        let answers = vec![Err(NotPublished::Unknown); messages.len()];
        let batch = Rc::new(RefCell::new(Batch { answers, left: messages.len(), answer: Some(answer) }));
        for (index, message) in messages.into_iter().enumerate() {
            let count = usize::try_from(places(message.body.len())).unwrap_or(usize::MAX);
            let key = routing_key(message.partition).into();
            let asked = Asked { batch: batch.clone(), index };
            if self.silent.contains(&message.partition) {
                asked.tell(Err(NotPublished::Away));
                continue;
            }
            self.send(message, key, Some(asked), room.split(count)).await;
        }
        die::at(Point::Sent);
    }

    async fn send(
        &mut self,
        message: Outgoing,
        key: ShortString,
        asked: Option<Asked>,
        room: Option<OwnedSemaphorePermit>,
    ) {
        let number = self.next;
        self.next += 1;
        let pending =
            Pending { asked, _room: room, partition: message.partition, sent: Instant::now(), returned: false };
        self.pending.insert(number, pending);
        let at = usize::from(message.partition).checked_rem(self.channels.len()).unwrap_or_default();
        let Some(channel) = self.channels.get(at).cloned() else { return };
        let properties = message.properties(number);
        let mut sending = Box::pin(publish(channel, self.exchange.clone(), key, message.body, properties, number));
        // lapin queues the frames when this is first polled: here, so in the order in which we are asked.
        let first = std::future::poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
        match first {
            Poll::Pending => self.sent.push(sending),
            Poll::Ready(sent) => self.sent.push(Box::pin(std::future::ready(sent))),
        }
    }

    /// Learns what became of a message, and of all others of which that is known now.
    ///
    /// lapin hands a returned message to whichever confirm comes next, not always to its own, but never to
    /// one after its own: so all confirms that are there are looked at before any is believed.
    async fn settle(&mut self, first: Sent) -> Result<(), BrokerError> {
        let mut sent = vec![first];
        while let Some(Some(more)) = self.sent.next().now_or_never() {
            sent.push(more);
        }
        for (_, confirmed) in &sent {
            let Ok(Confirmed::Returned(Some(number))) = confirmed else { continue };
            if let Some(pending) = self.pending.get_mut(number) {
                pending.returned = true;
            }
        }
        let mut failed = None;
        for (number, result) in sent {
            let Some(pending) = self.pending.remove(&number) else { continue };
            self.silent.remove(&pending.partition);
            let fate = match &result {
                _ if pending.returned => Err(NotPublished::Returned),
                Ok(Confirmed::Ack) => Ok(()),
                Ok(Confirmed::Nack) => Err(NotPublished::Nacked),
                // It carries the return of another; its own may come with the next.
                Ok(Confirmed::Returned(_)) | Err(_) => Err(NotPublished::Unknown),
            };
            if number == 0 {
                self.probed(fate)?;
            } else {
                let gone = (fate == Err(NotPublished::Returned)).then(Instant::now);
                self.gone = self.gone.or(gone);
            }
            self.count(fate);
            if let Some(asked) = pending.asked {
                asked.tell(fate);
            }
            failed = failed.or(result.err());
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn probed(&mut self, fate: Result<(), NotPublished>) -> Result<(), BrokerError> {
        match fate {
            Err(NotPublished::Returned) => {
                self.proven = true;
                if !self.blocked {
                    self.shared.ready();
                }
                Ok(())
            }
            Ok(()) => Err(BrokerError::Swallows { exchange: self.settings.exchange() }),
            Err(_) => Ok(()),
        }
    }

    fn count(&self, fate: Result<(), NotPublished>) {
        let counters = &self.shared.counters;
        let one = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match fate {
            Ok(()) => one(&counters.confirmed),
            Err(NotPublished::Nacked) => one(&counters.nacked),
            Err(NotPublished::Returned) => one(&counters.returned),
            Err(NotPublished::Unknown | NotPublished::TimedOut) => one(&counters.unknown),
            Err(
                NotPublished::Away
                | NotPublished::Blocked
                | NotPublished::Full
                | NotPublished::TooLarge
                | NotPublished::NoPartition,
            ) => one(&counters.not_sent),
        };
    }

    fn told(&mut self, told: Option<Event>) -> Result<(), BrokerError> {
        match told {
            Some(Event::ConnectionBlocked(reason)) => self.block(&reason),
            Some(Event::SendFlow(false)) => self.block("flow"),
            Some(Event::ConnectionUnblocked | Event::SendFlow(true)) => {
                self.blocked = false;
                self.running = Instant::now();
                if self.proven {
                    self.shared.ready();
                }
            }
            Some(Event::Error(error)) => return Err(error.into()),
            None => return Err(connection::closed()),
            // `Connected`, and what a later lapin may add.
            Some(_) => {}
        }
        Ok(())
    }

    /// The broker reads nothing more: nobody waits for it. What it had been sent may still be published.
    fn block(&mut self, reason: &str) {
        tracing::warn!(reason, "the broker is blocked");
        self.blocked = true;
        self.shared.state.send_replace(State::Blocked);
        self.unknown(NotPublished::Unknown);
    }

    fn first_unanswered(&self) -> Option<Instant> {
        self.pending.range(self.answered..).find(|(_, pending)| pending.asked.is_some()).map(|(_, first)| first.sent)
    }

    /// Tells the callers of all that is pending.
    fn unknown(&mut self, why: NotPublished) {
        self.answer_until(self.next, why);
    }

    fn answer_until(&mut self, end: u64, why: NotPublished) {
        for pending in self.pending.range_mut(self.answered..end).map(|(_, pending)| pending) {
            if why == NotPublished::TimedOut {
                self.silent.insert(pending.partition);
            }
            if let Some(asked) = pending.asked.take() {
                self.shared.counters.unknown.fetch_add(1, Ordering::Relaxed);
                asked.tell(Err(why));
            }
        }
        self.answered = end;
    }

    fn give_up_after(&self) -> Duration {
        self.settings.confirm_timeout.saturating_mul(LOST_AFTER)
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let late = self.first_unanswered().map(|sent| sent + self.settings.confirm_timeout);
        let mend = self.gone.filter(|_| !self.blocked).map(|since| since + MEND_AFTER);
        late.into_iter().chain(mend).min().unwrap_or(now + self.settings.confirm_timeout)
    }

    fn late(&mut self) -> Result<(), BrokerError> {
        let now = Instant::now();
        let late = |pending: &Pending| pending.sent + self.settings.confirm_timeout <= now;
        let end = self.pending.range(self.answered..).find(|(_, pending)| !late(pending)).map(|(number, _)| *number);
        self.answer_until(end.unwrap_or(self.next), NotPublished::TimedOut);
        let oldest = self.pending.first_key_value().map(|(_, first)| first.sent.max(self.running));
        if !self.blocked && oldest.is_some_and(|sent| sent + self.give_up_after() <= now) {
            return Err(BrokerError::Slow { what: "confirm", seconds: self.give_up_after().as_secs() });
        }
        Ok(())
    }
}

async fn publish(
    channel: Channel,
    exchange: ShortString,
    key: ShortString,
    body: Bytes,
    properties: BasicProperties,
    number: u64,
) -> Sent {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirmed = async {
        let confirm = channel.basic_publish(exchange, key, options, &body, properties).await?;
        Ok(match confirm.await? {
            Confirmation::Ack(None) => Confirmed::Ack,
            Confirmation::Nack(None) => Confirmed::Nack,
            Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message)) => {
                let number = message.delivery.properties.correlation_id().as_ref();
                Confirmed::Returned(number.and_then(|number| number.as_str().parse().ok()))
            }
            // Not on a channel that confirms.
            Confirmation::NotRequested => Confirmed::Returned(None),
        })
    };
    (number, confirmed.await)
}
