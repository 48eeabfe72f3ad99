//! `headers`

mod ir;

pub use ir::*;
