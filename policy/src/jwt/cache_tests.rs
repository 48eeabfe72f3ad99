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
    let first = cache.verify(&method, &token, NOW, &mut Costly::allowed()).unwrap();
    assert!(Arc::ptr_eq(&first, &cache.verify(&method, &token, NOW + 59, &mut Costly::allowed()).unwrap()));
    // Within the skew: verified anew, and not remembered.
    assert!(!Arc::ptr_eq(&first, &cache.verify(&method, &token, NOW + 60, &mut Costly::allowed()).unwrap()));
    assert!(cache.verify(&method, &token, NOW + 90, &mut Costly::allowed()).is_err());
}

#[test]
fn a_clock_that_went_back_remembers_nothing() {
    let (mut cache, method, token) = (TokenCache::default(), method(&hs()), good_token(1));
    let first = cache.verify(&method, &token, NOW, &mut Costly::allowed()).unwrap();
    assert!(!Arc::ptr_eq(&first, &cache.verify(&method, &token, NOW - 1, &mut Costly::allowed()).unwrap()));
}

#[test]
fn another_tenant_or_another_key_finds_nothing() {
    let (mut cache, token) = (TokenCache::default(), good_token(1));
    let first = cache.verify(&method(&hs()), &token, NOW, &mut Costly::allowed()).unwrap();
    let same = cache.verify(&method(&hs()), &token, NOW, &mut Costly::allowed()).unwrap();
    assert!(Arc::ptr_eq(&first, &same), "the same method, made ready again, finds what it verified");
    let other = JwtMethod::new(&TenantName::parse("globex").unwrap(), &hs()).unwrap();
    assert!(!Arc::ptr_eq(&first, &cache.verify(&other, &token, NOW, &mut Costly::allowed()).unwrap()));
    let mut revoked = hs();
    revoked.keys[0].material = KeyMaterial::Hmac(Secret::new(*b"another secret of thirty-two bytes.."));
    assert!(cache.verify(&method(&revoked), &token, NOW, &mut Costly::allowed()).is_err());
    let mut narrowed = hs();
    narrowed.audiences = vec!["other".into()];
    assert!(cache.verify(&method(&narrowed), &token, NOW, &mut Costly::allowed()).is_err());
}

#[test]
fn what_is_refused_is_not_remembered() {
    let (mut cache, method) = (TokenCache::default(), method(&hs()));
    assert!(cache.verify(&method, "e30.e30.c2ln", NOW, &mut Costly::allowed()).is_err());
    assert!(cache.verify(&method, &good_token(1)[1..], NOW, &mut Costly::allowed()).is_err());
    assert!(cache.is_empty());
}

#[test]
fn refused_token_needs_no_second_expensive_check_for_half_a_minute() {
    let (mut cache, method) = (TokenCache::default(), method(&ir(Algorithm::ES256)));
    let spent = || Costly::spent(Refusal::new(Reason::TooManyFailures, "spent"));
    let mut asked = |token: &str, now_secs: i64, costly: &mut Costly| {
        cache.verify(&method, token, now_secs, costly).unwrap_err().reason
    };
    let (bad, other) = ("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "eyJhbGciOiJFUzI1NiJ9.e30.c2lo");
    assert_eq!(asked(bad, NOW, &mut spent()), Reason::TooManyFailures);
    let mut costly = Costly::allowed();
    assert_eq!(asked(bad, NOW, &mut costly), Reason::CredentialsInvalid);
    assert!(costly.begun());
    assert_eq!(asked(bad, NOW + 29, &mut spent()), Reason::CredentialsInvalid, "remembered");
    assert_eq!(asked(other, NOW, &mut spent()), Reason::TooManyFailures, "another one is not");
    assert_eq!(asked(bad, NOW + 30, &mut spent()), Reason::TooManyFailures);
}

#[test]
fn shared_secret_is_checked_whatever_failed_before() {
    let mut costly = Costly::spent(Refusal::new(Reason::TooManyFailures, "spent"));
    assert!(TokenCache::default().verify(&method(&hs()), &good_token(1), NOW, &mut costly).is_ok());
}

#[test]
fn it_is_bounded_and_keeps_what_is_used() {
    let (mut cache, method, used) = (TokenCache::default(), method(&hs()), good_token(usize::MAX));
    let first = cache.verify(&method, &used, NOW, &mut Costly::allowed()).unwrap();
    for number in 0..MAX_CACHED_TOKENS + 50 {
        cache.verify(&method, &good_token(number), NOW, &mut Costly::allowed()).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.verify(&method, &used, NOW, &mut Costly::allowed()).unwrap()));
    }
    assert!(cache.len() <= MAX_CACHED_TOKENS && cache.bytes <= MAX_CACHED_TOKEN_BYTES);
    assert_eq!(cache.order.len(), cache.len());
    assert_eq!(cache.bytes, cache.entries.keys().map(|key| key.token.len()).sum::<usize>());
}
