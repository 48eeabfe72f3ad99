//! What benchmarks of other crates share with those of this one.

pub mod process;
