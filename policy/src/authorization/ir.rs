//! Who may do what.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A claim with the values that satisfy it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimIr {
    /// The claim's path.
    pub claim: Vec<Arc<str>>,
    /// One of these satisfies it; numbers and booleans are compared as their JSON text. Never empty.
    pub values: Vec<Arc<str>>,
}

/// One grant: all of its conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantIr {
    /// The methods it grants; empty means all.
    pub methods: Vec<Arc<str>>,
    /// The caller needs one of these roles; empty means none is needed.
    pub roles: Vec<Arc<str>>,
    /// The caller needs all of these scopes; empty means none is needed.
    pub scopes: Vec<Arc<str>>,
    /// The caller needs all of these claims.
    pub claims: Vec<ClaimIr>,
}

/// A request is granted when one grant holds. Without a grant for its method it is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationIr {
    /// The grants; never empty.
    pub grants: Vec<GrantIr>,
}
