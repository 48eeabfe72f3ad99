//! `authorization`

mod ir;

pub use ir::*;
