//! `tenant`

mod ir;

pub use ir::*;
