use std::net::{IpAddr, Ipv4Addr};

use super::*;

fn ir(origins: &[OriginIr]) -> CorsIr {
    CorsIr {
        allow_origins: origins.to_vec(),
        allow_methods: vec!["GET".into(), "PUT".into()],
        allow_headers: vec!["authorization".into()],
        expose_headers: vec!["x-request-id".into()],
        max_age_secs: 600,
        credentials: true,
    }
}

fn portal() -> CorsIr {
    ir(&[
        OriginIr::Exact("https://app.example".into()),
        OriginIr::Wildcard { scheme: "https".into(), suffix: "portal.example:8443".into() },
    ])
}

fn request(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().fold(HeaderMap::new(), |mut map, (name, value)| {
        map.append(*name, HeaderValue::from_str(value).unwrap());
        map
    })
}

fn preflight(cors: &Cors, origin: &str) -> Result<Option<HeaderMap>, Refusal> {
    let headers = request(&[("origin", origin), ("access-control-request-method", "PUT")]);
    let method = Method::OPTIONS;
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    cors.preflight(&RequestHead {
        method: &method,
        host: "api.example",
        path: "/",
        query: None,
        headers: &headers,
        address,
    })
}

#[test]
fn a_preflight_of_an_allowed_origin_is_told_what_it_may() {
    let answer = preflight(&Cors::new(&portal()), "https://app.example").unwrap().unwrap();
    assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
    assert_eq!(answer[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    assert_eq!(answer[ACCESS_CONTROL_ALLOW_METHODS], "GET, PUT");
    assert_eq!(answer[ACCESS_CONTROL_ALLOW_HEADERS], "authorization");
    assert_eq!(answer[ACCESS_CONTROL_MAX_AGE], "600");
    assert!(answer[VARY].to_str().unwrap().starts_with("origin"));
}

#[test]
fn a_wildcard_takes_whole_labels_of_its_own_scheme_and_port_only() {
    let cors = Cors::new(&portal());
    for allowed in ["https://a.portal.example:8443", "https://a.b.portal.example:8443"] {
        assert!(preflight(&cors, allowed).is_ok(), "{allowed}");
    }
    for denied in [
        "https://portal.example:8443",
        "https://.portal.example:8443",
        "https://evilportal.example:8443",
        "http://a.portal.example:8443",
        "https://a.portal.example",
        "https://evil.example/.portal.example:8443",
        "https://evil.example#.portal.example:8443",
        "https://user@a.portal.example:8443",
        "null",
        "",
    ] {
        assert_eq!(preflight(&cors, denied).unwrap_err().reason, Reason::OriginDenied, "{denied}");
    }
}

#[test]
fn the_null_origin_never_matches_a_list() {
    let cors = Cors::new(&ir(&[OriginIr::Exact("null".into())]));
    assert!(preflight(&cors, "null").is_err());
}

#[test]
fn any_origin_never_gets_credentials() {
    let cors = Cors::new(&ir(&[OriginIr::Any]));
    let mut answer = HeaderMap::new();
    cors.apply(&request(&[("origin", "https://anyone.example")]), &mut answer);
    assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    assert!(!answer.contains_key(VARY));
}

#[test]
fn an_answer_to_a_denied_origin_says_nothing_but_vary() {
    let mut answer = request(&[("access-control-allow-origin", "*"), ("vary", "accept-encoding")]);
    Cors::new(&portal()).apply(&request(&[("origin", "https://evil.example")]), &mut answer);
    assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    assert_eq!(answer.get_all(VARY).iter().count(), 2);
}

#[test]
fn the_gateway_replaces_what_the_upstream_said() {
    let mut answer = request(&[("access-control-allow-origin", "https://other.example"), ("vary", "Origin")]);
    Cors::new(&portal()).apply(&request(&[("origin", "https://app.example")]), &mut answer);
    assert_eq!(answer.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().count(), 1);
    assert_eq!(answer[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
    assert_eq!(answer[ACCESS_CONTROL_EXPOSE_HEADERS], "x-request-id");
    assert_eq!(answer.get_all(VARY).iter().count(), 1);
}

#[test]
fn two_origins_are_none() {
    let headers = request(&[("origin", "https://app.example"), ("origin", "https://app.example")]);
    let mut answer = HeaderMap::new();
    Cors::new(&portal()).apply(&headers, &mut answer);
    assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[test]
fn plain_options_is_no_preflight() {
    let headers = request(&[("origin", "https://app.example")]);
    let method = Method::OPTIONS;
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let head = RequestHead { method: &method, host: "api.example", path: "/", query: None, headers: &headers, address };
    assert!(Cors::new(&portal()).preflight(&head).unwrap().is_none());
}
