//! Receives snapshots, keeps the last good of every object, and swaps the runtime.
//!
//! The dataplane itself keeps the last good of what is broken or could not be read, so that no restart of
//! its publisher can lose it. Last good covers an object's traffic settings only (`policy/src/route/last_good.rs`): the
//! security of an object, its hosts and its matches are always the current ones.

mod change;
mod flush;
pub mod follow;
mod holders;
mod keeper;
mod kept_file;
mod volume;
mod writer;

pub use change::{Answer, Change};
pub(crate) use holders::HeldElsewhere;
pub use holders::Holders;
pub use keeper::{Applied, Keeper, Nack};
pub use volume::{Volume, VolumeError};
