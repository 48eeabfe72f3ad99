//! What a preset says about a provider: data only, which becomes the same IR that a user's recipe becomes.

use std::sync::Arc;

use super::handshake::Handshake;
use super::{
    Encoding, ExtractIr, ExtractionIr, PartIr, RecipeIr, SecretFormat, SignatureAlgorithm, SignatureList, TimeFormat,
    TimePlace, TimestampIr,
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
    pub time: Option<SignedTime>,
    /// How far it may be off, in seconds.
    pub tolerance_secs: u32,
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
    /// The body size that a tenant's ceiling must allow, and that is taken when the source names none.
    pub max_body_size: u64,
}

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
            timestamp: self.time.map(time),
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
        }
    }

    /// Whether a source may name the token of a handshake.
    #[must_use]
    pub fn has_verify_token(&self) -> bool {
        self.handshakes.contains(&Handshake::HubToken)
    }

    /// Whether the URL is part of what is signed.
    #[must_use]
    pub fn signs_url(&self) -> bool {
        self.signed.contains(&SignedPart::Url)
    }
}
