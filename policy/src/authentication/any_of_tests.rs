use http::HeaderValue;

use super::*;
use crate::api_key::{ApiKeyEntryIr, ApiKeyIr, KEY_RANDOM_BYTES, generate};
use crate::jwt::Algorithm;
use crate::jwt::verify_tests::{good_token, ir};

const NOW: i64 = 1_800_000_000;

fn tenant() -> TenantName {
    TenantName::parse("acme").unwrap()
}

fn key() -> String {
    generate(&[3; KEY_RANDOM_BYTES]).reveal().to_owned()
}

fn api_keys() -> MethodIr {
    let key = generate(&[3; KEY_RANDOM_BYTES]);
    let entry = ApiKeyEntryIr {
        id: "initech".into(),
        prefix: key.prefix.as_str().into(),
        sha256: key.sha256,
        not_before_secs: None,
        expires_at_secs: None,
        roles: vec![],
    };
    MethodIr::ApiKey(ApiKeyIr { name: "partners".into(), header: "x-api-key".into(), keys: vec![entry] })
}

fn jwt() -> MethodIr {
    MethodIr::Jwt(ir(Algorithm::HS256))
}

fn request(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
        map.append(*name, HeaderValue::from_str(value).unwrap());
        map
    })
}

fn decide(methods: &[MethodIr], chosen: &[&str], fields: &[(&'static str, &str)]) -> Result<String, Reason> {
    let names = chosen.iter().map(|name| Arc::from(*name)).collect();
    let authenticator = Authenticator::new(&AuthenticationIr::AnyOf(names), &Methods::new(&tenant(), methods));
    let decided = authenticator.authenticate(&request(fields), &mut TokenCache::default(), NOW, &mut Costly::allowed());
    decided.map(|caller| caller.unwrap().id.to_string()).map_err(|refusal| refusal.reason)
}

fn token() -> String {
    format!("Bearer {}", good_token(1))
}

const BOTH: &[&str] = &["auth-service", "partners"];

#[test]
fn the_credential_that_is_there_decides_which_method_is_asked() {
    let methods = [jwt(), api_keys()];
    assert_eq!(decide(&methods, BOTH, &[("authorization", &token())]).unwrap(), "u-1");
    assert_eq!(decide(&methods, BOTH, &[("x-api-key", &key())]).unwrap(), "initech");
    assert_eq!(decide(&methods, BOTH, &[]), Err(Reason::CredentialsMissing));
    assert_eq!(decide(&methods, &["partners"], &[("authorization", &token())]), Err(Reason::CredentialsMissing));
    let lower = token().replace("Bearer", "bEARER");
    assert_eq!(decide(&methods, BOTH, &[("authorization", &lower)]).unwrap(), "u-1");
}

#[test]
fn of_two_credentials_both_must_hold_and_the_first_method_says_who() {
    let methods = [jwt(), api_keys()];
    let both = [("authorization", token()), ("x-api-key", key())];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(decide(&methods, BOTH, &both).unwrap(), "u-1");
    assert_eq!(decide(&methods, &["partners", "auth-service"], &both).unwrap(), "initech");
    let bad_key = [both[0], ("x-api-key", "pk_live_nobody")];
    assert_eq!(decide(&methods, BOTH, &bad_key), Err(Reason::CredentialsInvalid));
    let bad_token = [("authorization", "Bearer e30.e30.c2ln"), both[1]];
    assert_eq!(decide(&methods, BOTH, &bad_token), Err(Reason::CredentialsInvalid));
}

#[test]
fn the_tenant_of_a_second_credential_is_kept() {
    let methods = Methods::new(&tenant(), &[api_keys(), jwt()]);
    let chosen = AuthenticationIr::AnyOf(vec!["partners".into(), "auth-service".into()]);
    let headers = request(&[("authorization", &token()), ("x-api-key", &key())]);
    let decided = Authenticator::new(&chosen, &methods).authenticate(
        &headers,
        &mut TokenCache::default(),
        NOW,
        &mut Costly::allowed(),
    );
    let caller = decided.unwrap().unwrap();
    assert_eq!((&*caller.id, caller.tenant.as_deref()), ("initech", Some("acme")));
    let named = |tenant: &str| Arc::new(Caller { tenant: Some(tenant.into()), ..(*caller).clone() });
    assert_eq!(one(&named("acme"), &[named("globex")]).unwrap_err().reason, Reason::TenantMismatch);
    assert!(one(&named("acme"), &[named("acme")]).is_ok());
}

#[test]
fn a_field_that_stands_twice_is_refused_even_if_both_hold() {
    let methods = [jwt(), api_keys()];
    let twice = [("authorization", token()), ("authorization", token())];
    let twice = twice.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(decide(&methods, BOTH, &twice), Err(Reason::CredentialsInvalid));
    let twice = [("x-api-key", key()), ("x-api-key", key())];
    let twice = twice.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(decide(&methods, BOTH, &twice), Err(Reason::CredentialsInvalid));
}

#[test]
fn what_is_no_bearer_token_is_no_credential_and_an_empty_one_is_wrong() {
    for other in ["Basic dTpw", "Bearerx", "Bear", "BearerToken abc"] {
        assert_eq!(decide(&[jwt()], &["auth-service"], &[("authorization", other)]), Err(Reason::CredentialsMissing));
    }
    for empty in ["Bearer", "Bearer ", "Bearer    "] {
        assert_eq!(decide(&[jwt()], &["auth-service"], &[("authorization", empty)]), Err(Reason::CredentialsInvalid));
    }
}

#[test]
fn a_broken_method_stops_only_who_shows_nothing_else_that_holds() {
    let methods = [MethodIr::Broken("auth-service".into()), api_keys()];
    assert_eq!(decide(&methods, BOTH, &[("x-api-key", &key())]).unwrap(), "initech");
    assert_eq!(decide(&methods, BOTH, &[]), Err(Reason::PolicyBroken));
    assert_eq!(decide(&methods, BOTH, &[("authorization", &token())]), Err(Reason::PolicyBroken));
    assert_eq!(decide(&methods, &["partners"], &[]), Err(Reason::CredentialsMissing));
    assert_eq!(decide(&[api_keys()], &["gone"], &[]), Err(Reason::PolicyBroken));
    assert_eq!(
        decide(&methods, &[], &[("x-api-key", &key())]),
        Err(Reason::CredentialsMissing),
        "no method opens nothing"
    );
}

#[test]
fn a_method_that_cannot_be_made_ready_is_broken() {
    let mut ir = ir(Algorithm::HS256);
    ir.keys.clear();
    let methods = Methods::new(&tenant(), &[MethodIr::Jwt(ir)]);
    assert_eq!(methods.broken().map(|name| &**name).collect::<Vec<_>>(), ["auth-service"]);
}

#[test]
fn a_token_of_the_second_issuer_is_taken_by_its_method() {
    let mut first = ir(Algorithm::HS256);
    first.name = "other".into();
    first.issuer = "https://other.example".into();
    let methods = [MethodIr::Jwt(first), jwt()];
    assert_eq!(decide(&methods, &["other", "auth-service"], &[("authorization", &token())]).unwrap(), "u-1");
}

#[test]
fn a_missing_credential_is_told_every_way_once() {
    let methods = Methods::new(&tenant(), &[jwt(), api_keys()]);
    let chosen = AuthenticationIr::AnyOf(vec!["auth-service".into(), "partners".into()]);
    let decided = Authenticator::new(&chosen, &methods).authenticate(
        &HeaderMap::new(),
        &mut TokenCache::default(),
        NOW,
        &mut Costly::allowed(),
    );
    let ways = [Extra::Challenge("Bearer".into()), Extra::Challenge("ApiKey header=\"x-api-key\"".into())];
    assert_eq!(decided.unwrap_err().extras, ways);
}

#[test]
fn an_open_rule_has_nobody_and_the_fields_that_claims_travel_in_are_known() {
    let methods = Methods::new(&tenant(), &[jwt(), api_keys()]);
    let open = Authenticator::new(&AuthenticationIr::None, &methods);
    assert!(open.is_open());
    let headers = request(&[("authorization", "Bearer rubbish")]);
    assert_eq!(open.authenticate(&headers, &mut TokenCache::default(), NOW, &mut Costly::allowed()).unwrap(), None);
    assert_eq!(methods.forwarded_names().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-user-id"]);
}
