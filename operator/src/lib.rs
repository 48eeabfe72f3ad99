//! Kubernetes on one side, snapshots on the other.
//!
//! The pure half: `gather` (objects into one value; decides nothing), `resolve` (references and grants;
//! compiles nothing), `compile` (gathered objects to sub-snapshots and problems), `reconcile` (the same, one change
//! at a time). Around it: watches, the Lease, the push to dataplanes, the authority that certifies it.

pub mod admin;
pub mod admit;
pub mod authority;
pub mod compile;
pub mod doubts;
pub mod gather;
pub mod lease;
pub mod listen;
pub mod metrics;
pub mod publish;
pub mod reconcile;
pub mod resolve;
pub mod run;
pub mod status;

/// Under this name the operator writes to objects.
pub const FIELD_MANAGER: &str = "postern-operator";
