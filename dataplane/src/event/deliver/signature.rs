//! What a destination can check: a signature as Standard Webhooks 1.0 has it.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use policy::secret::Secret;
use ring::hmac;

/// The bytes of a secret: base64 after `whsec_`, or any text.
fn key(secret: &Secret) -> hmac::Key {
    let text = secret.reveal().trim_ascii();
    let decoded = text.strip_prefix(b"whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    hmac::Key::new(hmac::HMAC_SHA256, decoded.as_deref().unwrap_or(text))
}

/// The id as a header field can carry it: a byte that is not a letter, a digit or one of `-_#:/+=~@` is written as `%`
/// and two hexadecimal digits, so that different ids stay different. Field values are ASCII (RFC 9110, 5.5), and
/// Standard Webhooks separates what it signs by full stops, which therefore no sender may choose.
fn in_header(id: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_#:/+=~@".contains(&byte);
    if id.bytes().all(plain) {
        return Cow::Borrowed(id);
    }
    let mut written = String::with_capacity(id.len() + 16);
    for byte in id.bytes() {
        if plain(byte) {
            written.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(written, "%{byte:02X}");
        }
    }
    Cow::Owned(written)
}

/// Signs a delivery with each of the secrets: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
pub(super) fn sign(headers: &mut HeaderMap, secrets: &[Secret], id: &str, now_secs: i64, body: &[u8]) {
    let id = in_header(id);
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("webhook-id", id.clone().into_owned());
    put("webhook-timestamp", now_secs.to_string());
    let signed = |secret: &Secret| {
        let mut context = hmac::Context::with_key(&key(secret));
        context.update(format!("{id}.{now_secs}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    };
    if !secrets.is_empty() {
        put("webhook-signature", secrets.iter().map(signed).collect::<Vec<_>>().join(" "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_header_fields_are_ascii_without_full_stops_and_stay_different() {
        assert_eq!(in_header("msg_p5jXN8AQM9LWM0D4loKWxJek#read"), "msg_p5jXN8AQM9LWM0D4loKWxJek#read");
        assert_eq!(in_header("Bestellung-\u{c4}-1"), "Bestellung-%C3%84-1");
        assert_eq!((in_header("a.b"), in_header("a%2Eb")), ("a%2Eb".into(), "a%252Eb".into()));
        let id = "n-\u{1f600} \u{7f}";
        assert!(in_header(id).bytes().all(|byte| byte.is_ascii_graphic()), "{}", in_header(id));
    }

    #[test]
    fn the_signature_is_the_one_of_the_published_vector() {
        let mut headers = HeaderMap::new();
        let secret = Secret::new(&b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"[..]);
        sign(&mut headers, &[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
    }
}
