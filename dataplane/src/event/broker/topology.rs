//! What is declared on the broker: made when it is not there, held against the settings when it is.
//!
//! | name | what |
//! |---|---|
//! | `<prefix>.events` | direct exchange that events are published to, with routing key `p.<n>` |
//! | `<prefix>.p.<n>` | quorum queue of partition n |
//! | `<prefix>.dead` | fanout exchange and quorum queue of what the broker gave up (`x-delivery-limit`, or no event); a deliver makes dead letters of it |
//! | `<prefix>.partitions` | exchange that nobody publishes to; its argument pins the number of partitions |
//!
//! `<prefix>.events` has no alternate exchange: the broker confirms what that takes as if it were routed, so
//! an event without a queue would count as accepted. A message is mandatory and comes back instead.
//! Nothing is ever deleted or declared anew here.

use std::num::NonZeroU16;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

use super::{BrokerError, BrokerSettings};

/// Something on the broker that is not as the settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// `queue postern.p.0` or `exchange postern.events`.
    pub object: String,
    /// What differs, when the broker said so.
    pub argument: Option<String>,
    /// What is there; the broker's own words when it did not say which argument differs.
    pub there: String,
    /// What the settings say.
    pub wanted: String,
}

impl BrokerSettings {
    pub(super) fn exchange(&self) -> String {
        self.name("events")
    }

    pub(super) fn dead(&self) -> String {
        self.name("dead")
    }

    pub(super) fn queue(&self, partition: u16) -> String {
        self.name(&format!("p.{partition}"))
    }
}

pub(super) fn routing_key(partition: u16) -> String {
    format!("p.{partition}")
}

fn arguments<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

fn queue_arguments(settings: &BrokerSettings) -> FieldTable {
    let max_bytes = i64::try_from(settings.queue_max_bytes).unwrap_or(i64::MAX);
    let mut table = arguments([
        ("x-queue-type", text("quorum")),
        // When it is full it says no, so that the publisher knows.
        ("x-overflow", text("reject-publish")),
        ("x-max-length-bytes", AMQPValue::LongLongInt(max_bytes)),
    ]);
    if let Some(replicas) = settings.replicas {
        table.insert("x-quorum-initial-group-size".into(), AMQPValue::LongInt(i32::from(replicas.get())));
    }
    table
}

/// More than can ever be reached: RabbitMQ 4 drops a message after 20 deliveries where nothing is said, and behind this
/// queue there is no other.
const NO_DELIVERY_LIMIT: i64 = i32::MAX as i64;

fn dead_arguments(settings: &BrokerSettings) -> FieldTable {
    let mut table = queue_arguments(settings);
    let more = arguments([
        // One deliver reads it at a time; which one does not matter.
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        ("x-delivery-limit", AMQPValue::LongLongInt(NO_DELIVERY_LIMIT)),
    ]);
    for (name, value) in more.inner() {
        table.insert(name.clone(), value.clone());
    }
    table
}

fn partition_arguments(settings: &BrokerSettings) -> FieldTable {
    let mut table = queue_arguments(settings);
    let more = arguments([
        // One consumer at a time, so that a hand-over keeps the order.
        ("x-single-active-consumer", AMQPValue::Boolean(true)),
        // Said aloud because RabbitMQ 4 has a low one of its own.
        ("x-delivery-limit", AMQPValue::LongLongInt(i64::from(settings.delivery_limit))),
        ("x-dead-letter-exchange", text(&settings.dead())),
        // A message leaves its queue only when the dead-letter queue has confirmed it.
        ("x-dead-letter-strategy", text("at-least-once")),
    ]);
    for (name, value) in more.inner() {
        table.insert(name.clone(), value.clone());
    }
    table
}

/// What is declared, in this order.
enum Step {
    /// The number of partitions. First, so that a wrong number adds no queue.
    Partitions,
    Exchange {
        name: String,
        kind: ExchangeKind,
    },
    Queue {
        name: String,
        arguments: FieldTable,
        exchange: String,
        key: String,
    },
}

