//! What a compile step may ask about other objects. The answer already respects tenancy and grants, so
//! that no compile step can forget them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::names::ObjectRef;
use crate::problem::Problems;
use crate::reference::{BackendRef, ConfigMapKeyRef, SecretKeyRef, SecretSelector};
use crate::secret::Secret;
use crate::upstream::ServicePort;

/// Why a reference leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// No such object.
    #[error("{0} does not exist")]
    Missing(ObjectRef),
    /// The object is there, the key or port is not.
    #[error("{object} has no {part} {wanted}")]
    MissingPart {
        /// The object.
        object: ObjectRef,
        /// `key` or `port`.
        part: &'static str,
        /// What was asked for.
        wanted: String,
        /// What it has instead; names only, never values.
        present: Vec<String>,
    },
    /// The object lies in another namespace, which has not granted the reference.
    #[error("{object} is in another namespace, and no ReferenceGrant there lets {referrer} name it")]
    NotGranted {
        /// The object.
        object: ObjectRef,
        /// Who names it.
        referrer: ObjectRef,
    },
    /// A Tenant names an object outside of its namespaces.
    #[error("{object} is not in a namespace of Tenant {tenant}")]
    ForeignNamespace {
        /// The object.
        object: ObjectRef,
        /// The tenant.
        tenant: String,
    },
    /// The referrer has no namespace of its own that could be meant.
    #[error("names no namespace")]
    NoNamespace,
    /// The object is there but cannot serve as what it is named for.
    #[error("{object} {why}")]
    Unfit {
        /// The object.
        object: ObjectRef,
        /// What it is, as the end of a sentence.
        why: &'static str,
        /// The way out.
        help: &'static str,
    },
}

impl RefError {
    /// The way out.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Missing(object) => {
                let place = if object.namespace.is_empty() { "" } else { " in that namespace" };
                format!("create the {}{place}, or name another", object.kind)
            }
            Self::MissingPart { part, present, .. } if present.is_empty() => {
                format!("it has no {part} at all: add one there")
            }
            Self::MissingPart { part, present, .. } => format!("use a {part} that it has: {}", present.join(", ")),
            Self::NotGranted { object, referrer } => format!(
                "add a ReferenceGrant in namespace {} from {} in namespace {} to {}",
                object.namespace, referrer.kind, referrer.namespace, object.kind
            ),
            Self::ForeignNamespace { tenant, .. } => {
                format!("move it, or list its namespace in spec.namespaces of Tenant {tenant}")
            }
            Self::NoNamespace => "a Tenant is cluster-scoped: write `namespace`, one of spec.namespaces".to_owned(),
            Self::Unfit { help, .. } => (*help).to_owned(),
        }
    }
}

/// What a reference leads to.
pub type Lookup<T> = Result<T, RefError>;

/// A Secret that a selector selected.
#[derive(Clone, Debug)]
pub struct SelectedSecret {
    /// Which.
    pub object: ObjectRef,
    /// Its data.
    pub data: BTreeMap<String, Secret>,
}

/// Other objects, as one referrer may see them.
pub trait Refs {
    /// The value of a key of a Secret.
    ///
    /// # Errors
    /// [`RefError`]
    fn secret(&self, reference: &SecretKeyRef) -> Lookup<Secret>;

    /// The Secrets that a selector selects, by name; none is a valid answer.
    ///
    /// # Errors
    /// [`RefError`]
    fn secrets(&self, selector: &SecretSelector) -> Lookup<Vec<SelectedSecret>>;

    /// The text of a key of a ConfigMap.
    ///
    /// # Errors
    /// [`RefError`]
    fn config_map(&self, reference: &ConfigMapKeyRef) -> Lookup<Arc<str>>;

    /// The Service port, when it exists and can be forwarded to.
    ///
    /// # Errors
    /// [`RefError`]
    fn service(&self, reference: &BackendRef) -> Lookup<ServicePort>;
}

/// The value, or a problem at the field where `problems` stands.
pub fn resolved<T>(lookup: Lookup<T>, problems: &mut Problems<'_>) -> Option<T> {
    lookup.inspect_err(|error| problems.unresolved(error.to_string(), error.help())).ok()
}
