//! `upstream`

mod ir;

pub use ir::*;