fn steps(settings: &BrokerSettings) -> Vec<Step> {
    let (events, dead) = (settings.exchange(), settings.dead());
    let mut steps = vec![
        Step::Partitions,
        Step::Exchange { name: events, kind: ExchangeKind::Direct },
        Step::Exchange { name: dead, kind: ExchangeKind::Fanout },
        dead_step(settings),
    ];
    steps.extend((0..settings.partitions.get()).map(|partition| partition_step(settings, partition)));
    steps
}

fn dead_step(settings: &BrokerSettings) -> Step {
    let dead = settings.dead();
    Step::Queue { name: dead.clone(), arguments: dead_arguments(settings), exchange: dead, key: String::new() }
}

fn partition_step(settings: &BrokerSettings, partition: u16) -> Step {
    Step::Queue {
        name: settings.queue(partition),
        arguments: partition_arguments(settings),
        exchange: settings.exchange(),
        key: routing_key(partition),
    }
}

/// Declares everything and says everything that differs.
pub(super) async fn declare(connection: &Connection, settings: &BrokerSettings) -> Result<(), BrokerError> {
    let mut channel = connection.create_channel().await?;
    let mut wrong = Vec::new();
    for step in steps(settings) {
        let Err(error) = step.run(&channel, settings).await else { continue };
        wrong.push(step.mismatch(&error, settings).ok_or(error)?);
        if matches!(step, Step::Partitions) {
            break;
        }
        // The broker answers a mismatch by closing the channel.
        channel = connection.create_channel().await?;
    }
    if wrong.is_empty() { Ok(()) } else { Err(BrokerError::Topology(wrong)) }
}

/// Declares one partition, or the dead-letter queue, for a channel that will consume it.
pub(super) async fn declare_queue(
    channel: &Channel,
    settings: &BrokerSettings,
    partition: Option<u16>,
) -> Result<(), lapin::Error> {
    let step = partition.map_or_else(|| dead_step(settings), |partition| partition_step(settings, partition));
    step.run(channel, settings).await
}

impl Step {
    async fn run(&self, channel: &Channel, settings: &BrokerSettings) -> Result<(), lapin::Error> {
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        match self {
            Self::Partitions => {
                // The one argument of an exchange that every broker holds against what is there.
                let pin = arguments([("alternate-exchange", text(&pin(settings, settings.partitions)))]);
                let options = ExchangeDeclareOptions { internal: true, ..durable };
                let name = settings.name("partitions");
                channel.exchange_declare(name.into(), ExchangeKind::Fanout, options, pin).await
            }
            Self::Exchange { name, kind } => {
                let none = FieldTable::default();
                channel.exchange_declare(name.as_str().into(), kind.clone(), durable, none).await
            }
            Self::Queue { name, arguments, exchange, key } => {
                let name = || name.as_str().into();
                channel.queue_declare(name(), QueueDeclareOptions::durable(), arguments.clone()).await?;
                let (options, none) = (QueueBindOptions::default(), FieldTable::default());
                channel.queue_bind(name(), exchange.as_str().into(), key.as_str().into(), options, none).await
            }
        }
    }

    /// What differs, when that is what the error says.
    fn mismatch(&self, error: &lapin::Error, settings: &BrokerSettings) -> Option<Mismatch> {
        let ErrorKind::ProtocolError(error) = error.kind() else { return None };
        let AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) = error.kind() else { return None };
        let said = error.get_message().as_str();
        let object = match self {
            Self::Partitions => format!("exchange {}", settings.name("partitions")),
            Self::Exchange { name, kind: _ } => format!("exchange {name}"),
            Self::Queue { name, arguments: _, exchange: _, key: _ } => format!("queue {name}"),
        };
        let Some((argument, wanted, there)) = inequivalent(said) else {
            let (there, wanted) = (said.to_owned(), String::new());
            return Some(Mismatch { object, argument: None, there, wanted });
        };
        let pin = |value: String| match (self, value.rsplit_once('.')) {
            (Self::Partitions, Some((_, number))) => number.to_owned(),
            (Self::Partitions | Self::Exchange { .. } | Self::Queue { .. }, _) => value,
        };
        let argument = if matches!(self, Self::Partitions) { "partitions".to_owned() } else { argument };
        Some(Mismatch { object, argument: Some(argument), there: pin(there), wanted: pin(wanted) })
    }
}

