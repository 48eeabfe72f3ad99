//! `authentication`

mod ir;

pub use ir::*;
