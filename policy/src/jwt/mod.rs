//! `jwt`

mod ir;

pub use ir::*;
