//! How a sender signs, as data: a preset is a value of [`Recipe`], and so is what a user writes.

use serde::{Deserialize, Serialize};

/// How one sender signs its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// The header that carries the signature.
    pub header: String,
    /// How the header's value is laid out.
    pub layout: Layout,
    /// How the signature's bytes are written.
    pub encoding: Encoding,
    /// What computes it.
    pub algorithm: Algorithm,
    /// What is signed, in order. Unused by [`Algorithm::Token`].
    pub signed: Vec<Part>,
    /// The signed time, when the sender signs one.
    pub timestamp: Option<Timestamp>,
    /// How the stored secret becomes key bytes.
    pub secret: SecretForm,
}

/// How signatures stand in their header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// One signature after a fixed prefix, which may be empty.
    One(String),
    /// Several, divided by the separator; only those with the prefix count, any of them may match.
    List {
        /// What divides the items.
        separator: char,
        /// What an item of the version we verify begins with.
        prefix: String,
    },
}

/// How bytes are written. Neither is ever taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// Lower-case hexadecimal.
    Hex,
    /// Standard alphabet, padded.
    Base64,
}

/// What a signature is computed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-1, for senders that offer nothing else.
    HmacSha1,
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-512.
    HmacSha512,
    /// Ed25519; the secret is the sender's public key.
    Ed25519,
    /// No signature: the header is the secret itself.
    Token,
}

/// A piece of what is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The value of a header.
    Header(String),
    /// These bytes.
    Literal(String),
    /// The body as it came, before any parse.
    Body,
}

/// A signed time in whole seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timestamp {
    /// The header that carries it.
    pub header: String,
    /// How far it may lie from now, either way.
    pub tolerance_secs: u64,
}

/// How a stored secret becomes key bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretForm {
    /// As it is.
    Raw,
    /// Base64 after this prefix, as `whsec_...`.
    Base64After(String),
    /// Lower-case hexadecimal.
    Hex,
}
