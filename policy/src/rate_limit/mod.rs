//! `rate_limit`

mod ir;

pub use ir::*;
