//! `webhook_source`

mod ir;

pub use ir::*;
