//! The sender's side of a preset: for `postern send`, the demo and tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use super::verify::{RecipeError, secret_bytes};
use super::{Encoding, Preset};
use crate::secret::Secret;

impl Preset {
    /// The header fields that the provider would send with this body.
    ///
    /// # Errors
    /// [`RecipeError::Secret`] when the secret is not written as the provider writes it.
    pub fn sign(
        &self,
        secret: &Secret,
        id: &str,
        now_secs: i64,
        body: &[u8],
    ) -> Result<Vec<(&'static str, String)>, RecipeError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret_bytes(secret, self.secret, 0)?);
        let mut context = hmac::Context::with_key(&key);
        let mut fields = Vec::new();
        if let Some(header) = self.id_header {
            context.update(format!("{id}.").as_bytes());
            fields.push((header, id.to_owned()));
        }
        if let Some(header) = self.time_header {
            context.update(format!("{now_secs}.").as_bytes());
            fields.push((header, now_secs.to_string()));
        }
        context.update(body);
        let tag = context.sign();
        let written = match self.encoding {
            Encoding::Hex => tag.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")),
            Encoding::Base64 => STANDARD.encode(tag),
        };
        fields.push((self.header, format!("{}{written}", self.prefix)));
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName};

    use super::super::{Provider, VerificationIr, Verifier};
    use super::*;

    #[test]
    fn what_is_signed_is_what_is_verified() {
        let secret = Secret::new(&b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"[..]);
        for preset in Provider::ALL.into_iter().filter_map(Provider::preset) {
            let fields = preset.sign(&secret, "msg_1", 1_614_265_330, b"{}").unwrap();
            let field = |(name, value): (&'static str, String)| (HeaderName::from_static(name), value.parse().unwrap());
            let headers: HeaderMap = fields.into_iter().map(field).collect();
            let ir = VerificationIr { recipe: preset.recipe(), secrets: vec![secret.clone()], handshake: None };
            assert_eq!(Verifier::new(&ir).unwrap().verify(&headers, b"{}", 1_614_265_330), Ok(()), "{preset:?}");
        }
    }
}
