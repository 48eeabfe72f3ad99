//! `api_key`

mod ir;
#[cfg(feature = "crd")]
mod spec;

pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
