//! What became of an object, on the object itself. The only writer of `.status`.
//!
//! `verdict` is pure: problems and what dataplanes say, to conditions. `judge` decides when: once the dataplanes that
//! follow have answered, or have taken too long. `writer` writes: the latest once, and only what is different.

mod judge;
mod verdict;
mod writer;

pub use judge::{Judge, LOOK};
pub use verdict::{ConditionReason, Standing, Verdict, verdict, worth_writing};
pub use writer::Writer;
