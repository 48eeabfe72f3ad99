//! What providers ask before they send, or in between: whether an endpoint is its user's own. Such a request is
//! answered and is no event.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::generic::extract;
use super::provider::Extract;
use super::{Provider, Verified};
use crate::refusal::{Reason, Refusal};
use crate::request::RequestHead;
use crate::secret::Secret;

/// Bytes of a text that goes back to who sent it.
const MAX_CHALLENGE_BYTES: usize = 256;
/// Bytes of a body that may be a challenge: they are small, and an event need not be parsed twice.
const MAX_CHALLENGE_BODY: usize = 16 * 1024;

/// One way in which a provider asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// GET with `hub.verify_token`, which must be the source's; `hub.challenge` goes back (Meta).
    HubToken,
    /// GET; the value of this header field goes back as this member of an object (Okta).
    Header {
        /// The header field, lower case.
        header: &'static str,
        /// The member.
        member: &'static str,
    },
    /// HEAD; a 200 is all that is wanted.
    Head,
    /// A POST that is signed like an event, and is none where this text is found.
    Signed {
        /// Where.
        at: Extract,
        /// The text.
        is: &'static str,
        /// What it gets.
        reply: Reply,
    },
}

/// What a challenge in a body gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The text at this path, as plain text.
    Echo(&'static str),
    /// The text at a path and its tag under the source's secret, as members of an object (Zoom).
    Tagged {
        /// The path.
        text: &'static str,
        /// The member for the text.
        plain: &'static str,
        /// The member for the tag.
        tag: &'static str,
    },
    /// Always this JSON.
    Json(&'static str),
    /// 204, and a content type all the same (Discord).
    NoContent,
}

/// What answers a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its content type.
    pub content_type: &'static str,
    /// Its body.
    pub body: String,
}

const PLAIN: &str = "text/plain";
const JSON: &str = "application/json";

fn ok(content_type: &'static str, body: String) -> Answer {
    Answer { status: StatusCode::OK, content_type, body }
}

fn refused(detail: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Reason::HandshakeRefused, detail)
}

/// What a request without an event gets; `None` when this provider, or this source, does not answer such. `token`
/// is the source's, for [`Handshake::HubToken`].
///
/// # Errors
/// [`Reason::HandshakeRefused`]
pub fn asked(provider: Provider, head: &RequestHead<'_>, token: Option<&Secret>) -> Result<Option<Answer>, Refusal> {
    for handshake in provider.preset().map(|preset| preset.handshakes).unwrap_or_default() {
        match (*handshake, head.method, token) {
            (Handshake::HubToken, &Method::GET, Some(token)) => {
                return hub(head.query.unwrap_or_default(), token).map(|challenge| Some(ok(PLAIN, challenge)));
            }
            (Handshake::Header { header, member }, &Method::GET, _) => {
                let wrong = || refused(format!("the header `{header}` must be there once, 1 to 256 {TAME}"));
                let mut fields = head.headers.get_all(header).iter();
                let text = fields.next().filter(|_| fields.next().is_none()).and_then(|field| field.to_str().ok());
                let text = text.filter(|text| is_tame(text)).ok_or_else(wrong)?;
                return Ok(Some(ok(JSON, json!({ member: text }).to_string())));
            }
            (Handshake::Head, &Method::HEAD, _) => return Ok(Some(ok(PLAIN, String::new()))),
            (Handshake::HubToken | Handshake::Header { .. } | Handshake::Head | Handshake::Signed { .. }, _, _) => {}
        }
    }
    Ok(None)
}

/// What a verified POST gets in place of being an event; `None` when it is one.
///
/// # Errors
/// [`Reason::HandshakeRefused`] for a challenge that lacks its text.
pub fn challenged(
    provider: Provider,
    headers: &HeaderMap,
    body: &[u8],
    verified: &Verified<'_>,
) -> Result<Option<Answer>, Refusal> {
    let handshakes = provider.preset().map(|preset| preset.handshakes).unwrap_or_default();
    let signs = |handshake: &Handshake| matches!(handshake, Handshake::Signed { .. });
    if body.len() > MAX_CHALLENGE_BODY || !handshakes.iter().any(signs) {
        return Ok(None);
    }
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Ok(None) };
    let found = handshakes.iter().find_map(|handshake| match *handshake {
        Handshake::Signed { at, is, reply } => {
            (extract(&at.into(), headers, &value).as_deref() == Some(is)).then_some(reply)
        }
        Handshake::HubToken | Handshake::Header { .. } | Handshake::Head => None,
    });
    found.map(|reply| answer(reply, headers, &value, verified)).transpose()
}

