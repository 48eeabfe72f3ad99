//! One engine that verifies every provider's requests over their raw bytes.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use super::generic::{MAX_FORM_FIELDS, is_form};
use super::key::{Key, hex, to_hex};
use super::{Encoding, PartIr, SignatureList, TimeFormat, TimePlace, TimestampIr, UrlScheme, VerificationIr};
use crate::refusal::{Reason, Refusal};
use crate::request::RequestHead;

/// Signatures of one request that each key is held against.
const MAX_SIGNATURES: usize = 8;

/// Why a recipe cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// A header name in it is none.
    #[error("`{0}` is not a header name")]
    Header(Arc<str>),
    /// A secret is not written as the recipe says.
    #[error("secret {index} is not {wanted}")]
    Secret {
        /// Its place among the secrets.
        index: usize,
        /// What it should be.
        wanted: &'static str,
    },
    /// There is no secret.
    #[error("there is no secret to verify with")]
    NoSecret,
}

enum Part {
    Header(HeaderName),
    Literal(Arc<str>),
    Timestamp,
    Method,
    Url,
    Form(Arc<str>),
    Body,
}

enum Place {
    Header(HeaderName),
    Beside(Arc<str>),
}

struct Timestamp {
    place: Place,
    format: TimeFormat,
    tolerance_secs: i64,
}

/// The parts of the URL that the sender called, from the request and the trusted hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// Its scheme; what the source itself says goes before it.
    pub scheme: UrlScheme,
    /// Its port, where the request names one.
    pub port: Option<u16>,
}

impl From<UrlScheme> for Called {
    fn from(scheme: UrlScheme) -> Self {
        Self { scheme, port: None }
    }
}

/// A recipe with its keys, ready.
pub struct Verifier {
    header: HeaderName,
    encoding: Encoding,
    list: SignatureList,
    signed: Vec<Part>,
    timestamp: Option<Timestamp>,
    url_scheme: Option<UrlScheme>,
    keys: Vec<Key>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("header", &self.header).finish_non_exhaustive()
    }
}

/// The proof that a request was verified; it knows with which of the secrets.
pub struct Verified<'v>(&'v Key);

impl std::fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verified(..)")
    }
}

impl Verified<'_> {
    /// The tag of a text under the secret that made the request's signature, in hexadecimal.
    pub(super) fn tag(&self, text: &str) -> Option<String> {
        self.0.sign(&[text.as_bytes().into()]).map(|tag| to_hex(&tag))
    }
}

fn name(text: &Arc<str>) -> Result<HeaderName, RecipeError> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| RecipeError::Header(text.clone()))
}

fn missing(header: &HeaderName) -> Refusal {
    Refusal::new(Reason::SignatureMissing, format!("the header `{header}` is missing"))
}

fn invalid(detail: String) -> Refusal {
    Refusal::new(Reason::SignatureInvalid, detail)
}

/// The one value of a header field: of two, nobody could say which was signed.
fn single<'h>(headers: &'h HeaderMap, header: &HeaderName) -> Result<&'h str, Refusal> {
    let mut fields = headers.get_all(header).iter();
    let field = fields.next().ok_or_else(|| missing(header))?;
    if fields.next().is_some() {
        return Err(invalid(format!("the header `{header}` is there more than once")));
    }
    field.to_str().map_err(|_| invalid(format!("the header `{header}` is not ASCII")))
}

impl Part {
    fn new(ir: &PartIr) -> Result<Self, RecipeError> {
        Ok(match ir {
            PartIr::Header(header) => Self::Header(name(header)?),
            PartIr::Literal(text) => Self::Literal(text.clone()),
            PartIr::Timestamp => Self::Timestamp,
            PartIr::Method => Self::Method,
            PartIr::Url => Self::Url,
            PartIr::Form(digest) => Self::Form(digest.clone()),
            PartIr::Body => Self::Body,
        })
    }
}

impl Timestamp {
    fn new(ir: &TimestampIr) -> Result<Self, RecipeError> {
        let TimestampIr { place, format, tolerance_secs } = ir;
        let place = match place {
            TimePlace::Header(header) => Place::Header(name(header)?),
            TimePlace::Beside(prefix) => Place::Beside(prefix.clone()),
        };
        Ok(Self { place, format: *format, tolerance_secs: i64::from(*tolerance_secs) })
    }
}

