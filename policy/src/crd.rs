//! The CustomResourceDefinitions, as they are installed.

/// The API group of the four kinds.
pub const GROUP: &str = "postern.dev";
