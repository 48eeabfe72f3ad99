//! Kubernetes on one side, snapshots on the other.
//!
//! The pure half: `gather` (objects into one value; decides nothing), `resolve` (references and grants;
//! compiles nothing), `compile` (pure: gathered objects to sub-snapshots and problems).

pub mod compile;
pub mod gather;
pub mod reconcile;
pub mod resolve;
