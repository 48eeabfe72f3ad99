//! `fallback`

mod ir;

pub use ir::*;
