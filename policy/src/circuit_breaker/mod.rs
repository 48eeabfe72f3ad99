//! `circuit_breaker`

mod ir;

pub use ir::*;
