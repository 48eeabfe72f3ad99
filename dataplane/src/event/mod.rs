//! The event path: accept, claim, spool.
//!
//! Here the embedded spool is the queue: one SQLite store holds what waits, what is parked and what is
//! dead. Its writer numbers an event, remembers its id and stores it in one transaction, so a claim is
//! confirmed exactly when its event is durable. The pipeline knows only [`EventPath`]; what delivers works
//! on its [`Queue`].

pub mod broker;
mod claim;
mod counters;
pub mod deliver;
mod envelope;
mod path;
pub mod spool;

pub use claim::{
    Away, Claim, Claims, ClaimsCounters, ClaimsError, ClaimsState, Confirmed, Conversation, Eviction, Key,
    RedisSettings, Wanted,
};
pub use counters::{Counters, TenantDepth};
pub use envelope::{Envelope, Event};
pub use path::{AcceptError, Accepted, Entry, EventPath, NewEvent, Queue, Settings};
