//! The three parts of a token, before anything in it is believed (RFC 7515, 7.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{Algorithm, json};
use crate::exact::{Inexact, rewritten};

/// The longest token that is read.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The longest `kid` that is looked up.
const MAX_KID_BYTES: usize = 256;

/// What is wrong with the form of a token: safe to tell whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the token is longer than 8192 bytes")]
    TooLong,
    #[error("the token is not three base64url parts with dots between")]
    Shape,
    #[error("the token's header is not a JSON object, or has a name twice")]
    Header,
    #[error("the token's header marks fields as critical (crit), and none is supported")]
    Critical,
    #[error("the token's typ is not JWT or at+jwt")]
    Type,
    #[error("the token's alg is missing or not one that is supported")]
    Algorithm,
    #[error("the token's kid is not a string of 1 to 256 bytes")]
    KeyId,
    #[error("the token's claims are not a JSON object, or have a name twice")]
    Claims,
}

/// A token that has the form of one. Nothing in it is proved.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// What is signed: the first two parts as they stand.
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
    payload: &'a str,
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(TokenError::Shape)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Shape)?;
        if payload.contains('.') || header.is_empty() || payload.is_empty() || signature.is_empty() {
            return Err(TokenError::Shape);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Shape)?;
        let header = json::read(&header).map_err(|_| TokenError::Header)?;
        let header = header.as_object().ok_or(TokenError::Header)?;
        // `jku`, `x5u`, `jwk` and `x5c` are not even looked at: a token does not choose its key.
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(TokenError::Critical);
        }
        match header.get("typ") {
            None => {}
            Some(typ) if typ.as_str().is_some_and(is_access_token_type) => {}
            Some(_) => return Err(TokenError::Type),
        }
        let algorithm =
            header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name).ok_or(TokenError::Algorithm)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if (1..=MAX_KID_BYTES).contains(&kid.len()) => Some(kid.clone()),
            Some(_) => return Err(TokenError::KeyId),
        };
        Ok(Self { algorithm, kid, message, signature, payload })
    }

    /// The claims; only worth anything when the signature holds.
    pub(super) fn claims(&self) -> Result<Value, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| TokenError::Shape)?;
        let claims = json::read(&bytes).map_err(|_| TokenError::Claims)?;
        if claims.is_object() { Ok(claims) } else { Err(TokenError::Claims) }
    }

    /// The claims with integers beyond 64 bits as texts of their digits; `None` when there are none. Ids that differ
    /// in the last digit stay different.
    pub(super) fn exact_claims(&self) -> Option<Value> {
        let bytes = URL_SAFE_NO_PAD.decode(self.payload).ok()?;
        json::read(&rewritten(&bytes, Inexact::Integers)?).ok()
    }
}

/// RFC 8725, 3.11: a token that was made for something else (`logout+jwt`, `dpop+jwt`) opens nothing here.
fn is_access_token_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"))
    }

    fn error(text: &str) -> TokenError {
        Token::parse(text).unwrap_err()
    }

    #[test]
    fn the_form_is_three_parts_and_no_more() {
        for text in ["", "a", "a.b", "a.b.c.d.e", "..", "a..c", ".b.c", "a.b.", "=.b.c", "e30=.e30.c2ln"] {
            assert_eq!(error(text), TokenError::Shape, "{text}");
        }
        assert_eq!(error(&"a".repeat(MAX_TOKEN_BYTES + 1)), TokenError::TooLong);
    }

    #[test]
    fn no_algorithm_none_and_unknown_ones_are_refused() {
        for header in
            [r#"{"alg":"none"}"#, r#"{"alg":"None"}"#, r#"{"alg":"hs256"}"#, r#"{"alg":null}"#, "{}", r#"{"alg":1}"#]
        {
            assert_eq!(error(&token(header)), TokenError::Algorithm, "{header}");
        }
    }

    #[test]
    fn critical_fields_and_other_kinds_of_tokens_are_refused() {
        assert_eq!(error(&token(r#"{"alg":"ES256","crit":["exp"]}"#)), TokenError::Critical);
        assert_eq!(error(&token(r#"{"alg":"ES256","crit":null}"#)), TokenError::Critical);
        assert_eq!(error(&token(r#"{"alg":"ES256","b64":false}"#)), TokenError::Critical);
        assert_eq!(error(&token(r#"{"alg":"ES256","typ":"logout+jwt"}"#)), TokenError::Type);
        assert!(Token::parse(&token(r#"{"alg":"ES256","typ":"application/at+JWT"}"#)).is_ok());
    }

    #[test]
    fn a_header_with_a_name_twice_is_refused() {
        assert_eq!(error(&token(r#"{"alg":"ES256","alg":"HS256"}"#)), TokenError::Header);
        assert_eq!(error(&token(r#"["ES256"]"#)), TokenError::Header);
    }

    #[test]
    fn a_kid_is_a_short_string() {
        for kid in ["7", "\"\"", "[\"a\"]", "null", &format!("\"{}\"", "k".repeat(MAX_KID_BYTES + 1))] {
            assert_eq!(error(&token(&format!(r#"{{"alg":"ES256","kid":{kid}}}"#))), TokenError::KeyId, "{kid}");
        }
        let traversal = token(r#"{"alg":"ES256","kid":"../../../../dev/null"}"#);
        assert_eq!(Token::parse(&traversal).unwrap().kid.as_deref(), Some("../../../../dev/null"));
    }
}