impl Verifier {
    /// Makes a recipe ready.
    ///
    /// # Errors
    /// [`RecipeError`]; the source refuses then.
    pub fn new(ir: &VerificationIr) -> Result<Self, RecipeError> {
        let VerificationIr { recipe, secrets, handshake: _, url_scheme } = ir;
        if secrets.is_empty() {
            return Err(RecipeError::NoSecret);
        }
        let keys = secrets.iter().enumerate().map(|(index, secret)| Key::new(secret, recipe, index));
        Ok(Self {
            header: name(&recipe.header)?,
            encoding: recipe.encoding,
            list: recipe.list,
            signed: recipe.signed.iter().map(Part::new).collect::<Result<_, _>>()?,
            timestamp: recipe.timestamp.as_ref().map(Timestamp::new).transpose()?,
            url_scheme: *url_scheme,
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// Returns whether a verification costs much: one of the keys is a public key.
    #[must_use]
    pub fn is_asymmetric(&self) -> bool {
        self.keys.iter().any(Key::is_public)
    }

    /// Returns whether the sender of these bytes knew one of the secrets, and when it signed.
    ///
    /// # Errors
    /// A refusal that names the header field and never the signature that would have been right.
    pub fn verify(
        &self,
        head: &RequestHead<'_>,
        called: impl Into<Called>,
        body: &[u8],
        now_secs: i64,
    ) -> Result<Verified<'_>, Refusal> {
        let field = single(head.headers, &self.header)?;
        let timestamp = self.timestamp(head.headers, field)?;

        let (mut readable, mut known) = (false, None);
        for url in self.urls(head, called.into()) {
            let parts = self.parts(head, &url, timestamp, body)?;
            known = self.keys.iter().find(|key| {
                let given = self.signatures(field, key);
                readable |= !given.is_empty();
                !given.is_empty() && key.made(&parts, &given)
            });
            if known.is_some() {
                break;
            }
        }
        let known = known.ok_or_else(|| if readable { self.mismatch() } else { self.unreadable() })?;

        // The time counts only once it is known to be the sender's own.
        if let (Some(Timestamp { format, tolerance_secs, .. }), Some(text)) = (&self.timestamp, timestamp) {
            in_window(text, *format, *tolerance_secs, now_secs)?;
        }
        Ok(Verified(known))
    }

    fn mismatch(&self) -> Refusal {
        let what = if self.keys.iter().any(Key::is_token) {
            "is not an active secret"
        } else {
            "does not match the body; sign the raw bytes with an active secret"
        };
        invalid(format!("`{}` {what}", self.header))
    }

    fn unreadable(&self) -> Refusal {
        let encoding = match self.encoding {
            Encoding::Hex => "hexadecimal",
            Encoding::Base64 => "base64",
        };
        let prefix = self.keys.first().map(|key| &*key.prefix).filter(|prefix| !prefix.is_empty());
        let prefix = prefix.map(|prefix| format!("`{prefix}` followed by ")).unwrap_or_default();
        invalid(format!("`{}` must be {prefix}{encoding}", self.header))
    }

    fn timestamp<'h>(&self, headers: &'h HeaderMap, field: &'h str) -> Result<Option<&'h str>, Refusal> {
        match self.timestamp.as_ref().map(|at| &at.place) {
            None => Ok(None),
            Some(Place::Header(header)) => single(headers, header).map(Some),
            Some(Place::Beside(prefix)) => {
                let mut times = self.items(field).filter_map(|item| item.strip_prefix(&**prefix));
                match (times.next(), times.next()) {
                    (Some(time), None) => Ok(Some(time)),
                    _ => Err(invalid(format!("`{}` must carry one time as `{prefix}`", self.header))),
                }
            }
        }
    }

    /// The URLs that the sender may have signed: without a port, with the one that it called, and with the scheme's
    /// own. Which one it is depends on the sender's product and version; Twilio's own validators try them as well.
    /// Empty where no URL is signed.
    fn urls(&self, head: &RequestHead<'_>, called: Called) -> Vec<String> {
        if !self.signed.iter().any(|part| matches!(part, Part::Url)) {
            return vec![String::new()];
        }
        let scheme = self.url_scheme.unwrap_or(called.scheme);
        let default = match scheme {
            UrlScheme::Http => 80,
            UrlScheme::Https => 443,
        };
        let ports = [called.port.filter(|port| *port != default), Some(default)];
        let ports = ports.into_iter().flatten().map(|port| format!(":{port}"));
        std::iter::once(String::new()).chain(ports).map(|port| url(head, scheme, &port)).collect()
    }

    /// What is signed, piece by piece.
    fn parts<'r>(
        &'r self,
        head: &RequestHead<'r>,
        url: &'r str,
        timestamp: Option<&'r str>,
        body: &'r [u8],
    ) -> Result<Vec<Cow<'r, [u8]>>, Refusal> {
        let mut parts = Vec::with_capacity(self.signed.len());
        for part in &self.signed {
            parts.push(match part {
                Part::Header(header) => single(head.headers, header)?.as_bytes().into(),
                Part::Literal(text) => text.as_bytes().into(),
                Part::Timestamp => timestamp.unwrap_or_default().as_bytes().into(),
                Part::Method => head.method.as_str().as_bytes().into(),
                Part::Url => url.as_bytes().into(),
                Part::Form(digest) => form(head, digest, body)?.into_bytes().into(),
                Part::Body => body.into(),
            });
        }
        Ok(parts)
    }

