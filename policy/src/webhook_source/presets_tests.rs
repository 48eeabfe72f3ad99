//! Every entry of the table against its vectors, what must not pass, and the page.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64_TEXT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde_json::Value;

use super::super::events_tests::{events_of, misfits};
use super::super::handshake::{Answer, asked, challenged};
use super::super::key::{hex, to_hex};
use super::super::{Encoding, PartIr, UrlScheme, VerificationIr, Verifier, split};
use super::*;
use crate::refusal::{Reason, Refusal};
use crate::request::RequestHead;
use crate::secret::Secret;

/// A request of a vector, to be sent as it is or altered.
#[derive(Clone)]
struct Sent {
    provider: Provider,
    secret: String,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
    now: i64,
}

fn vectors() -> Vec<(Sent, Value)> {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors/signatures.json")).unwrap();
    let known = |vector: Value| {
        let provider = serde_json::from_value(vector["provider"].clone()).ok()?;
        let text = |name: &str, default: &str| vector[name].as_str().unwrap_or(default).to_owned();
        let mut headers = HeaderMap::new();
        for (name, value) in vector["headers"].as_object().unwrap() {
            headers.append(HeaderName::try_from(name).unwrap(), value.as_str().unwrap().parse().unwrap());
        }
        let sent = Sent {
            provider,
            secret: text("secret", ""),
            method: text("method", "POST").parse().unwrap(),
            uri: text("url", "https://hooks.example.com/").parse().unwrap(),
            headers,
            body: text("body", "").into_bytes(),
            now: vector["now"].as_i64().unwrap_or(1_614_265_330),
        };
        Some((sent, vector))
    };
    vectors.into_iter().filter_map(known).collect()
}

impl Sent {
    fn preset(&self) -> &'static Preset {
        self.provider.preset().unwrap()
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            host: self.uri.host().unwrap(),
            path: self.uri.path(),
            query: self.uri.query(),
            headers: &self.headers,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// What the provider gets: the answer to a challenge, or nothing for an event.
    fn answered(&self) -> Result<Option<Answer>, Refusal> {
        let token = Secret::new(self.secret.as_bytes());
        if self.method != Method::POST {
            return asked(self.provider, &self.head(), Some(&token));
        }
        let recipe = self.preset().recipe();
        let verifier =
            Verifier::new(&VerificationIr { recipe, secrets: vec![token], handshake: None, url_scheme: None });
        let verifier = verifier.unwrap();
        let verified = verifier.verify(&self.head(), UrlScheme::Https, &self.body, self.now)?;
        challenged(self.provider, &self.headers, &self.body, &verified)
    }

    fn verdict(&self) -> Result<(), Reason> {
        self.answered().map(drop).map_err(|refusal| refusal.reason)
    }

