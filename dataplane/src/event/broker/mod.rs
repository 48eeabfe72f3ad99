//! RabbitMQ: where accepted events wait, in one quorum queue a partition.
//!
//! A [`Publisher`] makes events durable and says of each whether it is; a [`Consumer`] takes those of its
//! partitions. Each has a thread, a runtime and a connection of its own, connects again by itself for ever,
//! and sends nothing again that nobody asked for again: what becomes of an event whose fate is unknown is
//! its caller's to decide. `topology` says what is declared on the broker.

mod connection;
mod consume;
mod lane;
mod message;
mod partition;
mod publish;
mod settings;
mod topology;
mod window;

use std::path::PathBuf;

pub use consume::Consumer;
pub use message::{Delivered, NotPublished, Outgoing, Tenure};
pub use partition::partition_of;
pub use publish::{Publisher, PublisherCounters};
pub use settings::{Address, BrokerSettings, Credentials, MAX_MESSAGE_BYTES, MAX_PARTITIONS};
pub use topology::Mismatch;

/// What a connection to the broker is good for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Connected, and what is declared there is as it should be.
    Connected,
    /// Connected, and the broker takes nothing: an alarm of memory or disk.
    Blocked,
    /// Not connected.
    #[default]
    Away,
}

/// Why the broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// What is configured, every problem at once.
    #[error("broker settings: {}", .0.join("; "))]
    Settings(Vec<String>),
    /// The file of the password or of the certificates.
    #[error("{path} cannot be read")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The certificates to trust.
    #[error("{path} holds no certificate in PEM")]
    Certificates {
        /// The file.
        path: PathBuf,
    },
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[source] std::io::Error),
    /// The thread could not be started.
    #[error("the broker's thread could not be started")]
    Thread(#[source] std::io::Error),
    /// Nobody there, or not in time.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// The node.
        address: Address,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It does not let us in.
    #[error(
        "{address} refuses user {user:?} on virtual host {vhost:?}: check the password file, and that the user may use the virtual host"
    )]
    Refused {
        /// The node.
        address: Address,
        /// Who asked.
        user: String,
        /// For what.
        vhost: String,
        /// What it said.
        #[source]
        cause: Box<lapin::Error>,
    },
    /// The connection failed.
    #[error("the broker's connection failed")]
    Lost(#[from] lapin::Error),
    /// What is declared on the broker is not what the settings say.
    #[error("what is declared on the broker is not what the settings say:\n{}", topology::explain(.0))]
    Topology(Vec<Mismatch>),
    /// The broker swallows what it should give back.
    #[error(
        "an unroutable message was confirmed and not returned: a policy gives exchange {exchange:?} an alternate exchange, so events without a queue would be taken for accepted; remove it (rabbitmqctl list_policies)"
    )]
    Swallows {
        /// Which exchange.
        exchange: String,
    },
    /// It did not answer in time.
    #[error("the broker did not {what} within {seconds} s")]
    Slow {
        /// What was asked.
        what: &'static str,
        /// For how long.
        seconds: u64,
    },
}
