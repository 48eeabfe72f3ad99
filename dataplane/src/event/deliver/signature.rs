//! What a destination can check: a signature as Standard Webhooks 1.0 has it.

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

/// Signs a delivery with each of the secrets: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
pub(super) fn sign(headers: &mut HeaderMap, secrets: &[Secret], id: &str, now_secs: i64, body: &[u8]) {
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    put("webhook-id", id.to_owned());
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
    fn the_signature_is_the_one_of_the_published_vector() {
        let mut headers = HeaderMap::new();
        let secret = Secret::new(&b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"[..]);
        sign(&mut headers, &[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
    }
}
