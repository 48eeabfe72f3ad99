//! Webhook sources as they travel.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Provider;
use crate::attach::Attached;
use crate::client_certificate::ClientCertificateIr;
use crate::ip_allow::IpAllowIr;
use crate::mode::Mode;
use crate::names::{Hostname, ObjectRef, TenantName};
use crate::schema::SchemaIr;
use crate::secret::Secret;
use crate::upstream::UpstreamKey;

/// How a signature's bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Encoding {
    /// Hexadecimal, in lower or upper case.
    Hex,
    /// Standard base64 with padding (RFC 4648, 4).
    Base64,
}

/// What makes the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum SignatureAlgorithm {
    /// HMAC with SHA-1 (RFC 2104): old, and still what some providers send.
    HmacSha1,
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-512.
    HmacSha512,
    /// Ed25519 (RFC 8032); the secret is the public key.
    Ed25519,
    /// ECDSA on P-256 with SHA-256, the signature in ASN.1 (FIPS 186-5); the secret is the public key.
    EcdsaP256,
    /// No signature: the header carries the secret itself.
    Token,
}

/// How the bytes of a secret are written in the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretFormat {
    /// As they are.
    Text,
    /// Hexadecimal.
    Hex,
    /// Base64 after `whsec_` (Standard Webhooks).
    Whsec,
    /// Base64 of a public key on P-256 as X.509 writes it: a PEM file without its first and last line.
    P256,
}

/// How several signatures stand in one header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum SignatureList {
    /// There is one.
    Single,
    /// `v1,<signature> v1,<signature>` (Standard Webhooks): those with the prefix count, others are passed over.
    Spaces,
    /// `t=<time>,v1=<signature>,v1=<signature>` (Stripe).
    Commas,
    /// `ts=<time>;h1=<signature>` (Paddle).
    Semicolons,
}

/// Where a text comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartIr {
    /// A header field; must be there exactly once.
    Header(Arc<str>),
    /// This text.
    Literal(Arc<str>),
    /// The timestamp as it was sent, wherever that is.
    Timestamp,
    /// The method.
    Method,
    /// The URL as the sender knows it: scheme, host, with or without a port, path and query.
    Url,
    /// Of a form its fields, sorted, each name followed by its value. Of any other body nothing; then its
    /// SHA-256 must stand in hexadecimal in this field of the query (Twilio).
    Form(Arc<str>),
    /// The raw body.
    Body,
}

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum TimeFormat {
    /// Seconds since the epoch. A time in RFC 3339 is read too: senders change from one to the other.
    UnixSeconds,
    /// Milliseconds since the epoch. A time in RFC 3339 is read too.
    UnixMillis,
    /// RFC 3339.
    Rfc3339,
}

impl TimeFormat {
    /// A time in milliseconds since the epoch.
    pub(super) fn millis(self, text: &str) -> Option<i64> {
        let digits = || text.parse::<i64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let rfc3339 = || text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond);
        match self {
            Self::UnixSeconds => digits().and_then(|secs| secs.checked_mul(1000)).or_else(rfc3339),
            Self::UnixMillis => digits().or_else(rfc3339),
            Self::Rfc3339 => rfc3339(),
        }
    }
}

/// Where a signed time stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimePlace {
    /// In a header field of its own.
    Header(Arc<str>),
    /// In the signature's header field, after this text: `t=`.
    Beside(Arc<str>),
}

/// The time that is signed, and how far it may be off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestampIr {
    /// Where it stands.
    pub place: TimePlace,
    /// How it is written.
    pub format: TimeFormat,
    /// How far it may lie in the past or in the future, in seconds.
    pub tolerance_secs: u32,
}

/// How to verify a request: data, the same for presets and for a user's own recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeIr {
    /// The header field with the signature, lower case.
    pub header: Arc<str>,
    /// What stands before each signature.
    pub prefix: Arc<str>,
    /// How it is written.
    pub encoding: Encoding,
    /// How it is made.
    pub algorithm: SignatureAlgorithm,
    /// How several stand together.
    pub list: SignatureList,
    /// How secrets are written.
    pub secret: SecretFormat,
    /// What stands before an Ed25519 signature, where a secret may also be a public key: base64 after `whpk_`
    /// (Standard Webhooks).
    pub public_key_prefix: Option<Arc<str>>,
    /// What is signed, joined.
    pub signed: Vec<PartIr>,
    /// The time in it.
    pub timestamp: Option<TimestampIr>,
}

impl RecipeIr {
    /// Every header field that it reads, the signature's first.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let time = self.timestamp.as_ref().and_then(|at| match &at.place {
            TimePlace::Header(header) => Some(&**header),
            TimePlace::Beside(_) => None,
        });
        let signed = self.signed.iter().filter_map(|part| match part {
            PartIr::Header(header) => Some(&**header),
            PartIr::Literal(_) | PartIr::Timestamp | PartIr::Method | PartIr::Url | PartIr::Form(_) | PartIr::Body => {
                None
            }
        });
        std::iter::once(&*self.header).chain(time).chain(signed)
    }

    /// Whether the URL is part of what is signed.
    #[must_use]
    pub fn signs_url(&self) -> bool {
        self.signed.contains(&PartIr::Url)
    }
}

