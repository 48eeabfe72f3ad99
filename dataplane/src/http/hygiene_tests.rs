use super::*;

fn headers(names: &[&str]) -> HeaderMap {
    names.iter().map(|name| (HeaderName::from_bytes(name.as_bytes()).unwrap(), "1".parse().unwrap())).collect()
}

fn left(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

fn stripped(names: &[&str], trusted: bool, rules: &FieldRules) -> Vec<String> {
    let mut map = headers(names);
    strip_unseen(&mut map, trusted, rules);
    strip_identity(&mut map, &[HeaderName::from_static("x-custom-claim")], trusted, rules);
    left(&map).into_iter().map(str::to_owned).collect()
}

const CERTIFICATES: [&str; 4] =
    ["x-forwarded-client-cert", "x-amzn-mtls-clientcert-subject", "client-cert-chain", "x-ssl-client-s-dn"];

#[test]
fn nobody_but_a_trusted_proxy_says_which_certificate_was_shown() {
    let mut map = headers(&CERTIFICATES);
    strip_unseen(&mut map, false, &FieldRules::default());
    assert_eq!(map.len(), 0);
    let mut map = headers(&CERTIFICATES);
    strip_unseen(&mut map, true, &FieldRules::default());
    strip_identity(&mut map, &[], true, &FieldRules::default());
    assert_eq!(map.len(), CERTIFICATES.len());
}

#[test]
fn identity_cannot_be_forged_by_anybody() {
    let forged = [
        "x-user-id",
        "x-postern-tenant",
        "x-custom-claim",
        "x-forwarded-groups",
        "x-forwarded-access-token",
        "x-auth-request-email",
        "x-remote-group",
        "remote-user",
        "x-consumer-username",
        "cf-access-jwt-assertion",
        "x-amzn-oidc-data",
        "x-ms-client-principal",
        "x-ms-client-principal-name",
        "impersonate-user",
        "x-rewrite-url",
        "x-original-uri",
        "x-goog-authenticated-user-email",
        "user",
        "roles",
        "proxy",
        "x-http-method-override",
    ];
    for trusted in [false, true] {
        assert_eq!(stripped(&forged, trusted, &FieldRules::default()), [""; 0], "{trusted}");
    }
    let usual = ["accept", "authorization", "user-agent", "x-api-key", "x-kept", "x-user-agent"];
    assert_eq!(stripped(&usual, false, &FieldRules::default()), usual);
}

#[test]
fn only_a_trusted_proxy_says_where_a_request_comes_from() {
    let fields = ["forwarded", "true-client-ip", "x-forwarded-port", "x-real-ip"];
    assert_eq!(stripped(&fields, false, &FieldRules::default()), [""; 0]);
    assert_eq!(stripped(&fields, true, &FieldRules::default()), fields);
}

#[test]
fn names_with_an_underscore_are_dropped() {
    let aliases = ["x_user_id", "x_forwarded_for", "x_amzn_mtls_clientcert_subject", "x-custom_claim", "any_name"];
    for trusted in [false, true] {
        assert_eq!(stripped(&aliases, trusted, &FieldRules::default()), [""; 0]);
    }
}

#[test]
fn an_installation_changes_the_lists_by_name() {
    let name = HeaderName::from_static;
    let rules = FieldRules {
        remove: vec!["X-Internal-*".parse().unwrap(), "x-debug".parse().unwrap()],
        keep: vec![name("any_name"), name("x-http-method-override")],
        from_trusted: vec![name("x-auth-request-user"), name("x-internal-zone")],
    };
    let fields = [
        "any_name",
        "x-auth-request-email",
        "x-auth-request-user",
        "x-custom-claim",
        "x-debug",
        "x-http-method-override",
        "x-internal-zone",
    ];
    assert_eq!(stripped(&fields, false, &rules), ["any_name", "x-http-method-override"]);
    let trusted = ["any_name", "x-auth-request-user", "x-http-method-override", "x-internal-zone"];
    assert_eq!(stripped(&fields, true, &rules), trusted);
    for wrong in ["", "*", "a b", "x-*-y"] {
        assert_eq!(wrong.parse::<Family>(), Err(FamilyError), "{wrong}");
    }
}
