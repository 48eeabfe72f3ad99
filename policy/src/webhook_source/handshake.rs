//! The GET by which Meta asks whether an endpoint is the app's own.

use subtle::ConstantTimeEq;

use crate::refusal::{Reason, Refusal};
use crate::secret::Secret;

/// Bytes of a challenge that are echoed.
const MAX_CHALLENGE_BYTES: usize = 256;

/// The challenge to echo as `text/plain`, when mode and token are right.
///
/// # Errors
/// [`Reason::HandshakeRefused`]
pub fn answer(query: &str, token: &Secret) -> Result<String, Refusal> {
    let refused = |detail: &'static str| Refusal::new(Reason::HandshakeRefused, detail);
    let find = |name: &str| {
        let mut values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
        let first = values.next().map(|(_, value)| value.into_owned());
        first.filter(|_| values.next().is_none())
    };
    if find("hub.mode").as_deref() != Some("subscribe") {
        return Err(refused("`hub.mode` must be `subscribe`, once"));
    }
    let given = find("hub.verify_token").unwrap_or_default();
    if !bool::from(given.as_bytes().ct_eq(token.reveal())) {
        return Err(refused("`hub.verify_token` is not the verify token of this source"));
    }
    let challenge = find("hub.challenge").unwrap_or_default();
    // The echo is text of the caller's choice on our host: only what cannot be anything else goes back.
    let tame = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if challenge.is_empty() || challenge.len() > MAX_CHALLENGE_BYTES || !challenge.bytes().all(tame) {
        return Err(refused("`hub.challenge` must be 1 to 256 letters, digits, `-`, `_` or `.`"));
    }
    Ok(challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_token_gets_its_challenge_back() {
        let token = Secret::new(&b"a token"[..]);
        let ask = |query: &str| answer(query, &token).map_err(|refusal| refusal.reason);
        let good = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=a%20token";
        assert_eq!(ask(good).as_deref(), Ok("1158201444"));
        for query in [
            "",
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=wrong",
            "hub.mode=subscribe&hub.challenge=1",
            "hub.mode=other&hub.challenge=1&hub.verify_token=a+token",
            "hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=a+token",
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=a+token&hub.verify_token=x",
        ] {
            assert_eq!(ask(query), Err(Reason::HandshakeRefused), "{query}");
        }
    }
}
