//! `fallback`

#[cfg(feature = "crd")]
mod compile;
mod ir;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::*;
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