    /// The members of the signature's header field.
    fn items<'h>(&self, field: &'h str) -> impl Iterator<Item = &'h str> {
        let separator = match self.list {
            SignatureList::Single => None,
            SignatureList::Spaces => Some(' '),
            SignatureList::Commas => Some(','),
            SignatureList::Semicolons => Some(';'),
        };
        let whole = separator.is_none().then_some(field);
        let split = separator.map(|by| field.split(by).map(str::trim));
        whole.into_iter().chain(split.into_iter().flatten())
    }

    /// The signatures that a key may have made.
    fn signatures(&self, field: &str, key: &Key) -> Vec<Vec<u8>> {
        let given = self.items(field).filter_map(|item| item.strip_prefix(&*key.prefix)).take(MAX_SIGNATURES);
        if key.is_token() {
            return given.map(|text| text.as_bytes().to_vec()).collect();
        }
        given
            .filter_map(|text| match self.encoding {
                Encoding::Hex => hex(text.as_bytes()),
                Encoding::Base64 => STANDARD.decode(text).ok(),
            })
            .collect()
    }
}

fn url(head: &RequestHead<'_>, scheme: UrlScheme, port: &str) -> String {
    let query = head.query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}://{}{port}{}{query}", scheme.as_str(), head.host, head.path)
}

/// The fields of a form, sorted and each once; for any other body, the proof that the signed URL names it.
fn form(head: &RequestHead<'_>, digest_field: &str, body: &[u8]) -> Result<String, Refusal> {
    if is_form(head.headers) {
        let mut fields: Vec<_> = form_urlencoded::parse(body).take(MAX_FORM_FIELDS + 1).collect();
        if fields.len() > MAX_FORM_FIELDS {
            return Err(invalid(format!("the form has more than {MAX_FORM_FIELDS} fields")));
        }
        fields.sort();
        fields.dedup();
        return Ok(fields.into_iter().fold(String::new(), |text, (name, value)| text + &name + &value));
    }
    let query = form_urlencoded::parse(head.query.unwrap_or_default().as_bytes());
    let mut named = query.filter(|(name, _)| name == digest_field).map(|(_, value)| value);
    let named = named.next().filter(|_| named.next().is_none());
    let given = named.and_then(|value| hex(value.as_bytes())).unwrap_or_default();
    if digest(&SHA256, body).as_ref().ct_eq(&given).into() {
        return Ok(String::new());
    }
    Err(invalid(format!("the body is no form, and the query does not carry its SHA-256 once as `{digest_field}`")))
}

/// Two-sided: a time in the future is as wrong as an old one, or a recorded request could be kept for later.
fn in_window(text: &str, format: TimeFormat, tolerance_secs: i64, now_secs: i64) -> Result<(), Refusal> {
    let outside = |detail: String| Refusal::new(Reason::TimestampOutsideWindow, detail);
    let seconds = format.millis(text).map(|millis| millis.div_euclid(1000));
    let seconds = seconds.ok_or_else(|| outside("the signed time cannot be read".to_owned()))?;
    if seconds.abs_diff(now_secs) > tolerance_secs.unsigned_abs() {
        let detail = format!(
            "the signed time is more than {tolerance_secs} s from the gateway's clock; sign again when sending"
        );
        return Err(outside(detail));
    }
    Ok(())
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
