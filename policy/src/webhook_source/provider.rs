//! What a preset says about a provider: data only, which becomes the same IR that a user's recipe becomes.

use std::sync::Arc;

use http::StatusCode;

use super::handshake::Handshake;
use super::{
    Encoding, EventTimeIr, ExtractIr, ExtractionIr, PartIr, RecipeIr, SecretFormat, SignatureAlgorithm, SignatureList,
    TimeFormat, TimePlace, TimestampIr,
};

/// A piece of what is signed; [`PartIr`] says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedPart {
    /// [`PartIr::Header`]
    Header(&'static str),
    /// [`PartIr::Literal`]
    Literal(&'static str),
    /// [`PartIr::Timestamp`]
    Timestamp,
    /// [`PartIr::Method`]
    Method,
    /// [`PartIr::Url`]
    Url,
    /// [`PartIr::Form`]
    Form(&'static str),
    /// [`PartIr::Body`]
    Body,
}

/// Where the signed time stands; [`TimePlace`] says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedTime {
    /// [`TimePlace::Header`]
    Header(&'static str, TimeFormat),
    /// [`TimePlace::Beside`], in seconds.
    Beside(&'static str),
}

/// Where a text of an event is found; [`ExtractIr`] says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extract {
    /// [`ExtractIr::Header`]
    Header(&'static str),
    /// [`ExtractIr::Path`]: names and indexes with dots between them.
    Path(&'static str),
    /// [`ExtractIr::First`]
    First(&'static [Extract]),
    /// [`ExtractIr::Joined`]
    Joined(&'static [Extract]),
}

/// How a body falls into its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splitter {
    /// By [`super::whatsapp`].
    WhatsApp,
    /// By [`super::genesys`].
    Genesys,
    /// By what the preset, or the user, says of them.
    Extraction,
}

/// What is known about a provider.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The page on which the provider says so.
    pub page: &'static str,
    /// The signature's header field, lower case.
    pub header: &'static str,
    /// What stands before it.
    pub prefix: &'static str,
    /// How it is written.
    pub encoding: Encoding,
    /// How it is made.
    pub algorithm: SignatureAlgorithm,
    /// How several stand together.
    pub list: SignatureList,
    /// How secrets are written.
    pub secret: SecretFormat,
    /// What stands before an Ed25519 signature, where a secret may also be a public key after `whpk_`.
    pub public_key_prefix: Option<&'static str>,
    /// What is signed, joined. Nothing where the header carries the secret itself.
    pub signed: &'static [SignedPart],
    /// The time in it.
    pub signed_time: Option<SignedTime>,
    /// How far it may be off, in seconds.
    pub tolerance_secs: u32,
    /// The status of a POST whose signature is missing or wrong; 403 unless the provider's page requires another.
    pub unverified_status: StatusCode,
    /// How the provider asks before it sends.
    pub handshakes: &'static [Handshake],
    /// How a body falls into its events. What follows is for [`Splitter::Extraction`].
    pub splitter: Splitter,
    /// The path of a list in the body whose elements are events; empty: the body itself is the list.
    pub each: Option<&'static str>,
    /// The event's id. Without one the digest of the event stands in for it, which is right only where no two
    /// events have the same bytes.
    pub id: Option<Extract>,
    /// The event's type.
    pub kind: Option<Extract>,
    /// The conversation that its order is kept in; one for the whole source where there is none.
    pub conversation: Option<Extract>,
    /// When it happened; only where every event says so, since a replay window refuses what does not.
    pub time: Option<(Extract, TimeFormat)>,
    /// The body size that a tenant's ceiling must allow, and that is taken when the source names none.
    pub max_body_size: u64,
}

/// Body size of providers that name none, or more than they ever send.
const USUAL_BODY: u64 = 1024 * 1024;
/// How far a signed time may be off: what Standard Webhooks recommends, and most others.
const TOLERANCE_SECS: u32 = 300;

/// What most do: HMAC-SHA256 of the raw body, in hexadecimal, under a secret that is text.
pub(super) const HEX: Preset = Preset {
    page: "",
    header: "",
    prefix: "",
    encoding: Encoding::Hex,
    algorithm: SignatureAlgorithm::HmacSha256,
    list: SignatureList::Single,
    secret: SecretFormat::Text,
    public_key_prefix: None,
    signed: &[SignedPart::Body],
    signed_time: None,
    tolerance_secs: TOLERANCE_SECS,
    unverified_status: StatusCode::FORBIDDEN,
    handshakes: &[],
    splitter: Splitter::Extraction,
    each: None,
    id: None,
    kind: None,
    conversation: None,
    time: None,
    max_body_size: USUAL_BODY,
};
/// The same in base64.
pub(super) const BASE64: Preset = Preset { encoding: Encoding::Base64, ..HEX };
/// The secret itself in a header field.
pub(super) const TOKEN: Preset = Preset { algorithm: SignatureAlgorithm::Token, signed: &[], ..HEX };
/// Meta's Graph webhooks, the first of which is WhatsApp.
pub(super) const META: Preset = Preset {
    header: "x-hub-signature-256",
    prefix: "sha256=",
    handshakes: &[Handshake::HubToken],
    max_body_size: 3 * 1024 * 1024,
    ..HEX
};
/// Standard Webhooks 1.0.
pub(super) const STANDARD: Preset = Preset {
    page: "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
    header: "webhook-signature",
    prefix: "v1,",
    list: SignatureList::Spaces,
    secret: SecretFormat::Whsec,
    public_key_prefix: Some("v1a,"),
    signed: &[
        SignedPart::Header("webhook-id"),
        SignedPart::Literal("."),
        SignedPart::Timestamp,
        SignedPart::Literal("."),
        SignedPart::Body,
    ],
    signed_time: Some(SignedTime::Header("webhook-timestamp", TimeFormat::UnixSeconds)),
    id: Some(Extract::Header("webhook-id")),
    kind: Some(Extract::Path("type")),
    time: Some((Extract::Path("timestamp"), TimeFormat::Rfc3339)),
    ..BASE64
};

impl From<SignedPart> for PartIr {
    fn from(part: SignedPart) -> Self {
        match part {
            SignedPart::Header(header) => Self::Header(header.into()),
            SignedPart::Literal(text) => Self::Literal(text.into()),
            SignedPart::Timestamp => Self::Timestamp,
            SignedPart::Method => Self::Method,
            SignedPart::Url => Self::Url,
            SignedPart::Form(digest) => Self::Form(digest.into()),
            SignedPart::Body => Self::Body,
        }
    }
}

/// `data.object.id` as its steps; an empty path is the body itself.
fn steps(path: &str) -> Vec<Arc<str>> {
    path.split('.').filter(|step| !step.is_empty()).map(Arc::from).collect()
}

impl From<Extract> for ExtractIr {
    fn from(extract: Extract) -> Self {
        let all = |extracts: &[Extract]| extracts.iter().copied().map(Self::from).collect();
        match extract {
            Extract::Header(header) => Self::Header(header.into()),
            Extract::Path(path) => Self::Path(steps(path)),
            Extract::First(extracts) => Self::First(all(extracts)),
            Extract::Joined(extracts) => Self::Joined(all(extracts)),
        }
    }
}

impl Preset {
    /// The preset as a recipe.
    #[must_use]
    pub fn recipe(&self) -> RecipeIr {
        let time = |time| {
            let (place, format) = match time {
                SignedTime::Header(header, format) => (TimePlace::Header(header.into()), format),
                SignedTime::Beside(prefix) => (TimePlace::Beside(prefix.into()), TimeFormat::UnixSeconds),
            };
            TimestampIr { place, format, tolerance_secs: self.tolerance_secs }
        };
        RecipeIr {
            header: self.header.into(),
            prefix: self.prefix.into(),
            encoding: self.encoding,
            algorithm: self.algorithm,
            list: self.list,
            secret: self.secret,
            public_key_prefix: self.public_key_prefix.map(Arc::from),
            signed: self.signed.iter().copied().map(PartIr::from).collect(),
            timestamp: self.signed_time.map(time),
        }
    }

    /// What it says of its events.
    #[must_use]
    pub fn extraction(&self) -> ExtractionIr {
        ExtractionIr {
            each: self.each.map(steps),
            id: self.id.map(ExtractIr::from),
            kind: self.kind.map(ExtractIr::from),
            conversation: self.conversation.map(ExtractIr::from),
            time: self.time.map(|(at, format)| EventTimeIr { at: at.into(), format }),
        }
    }

    /// Whether a source may name the token of a handshake.
    #[must_use]
    pub fn has_verify_token(&self) -> bool {
        self.handshakes.contains(&Handshake::HubToken)
    }

    /// Whether its events say when they happened.
    #[must_use]
    pub fn tells_time(&self) -> bool {
        self.splitter != Splitter::Extraction || self.time.is_some()
    }

    /// Returns whether the signature covers the time of each event, and not that of the request.
    #[must_use]
    pub fn signs_event_time(&self) -> bool {
        let in_body = match self.time {
            Some((Extract::Path(_), _)) => true,
            Some((Extract::Header(_) | Extract::First(_) | Extract::Joined(_), _)) | None => false,
        };
        let signed = self.signed.contains(&SignedPart::Body) && self.signed_time.is_none();
        signed && (in_body || self.splitter != Splitter::Extraction)
    }
}