    fn field(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The same with another value in a header field.
    fn with(&self, name: &str, value: &str) -> Self {
        let mut sent = self.clone();
        sent.headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        sent
    }

    /// The same with each of its signatures rewritten.
    fn signed(&self, write: impl Fn(&str) -> String) -> Self {
        let recipe = self.preset().recipe();
        let field = self.field(&recipe.header);
        let separator = match recipe.list {
            SignatureList::Single => '\0',
            SignatureList::Spaces => ' ',
            SignatureList::Commas => ',',
            SignatureList::Semicolons => ';',
        };
        let prefixes = [Some(recipe.prefix), recipe.public_key_prefix];
        let rewritten = |item: &str| {
            let prefix = prefixes.iter().flatten().find(|prefix| item.starts_with(&***prefix));
            prefix.map_or(item.to_owned(), |prefix| format!("{prefix}{}", write(&item[prefix.len()..])))
        };
        let written = field.split(separator).map(rewritten).collect::<Vec<_>>().join(&separator.to_string());
        self.with(&recipe.header, &written)
    }
}

/// The vectors that a provider itself would send, signed.
fn signed_vectors() -> impl Iterator<Item = Sent> {
    let valid = |vector: &Value| vector["expect"].as_str().unwrap().starts_with("valid");
    vectors().into_iter().filter(move |(_, vector)| valid(vector)).map(|(sent, _)| sent)
}

const INVALID: Result<(), Reason> = Err(Reason::SignatureInvalid);

#[test]
fn every_provider_has_a_vector_and_every_vector_its_verdict() {
    let vectors = vectors();
    for provider in Provider::ALL.iter().filter(|provider| provider.preset().is_some()) {
        let own = vectors.iter().filter(|(sent, _)| sent.provider == *provider);
        // What must not pass is made from signed vectors: a provider without one would be tested by none.
        let signed = |vector: &Value| vector["expect"].as_str().unwrap().starts_with("valid");
        assert!(own.clone().any(|(_, vector)| signed(vector)), "{provider:?} has no signed vector");
        let asks = provider.preset().unwrap().handshakes.len();
        let answered = own.filter(|(sent, _)| matches!(sent.answered(), Ok(Some(_)))).count();
        assert!(answered >= asks, "{provider:?}: {answered} vectors for {asks} handshakes");
    }
    for (sent, vector) in vectors {
        assert!(vector["source"].as_str().is_some_and(|source| !source.is_empty()), "{vector} says no source");
        let expected = vector["expect"].as_str().unwrap();
        assert_eq!(sent.verdict().is_ok(), !expected.starts_with("invalid"), "{vector}: {:?}", sent.verdict());
    }
}

#[test]
fn a_challenge_gets_its_answer_and_an_event_gets_none() {
    for (sent, vector) in vectors().into_iter().filter(|(sent, _)| sent.verdict().is_ok()) {
        let answer = sent.answered().unwrap();
        let wanted = &vector["answer"];
        assert_eq!(answer.is_some(), !wanted.is_null(), "{vector}");
        let Some(Answer { status, body, .. }) = answer else { continue };
        assert_eq!(u64::from(status.as_u16()), wanted["status"].as_u64().unwrap(), "{vector}");
        match wanted.get("json") {
            Some(json) => assert_eq!(&serde_json::from_str::<Value>(&body).unwrap(), json, "{vector}"),
            None => assert_eq!(body, wanted["text"].as_str().unwrap(), "{vector}"),
        }
    }
}

#[test]
fn a_challenge_that_is_not_signed_is_not_answered() {
    for sent in signed_vectors().filter(|sent| matches!(sent.answered(), Ok(Some(_)))) {
        let altered = Sent { body: [&sent.body[..], b" "].concat(), ..sent.clone() };
        assert_eq!(altered.verdict(), INVALID, "{:?}", sent.provider);
    }
}

#[test]
fn an_altered_signature_is_refused() {
    for sent in signed_vectors() {
        let flip = |signature: &str| {
            let first = if signature.starts_with('0') { "1" } else { "0" };
            format!("{first}{}", &signature[1..])
        };
        assert_eq!(sent.signed(flip).verdict(), INVALID, "{:?}", sent.provider);
        assert_eq!(sent.signed(|signature| signature[..signature.len() - 4].to_owned()).verdict(), INVALID, "cut");
        assert_eq!(sent.signed(|_| String::new()).verdict(), INVALID, "{:?}: empty", sent.provider);
        let bare = sent.with(sent.preset().header, "");
        assert_eq!(bare.verdict(), INVALID, "{:?}: nothing", sent.provider);
    }
}

#[test]
fn an_altered_request_is_refused_in_every_part_that_is_signed() {
    for sent in signed_vectors() {
        let what = sent.provider;
        let recipe = sent.preset().recipe();
        for part in &recipe.signed {
            let altered = match part {
                PartIr::Header(header) => sent.with(header, &format!("{}x", sent.field(header))),
                PartIr::Method => Sent { method: Method::PUT, ..sent.clone() },
                PartIr::Url => Sent { uri: format!("{}x", sent.uri).parse().unwrap(), ..sent.clone() },
                PartIr::Form(_) | PartIr::Body => Sent { body: [&sent.body[..], b" "].concat(), ..sent.clone() },
                // The time has a test of its own.
                PartIr::Timestamp | PartIr::Literal(_) => continue,
            };
            let altered = altered.answered_as_post();
            assert_eq!(altered, INVALID, "{what:?}: {part:?}");
        }
        let token = sent.preset().algorithm == SignatureAlgorithm::Token;
        assert!(token || recipe.signed.iter().any(|part| matches!(part, PartIr::Body | PartIr::Form(_))), "{what:?}");
    }
}

impl Sent {
    /// The verdict over its signature, whatever its method.
    fn answered_as_post(&self) -> Result<(), Reason> {
        let (recipe, secrets) = (self.preset().recipe(), vec![Secret::new(self.secret.as_bytes())]);
        let verifier = Verifier::new(&VerificationIr { recipe, secrets, handshake: None, url_scheme: None }).unwrap();
        let verified = verifier.verify(&self.head(), UrlScheme::Https, &self.body, self.now);
        verified.map(drop).map_err(|refusal| refusal.reason)
    }
}

/// Another secret, written as the provider writes one.
fn other_secret(sent: &Sent) -> &'static str {
    match sent.preset().secret {
        SecretFormat::Text => "another secret",
        SecretFormat::Hex => "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        SecretFormat::Whsec if sent.secret.starts_with("whpk_") => "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        SecretFormat::Whsec => "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        SecretFormat::P256 => {
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
        }
    }
}