/// The scheme of an URL that a sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum UrlScheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl UrlScheme {
    /// The scheme as an URL has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Verification with its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationIr {
    /// How.
    pub recipe: RecipeIr,
    /// All active secrets; one that fits is enough. Never empty.
    pub secrets: Vec<Secret>,
    /// The token of the GET handshake.
    pub handshake: Option<Secret>,
    /// The scheme of the URL that is signed; `None`: what a trusted hop says, else `https`.
    pub url_scheme: Option<UrlScheme>,
}

/// Where a text of an event is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtractIr {
    /// A header field.
    Header(Arc<str>),
    /// A path in the body: names and indexes, outermost first.
    Path(Vec<Arc<str>>),
    /// The first of these that is there.
    First(Vec<ExtractIr>),
    /// All of these, joined; what is not there is empty.
    Joined(Vec<ExtractIr>),
}

/// Where the time of an event is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTimeIr {
    /// Where.
    pub at: ExtractIr,
    /// How it is written.
    pub format: TimeFormat,
}

/// What a source without a normaliser of its own says of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtractionIr {
    /// The path of a list in the body whose elements are events; without one, the body is the event.
    pub each: Option<Vec<Arc<str>>>,
    /// The event's id; without one, the digest of the body.
    pub id: Option<ExtractIr>,
    /// The event's type.
    pub kind: Option<ExtractIr>,
    /// The conversation that its order is kept in.
    pub conversation: Option<ExtractIr>,
    /// When it happened.
    pub time: Option<EventTimeIr>,
}

/// What becomes of an entry that no tenant claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Unclaimed {
    /// It is kept as a dead letter of the source's own tenant.
    DeadLetter,
    /// It is left out; the rest of the batch goes on.
    Refuse,
}

/// What becomes of control characters (C0 but tab, line feed and carriage return; DEL; C1) in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum ControlCharacters {
    /// They are left out.
    Remove,
    /// U+FFFD stands for each.
    Replace,
    /// They stay.
    Keep,
}

/// What events are kept within. Past it they are cut, not refused, and say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SanitiseIr {
    /// What becomes of control characters.
    pub control_characters: ControlCharacters,
    /// The longest text, in bytes of UTF-8.
    pub max_string_length: u64,
    /// Objects and lists inside each other; a deeper one becomes null.
    pub max_depth: u32,
}

impl Default for SanitiseIr {
    fn default() -> Self {
        Self { control_characters: ControlCharacters::Remove, max_string_length: 64 * 1024, max_depth: 32 }
    }
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationIr {
    /// The upstream.
    pub upstream: UpstreamKey,
    /// The path there.
    pub path: Arc<str>,
}

/// How events are delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryIr {
    /// For one attempt, in milliseconds.
    pub timeout_ms: u64,
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// First pause in milliseconds; doubled each time, with full jitter.
    pub backoff_base_ms: u64,
    /// Longest pause in milliseconds.
    pub backoff_max_ms: u64,
    /// Secrets that deliveries are signed with (Standard Webhooks).
    pub sign_with: Vec<Secret>,
}

/// Where a source listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntranceIr {
    /// Its hosts. Never empty.
    pub hostnames: Vec<Hostname>,
    /// Its path, exactly.
    pub path: Arc<str>,
}

/// A WebhookSource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSourceIr {
    /// Whose format it speaks.
    pub provider: Provider,
    /// Where it listens; `None` for one whose entries come through a shared source.
    pub entrance: Option<EntranceIr>,
    /// Fields of security blocks that could not be compiled. Not empty: every request is refused.
    pub broken_security: Vec<Arc<str>>,
    /// Fields of outbound security that could not be compiled. Not empty: events are accepted, and parked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken_outbound: Vec<Arc<str>>,
    /// Fields of the traffic part that could not be compiled. Not empty: the traffic part of the last good applies, if
    /// that has the same provider, match and event; else the source answers 503 `not_programmed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broken_traffic: Vec<Arc<str>>,
    /// How requests are verified; `None` only without an entrance.
    pub verification: Option<Attached<VerificationIr>>,
    /// Addresses that may send.
    pub addresses: Option<Attached<IpAllowIr>>,
    /// The certificate that senders show to the proxy in front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<Attached<ClientCertificateIr>>,
    /// How far an event's own time may be off, to either side, in seconds, where the provider signs none of a
    /// request. Twice this is at most the dedupe window, so that what is taken again is known.
    pub replay_window_secs: Option<u32>,
    /// The shared source that verifies for this one.
    pub shared: Option<ObjectRef>,
    /// The tenants that entries of this source may belong to, besides its own.
    pub shared_with: Vec<TenantName>,
    /// What becomes of entries that nobody claims.
    pub unclaimed: Unclaimed,
    /// What its events must look like.
    pub schema: Option<Attached<SchemaIr>>,
    /// What a generic source says of its events.
    pub extraction: ExtractionIr,
    /// What its events are kept within; the default is what a snapshot of an older version means.
    #[serde(default)]
    pub sanitise: SanitiseIr,
    /// Where events go; `None` for a source that only verifies for others.
    pub destination: Option<DestinationIr>,
    /// How they are delivered.
    pub delivery: DeliveryIr,
    /// For how long a missing predecessor is waited for, in milliseconds.
    pub wait_for_gap_ms: u64,
    /// For how long an event's id is remembered, in seconds.
    pub dedupe_window_secs: u64,
    /// For how long a dead letter is kept, in seconds.
    pub retention_secs: u64,
    /// The largest body.
    pub max_body_size: u64,
    /// Whether the source as a whole enforces.
    pub mode: Mode,
}
