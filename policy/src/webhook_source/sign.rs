//! The sender's side of a preset: for `postern send`, the demo and tests.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{Key, to_hex};
use super::provider::{Extract, Preset, SignedPart, SignedTime};
use super::verify::RecipeError;
use super::{Encoding, SignatureList, TimeFormat};
use crate::secret::Secret;

/// What is sent, as far as providers sign it.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'s> {
    /// The event's id, for providers that have one in a header field.
    pub id: &'s str,
    /// Now, in seconds since the epoch.
    pub now_secs: i64,
    /// Where it is sent to, as the provider would know it.
    pub url: &'s str,
    /// The body.
    pub body: &'s [u8],
}

/// Why nothing can be signed as a provider would.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The secret is not written as the provider writes it.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The provider signs with a private key.
    #[error("only the provider itself can sign: the source knows no more than its public key")]
    PrivateKey,
    /// The provider signs forms.
    #[error("the provider signs the fields of forms, which is not done here")]
    Form,
}

impl Preset {
    /// The header fields that the provider would send.
    ///
    /// # Errors
    /// [`SignError`]
    pub fn sign(&self, secret: &Secret, sending: Sending<'_>) -> Result<Vec<(&'static str, String)>, SignError> {
        let key = Key::new(secret, &self.recipe(), 0)?;
        let time = self.signed_time.map(|time| match time {
            SignedTime::Header(_, format) => written(format, sending.now_secs),
            SignedTime::Beside(_) => sending.now_secs.to_string(),
        });
        let mut parts: Vec<Cow<'_, [u8]>> = Vec::with_capacity(self.signed.len());
        for part in self.signed {
            parts.push(match part {
                SignedPart::Header(_) => sending.id.as_bytes().into(),
                SignedPart::Literal(text) => text.as_bytes().into(),
                SignedPart::Timestamp => time.as_deref().unwrap_or_default().as_bytes().into(),
                SignedPart::Method => b"POST".into(),
                SignedPart::Url => sending.url.as_bytes().into(),
                SignedPart::Form(_) => return Err(SignError::Form),
                SignedPart::Body => sending.body.into(),
            });
        }
        let signature = if key.is_token() {
            String::from_utf8_lossy(secret.reveal()).into_owned()
        } else {
            let tag = key.sign(&parts).ok_or(SignError::PrivateKey)?;
            match self.encoding {
                Encoding::Hex => to_hex(&tag),
                Encoding::Base64 => STANDARD.encode(tag),
            }
        };
        Ok(self.fields(sending.id, time, &signature))
    }

    fn fields(&self, id: &str, time: Option<String>, signature: &str) -> Vec<(&'static str, String)> {
        let separator = match self.list {
            SignatureList::Single | SignatureList::Spaces => ' ',
            SignatureList::Commas => ',',
            SignatureList::Semicolons => ';',
        };
        let mut fields = Vec::new();
        if let Some(Extract::Header(header)) = self.id {
            fields.push((header, id.to_owned()));
        }
        let mut beside = String::new();
        match (self.signed_time, time) {
            (Some(SignedTime::Header(header, _)), Some(time)) => fields.push((header, time)),
            (Some(SignedTime::Beside(before)), Some(time)) => beside = format!("{before}{time}{separator}"),
            (_, _) => {}
        }
        fields.push((self.header, format!("{beside}{}{signature}", self.prefix)));
        fields
    }
}

fn written(format: TimeFormat, now_secs: i64) -> String {
    match format {
        TimeFormat::UnixSeconds => now_secs.to_string(),
        TimeFormat::UnixMillis => now_secs.saturating_mul(1000).to_string(),
        TimeFormat::Rfc3339 => {
            jiff::Timestamp::from_second(now_secs).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, Method};

    use super::super::{Provider, UrlScheme, VerificationIr, Verifier};
    use super::*;
    use crate::request::RequestHead;

    #[test]
    fn what_is_signed_is_what_is_verified() {
        let secret = Secret::new(&b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"[..]);
        let sending = Sending { id: "msg_1", now_secs: 1_614_265_330, url: "https://h/p?q", body: b"{}" };
        let mut unsigned = Vec::new();
        for provider in Provider::ALL.iter().copied() {
            let Some(preset) = provider.preset() else { continue };
            let Ok(fields) = preset.sign(&secret, sending) else {
                unsigned.push(provider);
                continue;
            };
            let field = |(name, value): (&'static str, String)| (HeaderName::from_static(name), value.parse().unwrap());
            let headers: HeaderMap = fields.into_iter().map(field).collect();
            let secrets = vec![secret.clone()];
            let ir = VerificationIr { recipe: preset.recipe(), secrets, handshake: None, url_scheme: None };
            let address = std::net::Ipv4Addr::LOCALHOST.into();
            let (method, host, path, query) = (&Method::POST, "h", "/p", Some("q"));
            let head = RequestHead { method, host, path, query, headers: &headers, address };
            let verifier = Verifier::new(&ir).unwrap();
            let verdict = verifier.verify(&head, UrlScheme::Https, sending.body, sending.now_secs);
            assert!(verdict.is_ok(), "{provider:?}: {verdict:?}");
        }
        assert_eq!(unsigned, [Provider::Discord, Provider::Twilio, Provider::SendGrid]);
    }
}
