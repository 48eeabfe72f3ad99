use super::super::verify::tests::{good_token, ir, method};
use super::*;
use crate::jwt::{Algorithm, JwtIr, KeyMaterial};
use crate::names::TenantName;
use crate::secret::Secret;

/// The tokens of the tests expire 60 seconds after this.
const NOW: i64 = 1_800_000_000;

fn hs() -> JwtIr {
    ir(Algorithm::HS256)
}

#[test]
fn what_was_verified_is_found_again_until_it_expires() {
    let (mut cache, method, token) = (TokenCache::default(), method(&hs()), good_token(1));
    let first = cache.verify(&method, &token, NOW).unwrap();
    assert!(Arc::ptr_eq(&first, &cache.verify(&method, &token, NOW + 59).unwrap()));
    // Within the skew: verified anew, and not remembered.
    assert!(!Arc::ptr_eq(&first, &cache.verify(&method, &token, NOW + 60).unwrap()));
    assert!(cache.verify(&method, &token, NOW + 90).is_err());
}

#[test]
fn a_clock_that_went_back_remembers_nothing() {
    let (mut cache, method, token) = (TokenCache::default(), method(&hs()), good_token(1));
    let first = cache.verify(&method, &token, NOW).unwrap();
    assert!(!Arc::ptr_eq(&first, &cache.verify(&method, &token, NOW - 1).unwrap()));
}

#[test]
fn another_tenant_or_another_key_finds_nothing() {
    let (mut cache, token) = (TokenCache::default(), good_token(1));
    let first = cache.verify(&method(&hs()), &token, NOW).unwrap();
    let same = cache.verify(&method(&hs()), &token, NOW).unwrap();
    assert!(Arc::ptr_eq(&first, &same), "the same method, made ready again, finds what it verified");
    let other = JwtMethod::new(&TenantName::parse("globex").unwrap(), &hs()).unwrap();
    assert!(!Arc::ptr_eq(&first, &cache.verify(&other, &token, NOW).unwrap()));
    let mut revoked = hs();
    revoked.keys[0].material = KeyMaterial::Hmac(Secret::new(*b"another secret of thirty-two bytes.."));
    assert!(cache.verify(&method(&revoked), &token, NOW).is_err());
    let mut narrowed = hs();
    narrowed.audiences = vec!["other".into()];
    assert!(cache.verify(&method(&narrowed), &token, NOW).is_err());
}

#[test]
fn what_is_refused_is_not_remembered() {
    let (mut cache, method) = (TokenCache::default(), method(&hs()));
    assert!(cache.verify(&method, "e30.e30.c2ln", NOW).is_err());
    assert!(cache.verify(&method, &good_token(1)[1..], NOW).is_err());
    assert!(cache.is_empty());
}

#[test]
fn it_is_bounded_and_keeps_what_is_used() {
    let (mut cache, method, used) = (TokenCache::default(), method(&hs()), good_token(usize::MAX));
    let first = cache.verify(&method, &used, NOW).unwrap();
    for number in 0..MAX_CACHED_TOKENS + 50 {
        cache.verify(&method, &good_token(number), NOW).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.verify(&method, &used, NOW).unwrap()));
    }
    assert!(cache.len() <= MAX_CACHED_TOKENS && cache.bytes <= MAX_CACHED_TOKEN_BYTES);
    assert_eq!(cache.order.len(), cache.len());
    assert_eq!(cache.bytes, cache.entries.keys().map(|key| key.token.len()).sum::<usize>());
}
