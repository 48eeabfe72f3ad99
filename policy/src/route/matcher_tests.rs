//! The precedence of Gateway API, and one oracle that is too simple to be wrong.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::*;
use crate::names::Kind;

fn place(index: usize, created_secs: i64) -> Place {
    let object = ObjectRef::new(Kind::Route, "acme", format!("r{created_secs}"));
    Place { object, created_secs, index, broken: false }
}

fn on(path: PathMatchIr) -> MatchIr {
    MatchIr { path, methods: vec![], headers: vec![], query: vec![] }
}

fn prefix(path: &str) -> MatchIr {
    on(PathMatchIr::Prefix(path.into()))
}

fn exact(path: &str) -> MatchIr {
    on(PathMatchIr::Exact(path.into()))
}

fn named(name: &str, value: &str) -> NamedMatchIr {
    NamedMatchIr { name: name.into(), value: ValueMatchIr::Exact(value.into()) }
}

struct Ask {
    method: Method,
    host: &'static str,
    path: String,
    query: Option<&'static str>,
    headers: HeaderMap,
}

fn get(host: &'static str, path: &str) -> Ask {
    Ask { method: Method::GET, host, path: path.to_owned(), query: None, headers: HeaderMap::new() }
}

fn ask<'t>(matcher: &'t Matcher<&'static str>, ask: &Ask) -> Outcome<'t, &'static str> {
    matcher.find(&RequestHead {
        method: &ask.method,
        host: ask.host,
        path: &ask.path,
        query: ask.query,
        headers: &ask.headers,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    })
}