fn answer(reply: Reply, headers: &HeaderMap, value: &Value, verified: &Verified<'_>) -> Result<Answer, Refusal> {
    let find = |path: &'static str| {
        let text = extract(&Extract::Path(path).into(), headers, value).filter(|text| is_tame(text));
        text.ok_or_else(|| refused(format!("`{path}` must be 1 to 256 {TAME}")))
    };
    Ok(match reply {
        Reply::Echo(path) => ok(PLAIN, find(path)?),
        Reply::Tagged { text, plain, tag } => {
            let text = find(text)?;
            let made = verified.tag(&text).unwrap_or_default();
            ok(JSON, json!({ plain: text, tag: made }).to_string())
        }
        Reply::Json(text) => ok(JSON, text.to_owned()),
        Reply::NoContent => Answer { status: StatusCode::NO_CONTENT, content_type: JSON, body: String::new() },
    })
}

const TAME: &str = "letters, digits, `-`, `_` or `.`";

/// An echo is text of the caller's choice on our host: only what cannot be anything else goes back.
fn is_tame(text: &str) -> bool {
    let tame = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_CHALLENGE_BYTES).contains(&text.len()) && text.bytes().all(tame)
}

/// The challenge to echo, when mode and token are right.
fn hub(query: &str, token: &Secret) -> Result<String, Refusal> {
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
    let challenge = find("hub.challenge").filter(|challenge| is_tame(challenge));
    challenge.ok_or_else(|| refused(format!("`hub.challenge` must be 1 to 256 {TAME}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_token_gets_its_challenge_back() {
        let token = Secret::new(&b"a token"[..]);
        let ask = |query: &str| hub(query, &token).map_err(|refusal| refusal.reason);
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

    fn ask(provider: Provider, method: &Method, headers: &HeaderMap, token: Option<&Secret>) -> Option<Answer> {
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let query = Some("hub.mode=subscribe&hub.challenge=1&hub.verify_token=t");
        asked(provider, &RequestHead { method, host: "h", path: "/", query, headers, address }, token)
            .unwrap_or_default()
    }

    #[test]
    fn a_provider_is_answered_only_in_its_own_way() {
        let token = Secret::new(&b"t"[..]);
        let mut headers = HeaderMap::new();
        headers.insert("x-okta-verification-challenge", "abc".parse().unwrap());
        let body = |provider, method: &Method, token| ask(provider, method, &headers, token).map(|answer| answer.body);
        assert_eq!(body(Provider::WhatsApp, &Method::GET, Some(&token)).as_deref(), Some("1"));
        assert_eq!(body(Provider::WhatsApp, &Method::GET, None), None, "a source without a token");
        assert_eq!(body(Provider::WhatsApp, &Method::HEAD, Some(&token)), None);
        assert_eq!(body(Provider::Okta, &Method::GET, None).as_deref(), Some(r#"{"verification":"abc"}"#));
        assert_eq!(body(Provider::Trello, &Method::HEAD, None).as_deref(), Some(""));
        assert_eq!(body(Provider::Trello, &Method::GET, None), None);
        assert_eq!(body(Provider::GitHub, &Method::GET, Some(&token)), None);
        headers.append("x-okta-verification-challenge", "abc".parse().unwrap());
        assert_eq!(ask(Provider::Okta, &Method::GET, &headers, None), None, "twice");
    }

    proptest::proptest! {
        #[test]
        fn no_query_is_answered_without_the_token(query in "(hub\\.(mode|challenge|verify_token)=[a-z0-9%+]{0,9}&?){0,5}.{0,9}") {
            let token = Secret::new(&b"a token that nobody guesses"[..]);
            proptest::prop_assert!(hub(&query, &token).is_err());
        }
    }
}
