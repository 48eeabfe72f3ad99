//! Requests on one side, snapshots on the other.
//!
//! A request meets, in this order: `listener` (a socket, handed to a core), `http` (one connection,
//! strictly parsed), `pipeline` (its whole life, top to bottom), then `upstream` (forwarded) or `event`
//! (made durable). What a decision needs from elsewhere is fetched in `outside`. Only `answer` makes responses. Snapshots arrive in `snapshot` and become ready filters
//! in `runtime`.

pub mod admin;
pub mod answer;
pub mod event;
pub mod gateway;
pub mod health;
pub mod http;
pub mod listener;
pub mod outside;
pub mod pipeline;
mod placement;
pub mod replay;
pub mod runtime;
pub mod snapshot;
pub mod telemetry;
pub mod upstream;
