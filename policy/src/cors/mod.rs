//! `cors`

mod ir;

pub use ir::*;