fn matcher(entries: &[(&str, MatchIr, i64, &'static str)]) -> Matcher<&'static str> {
    let mut matcher = Matcher::default();
    for (index, (host, ir, created, target)) in entries.iter().enumerate() {
        matcher.add(&[Hostname::parse(host).unwrap()], ir, &place(index, *created), target).unwrap();
    }
    matcher
}

#[test]
fn exact_goes_before_regex_before_longest_prefix() {
    let m = matcher(&[
        ("a.example", prefix("/"), 0, "root"),
        ("a.example", prefix("/v1"), 0, "v1"),
        ("a.example", on(PathMatchIr::Regex("/v1/[0-9]+".into())), 0, "number"),
        ("a.example", exact("/v1/7"), 0, "seven"),
    ]);
    assert_eq!(ask(&m, &get("a.example", "/v1/7")), Outcome::Matched(&"seven"));
    assert_eq!(ask(&m, &get("a.example", "/v1/8")), Outcome::Matched(&"number"));
    assert_eq!(ask(&m, &get("a.example", "/v1/x")), Outcome::Matched(&"v1"));
    assert_eq!(ask(&m, &get("a.example", "/v1/8/x")), Outcome::Matched(&"v1"));
    assert_eq!(ask(&m, &get("a.example", "/v2")), Outcome::Matched(&"root"));
}

#[test]
fn a_prefix_ends_at_a_segment() {
    let m = matcher(&[("a.example", prefix("/v1"), 0, "v1")]);
    assert_eq!(ask(&m, &get("a.example", "/v1")), Outcome::Matched(&"v1"));
    assert_eq!(ask(&m, &get("a.example", "/v1/")), Outcome::Matched(&"v1"));
    assert_eq!(ask(&m, &get("a.example", "/v1/x")), Outcome::Matched(&"v1"));
    assert_eq!(ask(&m, &get("a.example", "/v12")), Outcome::NotFound);
}

#[test]
fn the_more_specific_host_goes_first_and_falls_through() {
    let m = matcher(&[
        ("*.example", prefix("/"), 0, "all"),
        ("*.b.example", prefix("/x"), 0, "b"),
        ("a.b.example", prefix("/y"), 0, "ab"),
    ]);
    assert_eq!(ask(&m, &get("a.b.example", "/y")), Outcome::Matched(&"ab"));
    assert_eq!(ask(&m, &get("a.b.example", "/x")), Outcome::Matched(&"b"));
    assert_eq!(ask(&m, &get("a.b.example", "/z")), Outcome::Matched(&"all"));
    assert_eq!(ask(&m, &get("example", "/z")), Outcome::NotFound);
}

#[test]
fn more_conditions_go_before_fewer_and_older_before_newer() {
    let mut posts = prefix("/");
    posts.methods = vec!["POST".into()];
    let mut header = prefix("/");
    header.headers = vec![named("x-a", "1")];
    let mut query = prefix("/");
    query.query = vec![named("q", "a b")];
    let m = matcher(&[
        ("a.example", prefix("/"), 9, "newer"),
        ("a.example", prefix("/"), 3, "older"),
        ("a.example", query, 9, "query"),
        ("a.example", header, 9, "header"),
        ("a.example", posts, 9, "post"),
    ]);
    let mut request = get("a.example", "/");
    assert_eq!(ask(&m, &request), Outcome::Matched(&"older"));
    request.query = Some("q=a+b&q=c");
    assert_eq!(ask(&m, &request), Outcome::Matched(&"query"));
    request.headers.insert("x-a", "1".parse().unwrap());
    assert_eq!(ask(&m, &request), Outcome::Matched(&"header"));
    request.headers.append("x-a", "2".parse().unwrap());
    assert_eq!(ask(&m, &request), Outcome::Matched(&"query"), "a repeated header is one joined value");
    request.method = Method::POST;
    assert_eq!(ask(&m, &request), Outcome::Matched(&"post"));
}

#[test]
fn another_method_is_told_apart_from_nothing() {
    let mut ir = exact("/a");
    ir.methods = vec!["POST".into(), "GET".into()];
    let m = matcher(&[("a.example", ir, 0, "a")]);
    let mut request = get("a.example", "/a");
    request.method = Method::DELETE;
    assert_eq!(ask(&m, &request), Outcome::MethodNotAllowed(vec![&Method::GET, &Method::POST]));
    request.path = "/b".to_owned();
    assert_eq!(ask(&m, &request), Outcome::NotFound);
}

#[test]
fn a_broken_footprint_gives_way_at_the_same_path_only() {
    let mut m = matcher(&[("a.example", prefix("/"), 5, "root"), ("a.example", prefix("/v1"), 5, "v1")]);
    let host = [Hostname::parse("a.example").unwrap()];
    let broken = Place { broken: true, ..place(0, 1) };
    m.add(&host, &prefix("/v1"), &broken, &"broken").unwrap();
    m.add(&host, &prefix("/v2"), &broken, &"broken").unwrap();
    assert_eq!(ask(&m, &get("a.example", "/v1")), Outcome::Matched(&"v1"));
    assert_eq!(ask(&m, &get("a.example", "/v2")), Outcome::Matched(&"broken"));
}

#[test]
fn a_pattern_cannot_escape_its_anchors_or_take_all_memory() {
    assert!(whole(")|(").is_err());
    assert!(whole("((a{1,1000}){1,1000}){1,1000}").is_err());
    assert!(whole(&"a".repeat(2000)).is_err());
    assert!(whole("a|b").unwrap().is_match("b"));
    assert!(!whole("a|b").unwrap().is_match("ab"));
    assert!(!whole("(?m)a").unwrap().is_match("a\nb"));
}

proptest! {
    #[test]
    fn prefixes_agree_with_a_plain_search(
        prefixes in prop::collection::vec("(/[ab]{1,2}){1,4}", 1..12),
        path in "(/[ab]{1,2}){0,6}/?",
    ) {
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let mut m: Matcher<String> = Matcher::default();
        let host = [Hostname::parse("a.example").unwrap()];
        for (index, text) in prefixes.iter().enumerate() {
            m.add(&host, &prefix(text), &place(index, 0), text).unwrap();
        }
        let takes = |p: &&String| path.strip_prefix(p.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let longest = prefixes.iter().filter(takes).max_by_key(|p| p.len());
        let headers = HeaderMap::new();
        let head = RequestHead { method: &Method::GET, host: "a.example", path: &path, query: None, headers: &headers,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        match (m.find(&head), longest) {
            (Outcome::Matched(found), Some(wanted)) => prop_assert_eq!(found, wanted),
            (Outcome::NotFound, None) => {}
            (found, wanted) => prop_assert!(false, "{:?} against {:?}", found, wanted),
        }
    }
}

#[test]
fn a_match_takes_unusual_methods_only_when_it_names_them() {
    let named = MatchIr { methods: vec!["TRACE".into(), "PROPFIND".into(), "get".into()], ..prefix("/dav") };
    let m = matcher(&[("a.example", prefix("/"), 0, "any"), ("a.example", named, 0, "dav")]);
    for method in ["TRACE", "PROPFIND", "get", "GETS", "CONNECT"] {
        let request =
            |path: &str| Ask { method: Method::from_bytes(method.as_bytes()).unwrap(), ..get("a.example", path) };
        assert!(
            matches!(ask(&m, &request("/x")), Outcome::MethodNotAllowed(allowed) if allowed.len() == 7),
            "{method}"
        );
        let named = ["TRACE", "PROPFIND", "get"].contains(&method);
        assert_eq!(matches!(ask(&m, &request("/dav/x")), Outcome::Matched(&"dav")), named, "{method}");
    }
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let request = Ask { method: Method::from_bytes(method.as_bytes()).unwrap(), ..get("a.example", "/x") };
        assert_eq!(ask(&m, &request), Outcome::Matched(&"any"), "{method}");
    }
}
