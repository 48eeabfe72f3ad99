//! Tokens that were verified, remembered by one core: no locks, and bounded in number and bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use ring::digest::{Context, SHA256};

use super::JwtMethod;
use super::verify::{Identity, Verified};
use crate::costly::Costly;
use crate::refusal::{Reason, Refusal};
use crate::request::Caller;

/// The most tokens that one core remembers.
pub const MAX_CACHED_TOKENS: usize = 4096;

/// The most bytes of tokens that one core remembers; their claims take a few times as much.
pub const MAX_CACHED_TOKEN_BYTES: usize = 1024 * 1024;

/// For how long a token is believed without looking at it again, however long it is good.
const MAX_AGE_SECS: i64 = 3600;

/// Keys are compared whole, so that a collision of hashes is no identity; the hash is seeded, so that
/// nobody can aim for one, or learn a token from how long a comparison takes.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    method: Identity,
    token: Box<str>,
}

#[derive(PartialEq, Eq, Hash)]
struct Wanted<'a> {
    method: &'a Identity,
    token: &'a str,
}

impl Equivalent<Arc<Key>> for Wanted<'_> {
    fn equivalent(&self, key: &Arc<Key>) -> bool {
        *self.method == key.method && *self.token == *key.token
    }
}

#[derive(Debug)]
struct Entry {
    caller: Arc<Caller>,
    /// A clock that goes back before this makes the entry unknown.
    since_secs: i64,
    until_secs: i64,
    /// Found since the eviction last came by.
    used: bool,
}

/// The most refused tokens that one core remembers.
const MAX_REFUSED_TOKENS: usize = 4096;

/// For how long a refused token is refused without looking at it again.
const REFUSED_SECS: i64 = 30;

/// A method's identity with a token, hashed: what is refused is not worth its bytes.
type RefusedKey = [u8; 32];

/// Tokens whose expensive verification failed.
#[derive(Debug, Default)]
struct RefusedTokens {
    entries: HashMap<RefusedKey, (i64, Refusal), foldhash::fast::RandomState>,
    /// In the order of arrival.
    order: VecDeque<RefusedKey>,
}

impl RefusedTokens {
    fn key(method: &JwtMethod, token: &str) -> RefusedKey {
        let mut hash = Context::new(&SHA256);
        hash.update(&method.identity);
        hash.update(token.as_bytes());
        let mut key = RefusedKey::default();
        key.copy_from_slice(hash.finish().as_ref());
        key
    }

    fn find(&self, key: &RefusedKey, now_secs: i64) -> Option<&Refusal> {
        let (since_secs, refusal) = self.entries.get(key)?;
        (*since_secs..since_secs + REFUSED_SECS).contains(&now_secs).then_some(refusal)
    }

    fn remember(&mut self, key: RefusedKey, refusal: &Refusal, now_secs: i64) {
        if self.entries.insert(key, (now_secs, refusal.clone())).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_REFUSED_TOKENS
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

/// Remembers which tokens hold, and for a moment those whose expensive verification failed. The two are apart, so that
/// rubbish displaces no token that holds. The methods' identities are part of the keys: another tenant, or another key
/// set, finds nothing.
#[derive(Debug, Default)]
pub struct TokenCache {
    refused: RefusedTokens,
    entries: HashMap<Arc<Key>, Entry, foldhash::fast::RandomState>,
    /// In the order of arrival; the eviction gives what was used another round.
    order: VecDeque<Arc<Key>>,
    bytes: usize,
}

impl TokenCache {
    /// Verifies a token, or remembers that it did.
    ///
    /// # Errors
    /// As [`JwtMethod::verify`], and the refusal of `costly`.
    pub fn verify(
        &mut self,
        method: &JwtMethod,
        token: &str,
        now_secs: i64,
        costly: &mut Costly,
    ) -> Result<Arc<Caller>, Refusal> {
        if let Some(entry) = self.entries.get_mut(&Wanted { method: &method.identity, token })
            && (entry.since_secs..entry.until_secs).contains(&now_secs)
        {
            entry.used = true;
            return Ok(Arc::clone(&entry.caller));
        }
        let verified = if method.is_asymmetric() {
            self.verify_costly(method, token, now_secs, costly)?
        } else {
            method.verify(token, now_secs)?
        };
        self.remember(method, token, &verified, now_secs);
        Ok(verified.caller)
    }

    fn verify_costly(
        &mut self,
        method: &JwtMethod,
        token: &str,
        now_secs: i64,
        costly: &mut Costly,
    ) -> Result<Verified, Refusal> {
        let key = RefusedTokens::key(method, token);
        if let Some(refusal) = self.refused.find(&key, now_secs) {
            return Err(refusal.clone());
        }
        costly.begin()?;
        let verified = method.verify(token, now_secs);
        // A token outside its time may come into it.
        if let Err(refusal) = &verified
            && refusal.reason == Reason::CredentialsInvalid
        {
            self.refused.remember(key, refusal, now_secs);
        }
        verified
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn remember(&mut self, method: &JwtMethod, token: &str, verified: &Verified, now: i64) {
        // Within the clock skew after its end a token still holds, but is looked at each time.
        let until_secs = verified.expires_secs.min(now.saturating_add(MAX_AGE_SECS));
        if until_secs <= now {
            return;
        }
        let entry = Entry { caller: Arc::clone(&verified.caller), since_secs: now, until_secs, used: false };
        if let Some(known) = self.entries.get_mut(&Wanted { method: &method.identity, token }) {
            *known = entry;
            return;
        }
        while self.entries.len() >= MAX_CACHED_TOKENS || self.bytes + token.len() > MAX_CACHED_TOKEN_BYTES {
            if !self.evict() {
                return;
            }
        }
        let key = Arc::new(Key { method: method.identity, token: token.into() });
        self.bytes += token.len();
        self.order.push_back(Arc::clone(&key));
        self.entries.insert(key, entry);
    }

    /// Takes out the oldest that was not used since last time; at most one round.
    fn evict(&mut self) -> bool {
        for _ in 0..=self.order.len() {
            let Some(key) = self.order.pop_front() else { return false };
            match self.entries.get_mut(&key) {
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.order.push_back(key);
                }
                Some(_) | None => {
                    self.bytes = self.bytes.saturating_sub(key.token.len());
                    self.entries.remove(&key);
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
