//! `ip_allow`

mod ir;

pub use ir::*;
