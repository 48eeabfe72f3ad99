//! `route`

mod ir;

pub use ir::*;