fn pin(settings: &BrokerSettings, partitions: NonZeroU16) -> String {
    settings.name(&format!("partitions.{partitions}"))
}

/// Argument, wanted and there, out of the broker's sentence; it has no other form.
fn inequivalent(said: &str) -> Option<(String, String, String)> {
    let (_, rest) = said.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once('\'')?;
    let (_, rest) = rest.split_once("received ")?;
    let (wanted, there) = rest.split_once(" but current is ")?;
    let value = |text: &str| match text.split_once("the value '").and_then(|(_, rest)| rest.split_once('\'')) {
        Some((value, _)) => value.to_owned(),
        None => text.trim_matches('\'').to_owned(),
    };
    Some((argument.to_owned(), value(wanted), value(there)))
}

/// What differs and the way out, the same difference of many queues in one line.
pub(super) fn explain(wrong: &[Mismatch]) -> String {
    let mut lines: Vec<(&Mismatch, usize)> = Vec::new();
    for one in wrong {
        let same = |(first, _): &&mut (&Mismatch, usize)| {
            first.argument.is_some()
                && (&first.argument, &first.there, &first.wanted) == (&one.argument, &one.there, &one.wanted)
        };
        match lines.iter_mut().find(same) {
            Some((_, more)) => *more += 1,
            None => lines.push((one, 0)),
        }
    }
    let lines: Vec<String> = lines.into_iter().map(|(first, more)| line(first, more)).collect();
    lines.join("\n")
}

fn line(first: &Mismatch, more: usize) -> String {
    let Mismatch { object, argument, there, wanted } = first;
    let others = if more == 0 { String::new() } else { format!(" and {more} more") };
    match argument.as_deref() {
        Some("partitions") => format!(
            "- {object} says that this prefix has {there} partitions, the settings say {wanted}. Set partitions to {there}. The number is fixed at install: \
             another one would put conversations into other queues than their earlier events. To change it install anew with another prefix, and let \
             the old one drain"
        ),
        Some(argument) => format!(
            "- {object}{others}: {argument} is {there}, the settings say {wanted}. Change the setting, or, when the queue is empty and nobody uses it, \
             delete it: it is declared again"
        ),
        None => format!("- {object}{others}: {there}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_sentence_is_taken_apart() {
        let said = "PRECONDITION_FAILED - inequivalent arg 'x-max-length-bytes' for queue 'a.p.0' in vhost '/': received the value '5' of type \
                    'signedint' but current is the value '6' of type 'signedint'";
        assert_eq!(inequivalent(said).unwrap(), ("x-max-length-bytes".to_owned(), "5".to_owned(), "6".to_owned()));
        let none = "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received none but current is the value 'x' of type 'longstr'";
        assert_eq!(inequivalent(none).unwrap(), ("x-overflow".to_owned(), "none".to_owned(), "x".to_owned()));
        let bare = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'";
        assert_eq!(inequivalent(bare).unwrap(), ("durable".to_owned(), "true".to_owned(), "false".to_owned()));
        assert_eq!(inequivalent("PRECONDITION_FAILED - something else"), None);
    }

    #[test]
    fn the_same_difference_of_many_queues_is_said_once() {
        let wrong: Vec<Mismatch> = (0..8)
            .map(|n| Mismatch {
                object: format!("queue a.p.{n}"),
                argument: Some("x-delivery-limit".to_owned()),
                there: "20".to_owned(),
                wanted: "10000".to_owned(),
            })
            .collect();
        let said = explain(&wrong);
        assert_eq!(said.lines().count(), 1);
        assert!(said.contains("queue a.p.0 and 7 more: x-delivery-limit is 20, the settings say 10000"), "{said}");
    }
}