#[test]
fn another_secret_is_refused() {
    for sent in signed_vectors() {
        let other = Sent { secret: other_secret(&sent).to_owned(), ..sent.clone() };
        assert_eq!(other.verdict(), INVALID, "{:?}", sent.provider);
    }
}

#[test]
fn another_encoding_is_refused() {
    for sent in signed_vectors().filter(|sent| sent.preset().algorithm != SignatureAlgorithm::Token) {
        let other = sent.signed(|signature| match sent.preset().encoding {
            Encoding::Hex => BASE64_TEXT.encode(hex(signature.as_bytes()).unwrap()),
            Encoding::Base64 => {
                BASE64_TEXT.decode(signature).map_or_else(|_| signature.to_owned(), |bytes| to_hex(&bytes))
            }
        });
        assert_eq!(other.verdict(), INVALID, "{:?}", sent.provider);
        // Base64 in upper case is other bytes; hexadecimal in upper case is the same.
        if sent.preset().encoding == Encoding::Base64 {
            let upper = sent.signed(str::to_uppercase);
            assert_eq!(upper.verdict(), INVALID, "{:?}: upper case", sent.provider);
        }
    }
}

#[test]
fn a_field_that_is_missing_or_there_twice_is_refused() {
    for sent in signed_vectors() {
        for header in sent.preset().recipe().headers() {
            let mut none = sent.clone();
            none.headers.remove(header);
            assert_eq!(none.verdict(), Err(Reason::SignatureMissing), "{:?}: {header}", sent.provider);
            let mut twice = sent.clone();
            let value = twice.headers[header].clone();
            twice.headers.append(HeaderName::try_from(header).unwrap(), value);
            assert_eq!(twice.verdict(), INVALID, "{:?}: {header}", sent.provider);
        }
    }
}

#[test]
fn a_time_that_is_old_or_still_to_come_is_refused() {
    for sent in signed_vectors().filter(|sent| sent.preset().signed_time.is_some()) {
        let tolerance = i64::from(sent.preset().tolerance_secs);
        let at = |now| Sent { now, ..sent.clone() }.verdict();
        let outside = Err(Reason::TimestampOutsideWindow);
        assert_eq!((at(sent.now - tolerance), at(sent.now + tolerance)), (Ok(()), Ok(())), "{:?}", sent.provider);
        assert_eq!(
            (at(sent.now - tolerance - 1), at(sent.now + tolerance + 1)),
            (outside, outside),
            "{:?}",
            sent.provider
        );
    }
}

