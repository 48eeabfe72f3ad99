//! Who a key belongs to.

use std::sync::Arc;

use hashbrown::HashMap;
use http::HeaderName;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::{ApiKeyEntryIr, ApiKeyIr};
use crate::refusal::{Extra, Reason, Refusal};
use crate::request::Caller;

/// Longer than any key; a longer one is not even hashed.
const MAX_KEY_BYTES: usize = 512;

#[derive(Clone, Debug)]
struct Entry {
    caller: Arc<Caller>,
    not_before_secs: Option<i64>,
    expires_at_secs: Option<i64>,
}

/// One API-key method, ready to verify. It finds keys by digest: how long that takes tells nothing of a key,
/// since nobody can choose a digest.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    header: HeaderName,
    keys: HashMap<[u8; 32], Entry, foldhash::fast::RandomState>,
    challenge: Arc<str>,
}

impl ApiKeys {
    /// Makes a method ready.
    ///
    /// # Errors
    /// When `header` is no header field name.
    pub fn new(ir: &ApiKeyIr) -> Result<Self, http::header::InvalidHeaderName> {
        let ApiKeyIr { name, header, keys } = ir;
        let header = HeaderName::from_bytes(header.as_bytes())?;
        let keys = keys.iter().map(|key| (key.sha256, entry(name, key))).collect();
        let challenge = format!("ApiKey header=\"{header}\"").into();
        Ok(Self { header, keys, challenge })
    }

    /// The header field that carries the key.
    #[must_use]
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The challenge (RFC 9110, 11.6.1) that says where a key belongs.
    #[must_use]
    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// Who shows this key.
    ///
    /// # Errors
    /// [`Reason::CredentialsInvalid`] for a key that nobody has, [`Reason::CredentialsExpired`] for one that
    /// is outside its time.
    pub fn verify(&self, key: &[u8], now_secs: i64) -> Result<Arc<Caller>, Refusal> {
        if key.len() > MAX_KEY_BYTES {
            return Err(self.refuse(Reason::CredentialsInvalid, "the API key is too long to be one"));
        }
        let sha256: Option<[u8; 32]> = digest(&SHA256, key).as_ref().try_into().ok();
        let Some(entry) = sha256.and_then(|sha256| self.keys.get(&sha256)) else {
            return Err(self.refuse(Reason::CredentialsInvalid, "the API key is unknown here"));
        };
        if entry.not_before_secs.is_some_and(|from| now_secs < from) {
            return Err(self.refuse(Reason::CredentialsExpired, "the API key is not valid yet"));
        }
        if entry.expires_at_secs.is_some_and(|until| now_secs >= until) {
            return Err(self.refuse(Reason::CredentialsExpired, "the API key has expired"));
        }
        Ok(Arc::clone(&entry.caller))
    }

    fn refuse(&self, reason: Reason, detail: &'static str) -> Refusal {
        Refusal::new(reason, detail).with(Extra::Challenge(self.challenge.to_string().into()))
    }
}

fn entry(method: &Arc<str>, key: &ApiKeyEntryIr) -> Entry {
    let ApiKeyEntryIr { id, prefix: _, sha256: _, not_before_secs, expires_at_secs, roles } = key;
    let caller = Caller {
        id: Arc::clone(id),
        method: Arc::clone(method),
        tenant: None,
        roles: roles.clone(),
        claims: Arc::new(Value::Null),
        forward: Vec::new(),
    };
    Entry { caller: Arc::new(caller), not_before_secs: *not_before_secs, expires_at_secs: *expires_at_secs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::generate;

    fn method() -> (ApiKeys, String) {
        let key = generate(&[7; super::super::KEY_RANDOM_BYTES]);
        let entry = ApiKeyEntryIr {
            id: "initech".into(),
            prefix: key.prefix.as_str().into(),
            sha256: key.sha256,
            not_before_secs: Some(100),
            expires_at_secs: Some(200),
            roles: vec!["partner".into()],
        };
        let ir = ApiKeyIr { name: "partners".into(), header: "x-api-key".into(), keys: vec![entry] };
        (ApiKeys::new(&ir).unwrap(), key.reveal().to_owned())
    }

    #[test]
    fn a_key_is_its_owners_within_its_time() {
        let (method, key) = method();
        let caller = method.verify(key.as_bytes(), 100).unwrap();
        assert_eq!((&*caller.id, &*caller.method), ("initech", "partners"));
        assert_eq!(caller.roles, [Arc::from("partner")]);
        let reason = |now| method.verify(key.as_bytes(), now).map_err(|refusal| refusal.reason);
        assert_eq!(reason(99).unwrap_err(), Reason::CredentialsExpired);
        assert!(reason(199).is_ok());
        assert_eq!(reason(200).unwrap_err(), Reason::CredentialsExpired);
    }

    #[test]
    fn a_key_that_is_not_whole_is_unknown_and_never_repeated() {
        let (method, key) = method();
        for wrong in [&key[..key.len() - 1], &key[..12], "", &"k".repeat(MAX_KEY_BYTES + 1)] {
            let refusal = method.verify(wrong.as_bytes(), 150).unwrap_err();
            assert_eq!(refusal.reason, Reason::CredentialsInvalid);
            assert!(wrong.is_empty() || !format!("{refusal:?}").contains(wrong));
        }
    }
}
