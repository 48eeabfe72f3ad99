//! `retry`

mod ir;

pub use ir::*;
