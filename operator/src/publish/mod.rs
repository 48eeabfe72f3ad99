//! What was compiled, to the dataplanes. Sees no object of users'.
//!
//! A [`Board`] holds what is in force, encoded once; each dataplane that follows has a [`Follower`] with the names of
//! what it was not sent yet: a name stands there once however often it changes, so a slow dataplane costs nobody
//! anything and gets the latest.

mod board;
mod follower;
mod needs;
mod reviewer;
mod selects;
mod service;
#[cfg(test)]
mod tests;

pub use board::{Applied, Board, Heard, Publisher};
pub use follower::{Follower, Have, Set};
pub use reviewer::{Account, Reviewer};
pub use selects::{Selects, SelectsError};
pub use service::{MAX_MESSAGE_BYTES, PushService};
