//! What is asked of every proxy, as bytes.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use ring::hmac;

use crate::token::Issuer;

/// Host that every request names.
const HOST: &str = "bench.example";
/// Callers with a token of their own.
const CALLERS: usize = 64;
/// Conversations that the events belong to.
const CONVERSATIONS: u64 = 1000;
/// The secret that signs webhooks; a secret of nobody.
pub(crate) const WEBHOOK_SECRET: &str = "bench-app-secret";

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// GET, 1 KiB back.
    Get,
    /// POST of 2 KB, 1 KiB back.
    Post,
    /// GET with an ES256 token; 64 callers.
    Jwt,
    /// POST of 2 KB with an HMAC-SHA256 over the body.
    Hmac,
    /// GET through JWT, authorisation, addresses, a rate limit and the access log.
    Typical,
    /// Signed WhatsApp webhooks of one event each, all different, answered when durable.
    Events,
}

impl Scenario {
    pub(crate) const ALL: &'static [Self] =
        &[Self::Get, Self::Post, Self::Jwt, Self::Hmac, Self::Typical, Self::Events];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Get => "GET 1 KiB",
            Self::Post => "POST 2 KB",
            Self::Jwt => "ES256 JWT",
            Self::Hmac => "HMAC over 2 KB",
            Self::Typical => "typical policies",
            Self::Events => "events made durable",
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Jwt => "jwt",
            Self::Hmac => "hmac",
            Self::Typical => "typical",
            Self::Events => "events",
        }
    }
}

/// Makes the requests of a scenario.
pub(crate) struct Requests {
    scenario: Scenario,
    fixed: Vec<Vec<u8>>,
    key: hmac::Key,
    /// Nanoseconds since the epoch: part of every event's id, so that two runs never send the same event.
    run: u128,
}

impl Requests {
    pub(crate) fn new(scenario: Scenario, issuer: &Issuer, run: u128) -> io::Result<Self> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, WEBHOOK_SECRET.as_bytes());
        let fixed = match scenario {
            Scenario::Get => vec![get("")],
            Scenario::Post => vec![post("/post", "", event(run, 0).as_bytes())],
            Scenario::Jwt | Scenario::Typical => (0..CALLERS)
                .map(|caller| Ok(get(&format!("authorization: Bearer {}\r\n", issuer.token(caller)?))))
                .collect::<io::Result<_>>()?,
            Scenario::Hmac => vec![signed(&key, event(run, 0).as_bytes())],
            Scenario::Events => Vec::new(),
        };
        Ok(Self { scenario, fixed, key, run })
    }

    /// Writes the n-th request over what is in the buffer.
    pub(crate) fn write(&self, n: u64, buffer: &mut Vec<u8>) {
        buffer.clear();
        if self.scenario == Scenario::Events {
            buffer.extend_from_slice(&signed(&self.key, event(self.run, n).as_bytes()));
            return;
        }
        let index = usize::try_from(n).unwrap_or(0) % self.fixed.len().max(1);
        if let Some(request) = self.fixed.get(index) {
            buffer.extend_from_slice(request);
        }
    }
}

fn get(fields: &str) -> Vec<u8> {
    format!("GET /get HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: bench\r\naccept: */*\r\n{fields}\r\n").into_bytes()
}

fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: bench\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{fields}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

fn signed(key: &hmac::Key, body: &[u8]) -> Vec<u8> {
    let mut field = "x-hub-signature-256: sha256=".to_owned();
    for byte in hmac::sign(key, body).as_ref() {
        field.push_str(&format!("{byte:02x}"));
    }
    field.push_str("\r\n");
    post("/hook", &field, body)
}

/// The webhook secret as HAProxy wants it.
pub(crate) fn webhook_secret_base64() -> String {
    STANDARD.encode(WEBHOOK_SECRET)
}

/// A WhatsApp text message of 2,000 bytes.
fn event(run: u128, n: u64) -> String {
    let wa_id = 491_700_000_000 + n % CONVERSATIONS;
    let seconds = run / 1_000_000_000;
    let mut body = format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"102290129340398","changes":[{{"value":{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"15550783881","phone_number_id":"106540352242922"}},"contacts":[{{"profile":{{"name":"Bench"}},"wa_id":"{wa_id}"}}],"messages":[{{"from":"{wa_id}","id":"wamid.{run:x}.{n}","timestamp":"{seconds}","type":"text","text":{{"body":""#
    );
    let tail = r#""}}]},"field":"messages"}]}]}"#;
    let fill = 2000_usize.saturating_sub(body.len() + tail.len());
    body.extend(std::iter::repeat_n('x', fill));
    body.push_str(tail);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_json_of_2_kb() {
        let body = event(0xabc, 7);
        assert_eq!(body.len(), 2000);
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
    }

    #[test]
    fn no_two_events_are_the_same() {
        let requests = Requests::new(Scenario::Events, &Issuer::new().unwrap(), 1).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        requests.write(1, &mut first);
        requests.write(2, &mut second);
        assert_ne!(first, second);
    }
}
