//! The sum of all IRs: one sub-snapshot a tenant, one blob an object.
//!
//! Blobs are MessagePack with field names, so that what one side does not know is noticed and never silently dropped: a
//! dataplane that does not know a field of an object's blob treats that object as broken, and all others go live. A
//! policy that only a newer build has does not fail open in an older one. The other way round a field that an older
//! build does not write has a default, which is what that build did: `operator/tests/ir` has what versions wrote.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::names::{Hostname, ObjectRef, TenantName};
use crate::rate_limit::RateLimitIr;
use crate::route::RouteIr;
use crate::tenant::TenantIr;
use crate::upstream::ServiceEndpoints;
use crate::webhook_source::WebhookSourceIr;

/// The IR that this build writes. It reads that of the version before too, and of the one after what it knows.
pub const IR_VERSION: u32 = 1;

/// Whether builds that write these versions understand each other.
#[must_use]
pub const fn understand(one: u32, other: u32) -> bool {
    one.abs_diff(other) <= 1
}

/// Orders the sub-snapshots of a tenant: when the publisher took its lease, and the publisher's counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision {
    /// When its publisher began, in milliseconds since the epoch.
    pub term: u64,
    /// That publisher's counter.
    pub n: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.n)
    }
}

/// SHA-256 of what a sub-snapshot says, without its revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 32]);

/// One encoded IR.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Blob(Arc<[u8]>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

/// Why a blob could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Writing failed.
    #[error("could not encode the IR")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Reading failed: another version wrote it, or it is damaged.
    #[error("could not decode the IR")]
    Decode(#[from] rmp_serde::decode::Error),
    /// It says something that only a newer version knows.
    #[error("it says {0}, which this version does not know; what it means is not guessed")]
    Unknown(String),
}

impl Blob {
    /// Encodes an IR with its field names.
    ///
    /// # Errors
    /// [`BlobError::Encode`]
    pub fn encode<T: Serialize>(ir: &T) -> Result<Self, BlobError> {
        Ok(Self(rmp_serde::to_vec_named(ir)?.into()))
    }

    /// Decodes it.
    ///
    /// # Errors
    /// [`BlobError::Decode`], [`BlobError::Unknown`]
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, BlobError> {
        let mut unknown = None;
        let mut reader = rmp_serde::Deserializer::from_read_ref(&*self.0);
        let read = serde_ignored::deserialize(&mut reader, |path| {
            unknown.get_or_insert_with(|| path.to_string());
        })?;
        unknown.map_or(Ok(read), |path| Err(BlobError::Unknown(path)))
    }

    /// Takes bytes that were encoded before.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The encoded bytes, for hashing.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a namespaced object compiles to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectIr {
    /// A Route.
    Route(RouteIr),
    /// A WebhookSource.
    WebhookSource(Box<WebhookSourceIr>),
}

/// Hosts and path prefixes that an object names: when it is broken and has no last good they answer 503
/// `not_programmed` rather than 404, or worse, another rule's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Hosts; those that could be read.
    pub hostnames: Vec<Hostname>,
    /// Path prefixes; empty means all paths.
    pub paths: Vec<Arc<str>>,
}

/// Which configuration of an object a dataplane runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Applies {
    /// The current one, all of it.
    Current,
    /// The current security, with traffic settings of its last good.
    LastGood,
    /// The current security; what the rest should be is not known, so part of the object answers 503.
    NotProgrammed,
}

/// An object's state in a sub-snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectState {
    /// Compiled; the blob decodes to an [`ObjectIr`].
    Compiled(Blob),
    /// Could not be read: the dataplane refuses where the object answered before and where it would answer now.
    Broken,
}

/// One object of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// Which.
    pub object: ObjectRef,
    /// Its UID: an object that was deleted and made anew is another one, with no last good.
    pub uid: Arc<str>,
    /// Where it would answer; needed when it is broken here, or cannot be read there.
    pub footprint: Footprint,
    /// The result of reviving a row.
    pub state: ObjectState,
}

/// All of one tenant, swapped as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantSnapshot {
    /// Whose.
    pub tenant: TenantName,
    /// Its place in time.
    pub revision: Revision,
    /// What it says, as a hash.
    pub hash: ContentHash,
    /// The tenant itself: a [`TenantIr`]; always the current one.
    pub base: TenantIr,
    /// The limits that target it or its objects; always the current ones.
    pub rate_limits: Vec<RateLimitIr>,
    /// Its Routes and WebhookSources.
    pub objects: Vec<ObjectEntry>,
}

/// A complete set: what is not in it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Every tenant.
    pub tenants: Vec<Arc<TenantSnapshot>>,
    /// The endpoints of every Service port that a tenant names.
    pub endpoints: Vec<ServiceEndpoints>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Rule {
        path: String,
        #[serde(default)]
        limits: Vec<Limit>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Limit {
        requests: u32,
    }

    #[derive(Serialize)]
    struct NewerLimit {
        requests: u32,
        per: &'static str,
    }

    #[derive(Serialize)]
    struct NewerRule {
        path: &'static str,
        limits: Vec<NewerLimit>,
    }

    #[derive(Serialize)]
    struct OlderRule {
        path: &'static str,
    }

    #[test]
    fn what_a_newer_version_says_is_not_passed_over_and_what_an_older_one_leaves_out_has_its_default() {
        let newer = NewerRule { path: "/", limits: vec![NewerLimit { requests: 1, per: "caller" }] };
        let error = Blob::encode(&newer).unwrap().decode::<Rule>().unwrap_err();
        assert!(error.to_string().starts_with("it says limits.0.per"), "{error}");
        let older = Blob::encode(&OlderRule { path: "/" }).unwrap().decode::<Rule>().unwrap();
        assert_eq!(older, Rule { path: "/".to_owned(), limits: Vec::new() });
    }

    #[test]
    fn neighbours_understand_each_other() {
        assert!(understand(1, 1) && understand(1, 2) && understand(2, 1) && !understand(1, 3));
    }
}
