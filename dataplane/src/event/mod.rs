//! The event path: accept, claim, make durable, deliver.
//!
//! The pipeline knows only [`EventPath`]. Without a broker the embedded spool is the queue: one SQLite store
//! holds what waits, what is parked and what is dead; its writer numbers an event, remembers its id and
//! stores it in one transaction. With a broker, gateways claim numbers in Redis and publish; what the broker
//! does not take is kept by a shard, and drained to it later; delivers take from the broker, and park with a
//! shard what cannot go now. [`Events`] puts together what a role needs.

mod accept;
pub mod broker;
mod brokered;
pub mod claim;
mod counters;
pub mod deliver;
mod die;
mod envelope;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod outcomes;
pub mod replay;
mod roles;
#[cfg(test)]
mod sample;
pub mod shards;
mod share;
pub mod spool;

use accept::Dead;
pub use accept::{AcceptError, Accepted, Entry, EventPath, NewEvent, Origin};
pub use brokered::Brokered;
pub use claim::Key;
pub use counters::{Counters, HELD, IN_SHARD, TenantDepth};
pub use envelope::{Envelope, EnvelopeError, Event};
pub use roles::{BrokerPath, Delivers, Events, EventsError, EventsSettings, ShardPlace};
pub use share::Live;