#[test]
fn what_is_sent_becomes_events_that_say_whose_they_are() {
    let ids = |wanted: Provider| -> Vec<[String; 3]> {
        let own = signed_vectors().filter(|sent| sent.provider == wanted && matches!(sent.answered(), Ok(None)));
        let entries = own.flat_map(|sent| {
            split(sent.provider, &sent.preset().extraction(), &sent.headers, &sent.body).into_iter().flatten()
        });
        entries.map(|entry| [entry.id, entry.kind, entry.conversation]).collect()
    };
    let is = |wanted, index: usize, told: [&str; 3]| assert_eq!(ids(wanted)[index], told, "{wanted:?}");
    is(Provider::Svix, 0, ["msg_p5jXN8AQM9LWM0D4loKWxJek", "svix.event", ""]);
    is(Provider::Stripe, 0, ["evt_123", "stripe.customer.created", "cus_123"]);
    is(Provider::GitLab, 0, ["f5e57ba3-5d9b-4f1e-9b0a-6d0c2b6a4d3e", "gitlab.push", "15"]);
    is(
        Provider::Slack,
        0,
        ["398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c", "slack._webhook-collect", "T1DC2JH3J#G8PSS9T3V"],
    );
    is(Provider::PagerDuty, 0, ["5ac64822", "pagerduty.incident.triggered", "PGR0VU2"]);
    is(Provider::HubSpot, 0, ["62515#12345#1#1564113600000", "hubspot.contact.creation", "62515#123"]);
    is(Provider::GoCardless, 0, ["EV123", "gocardless.payments_confirmed", "PM123"]);
    is(Provider::Paddle, 0, ["evt_01", "paddle.transaction.completed", "ctm_01"]);
    assert_eq!(ids(Provider::Line), [[""; 3]; 0], "a list without events holds none");
    assert!(ids(Provider::Twilio)[0][0].starts_with("sha256:"));
    assert_eq!(ids(Provider::Twilio)[0][2], "CA1234567890ABCDE");
    assert_eq!(ids(Provider::Discord)[0][1..], ["discord.APPLICATION_AUTHORIZED", "10"]);
}

#[test]
fn what_is_sent_becomes_events_that_fit_the_published_schemas() {
    for sent in signed_vectors().filter(|sent| matches!(sent.answered(), Ok(None))) {
        let entries = split(sent.provider, &sent.preset().extraction(), &sent.headers, &sent.body).unwrap_or_default();
        for event in events_of(entries) {
            assert_eq!(misfits(&event), Vec::<String>::new(), "{:?}: {event:#}", sent.provider);
        }
    }
}

#[test]
fn an_event_says_when_it_happened_as_its_provider_writes_it() {
    let times = |wanted: Provider| -> Vec<Option<i64>> {
        let own = signed_vectors().filter(|sent| sent.provider == wanted);
        let entries = own.flat_map(|sent| {
            split(sent.provider, &sent.preset().extraction(), &sent.headers, &sent.body).into_iter().flatten()
        });
        entries.map(|entry| entry.time_ms).collect()
    };
    assert_eq!(times(Provider::Stripe), [Some(1_533_204_620_000)]);
    assert_eq!(times(Provider::Linear), [Some(1_676_056_940_508)]);
    assert_eq!(times(Provider::Twitch), [Some(1_700_000_000_634)]);
    assert_eq!(times(Provider::SendGrid), [Some(1_600_112_492_000)]);
    assert!(times(Provider::GitLab).iter().all(Option::is_none));
}

#[test]
fn an_element_of_a_list_is_named_by_itself_and_not_by_a_field_of_the_whole() {
    for preset in Provider::ALL.iter().filter_map(|provider| provider.preset()).filter(|preset| preset.each.is_some()) {
        assert!(!format!("{:?}", preset.id).contains("Header"), "{preset:?}");
    }
}

#[test]
fn words_and_pages_are_told_once_each() {
    let words: std::collections::HashSet<_> = Provider::ALL.iter().map(|provider| provider.word()).collect();
    assert_eq!(words.len(), Provider::ALL.len());
    for preset in Provider::ALL.iter().filter_map(|provider| provider.preset()) {
        assert!(preset.page.starts_with("https://") && !preset.header.is_empty(), "{preset:?}");
        assert_eq!(preset.header, preset.header.to_lowercase());
    }
}

proptest::proptest! {
    #[test]
    fn no_header_passes_without_the_secret(
        values in proptest::collection::vec("[ -~]{0,60}", 4), body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
    ) {
        for sent in signed_vectors() {
            let mut forged = sent.clone();
            forged.body = body.clone();
            for (header, value) in sent.preset().recipe().headers().zip(&values) {
                let prefix = if *header == *sent.preset().header { sent.preset().prefix } else { "" };
                forged = forged.with(header, format!("{prefix}{value}").trim());
            }
            proptest::prop_assert!(forged.verdict().is_err(), "{:?}", sent.provider);
        }
    }
}
