//! `api_key`

mod ir;

pub use ir::*;
