//! Matches as people write them.

use std::sync::Arc;

use http::HeaderName;

use super::matcher::whole;
use super::{
    MatchIr, MatchSpec, NamedMatchIr, PathMatchIr, PathMatchSpec, PathMatchType, ValueMatchIr, ValueMatchSpec,
    ValueMatchType,
};
use crate::problem::Problems;

const REGEX_HELP: &str =
    "write a regular expression without look-around or back references; it is held against the whole text";

/// The matches of a rule that could be compiled, and whether one could not. None written means everything.
pub(super) fn compile(specs: &[MatchSpec], mut problems: Problems<'_>) -> (Vec<MatchIr>, bool) {
    if specs.is_empty() {
        let (path, methods, headers, query) = (PathMatchIr::Prefix("/".into()), vec![], vec![], vec![]);
        return (vec![MatchIr { path, methods, headers, query }], false);
    }
    let mut matches = Vec::with_capacity(specs.len());
    let mut broken = false;
    for (index, spec) in specs.iter().enumerate() {
        let before = problems.errors();
        let one = one(spec, problems.item(index));
        if problems.errors() == before {
            matches.push(one);
        } else {
            broken = true;
        }
    }
    (matches, broken)
}

fn one(spec: &MatchSpec, mut problems: Problems<'_>) -> MatchIr {
    let MatchSpec { path, methods, headers, query_params } = spec;
    MatchIr {
        path: match path {
            None => PathMatchIr::Prefix("/".into()),
            Some(spec) => path_match(spec, problems.at("path")),
        },
        methods: named_methods(methods, problems.at("methods")),
        headers: named(headers, true, problems.at("headers")),
        query: named(query_params, false, problems.at("queryParams")),
    }
}

fn named_methods(methods: &[String], mut problems: Problems<'_>) -> Vec<Arc<str>> {
    for (index, method) in methods.iter().enumerate() {
        let mut problems = problems.item(index);
        let upper = method.to_ascii_uppercase();
        let sound = method.starts_with(|c: char| c.is_ascii_alphabetic())
            && method.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !sound {
            problems.invalid(format!("{method:?} is not a method"), "write a method such as GET or PROPFIND");
        } else if upper == "CONNECT" {
            problems.warn("CONNECT is never taken", "leave it out");
        } else if upper != *method {
            problems.warn(
                format!("{method} is another method than {upper}: methods are compared with their case"),
                format!("write {upper}, unless callers really send {method}"),
            );
        }
    }
    methods.iter().map(|method| Arc::from(method.as_str())).collect()
}

fn path_match(spec: &PathMatchSpec, mut problems: Problems<'_>) -> PathMatchIr {
    let PathMatchSpec { type_, value } = spec;
    match type_ {
        PathMatchType::RegularExpression => {
            check_regex(value, problems.at("value"));
            PathMatchIr::Regex(value.as_str().into())
        }
        PathMatchType::Exact => {
            check_path(value, problems.at("value"));
            warn_of_parameters(value, problems.at("value"));
            PathMatchIr::Exact(value.as_str().into())
        }
        PathMatchType::PathPrefix => {
            check_path(value, problems.at("value"));
            warn_of_parameters(value, problems.at("value"));
            let prefix = match value.trim_end_matches('/') {
                "" => "/",
                prefix => prefix,
            };
            PathMatchIr::Prefix(prefix.into())
        }
    }
}

/// Requests with such a path are refused before matching, so a match on one could never hold.
fn check_path(path: &str, mut problems: Problems<'_>) {
    let lower = path.to_ascii_lowercase();
    let dots = path.split('/').any(|segment| segment == "." || segment == "..");
    if !path.starts_with('/') {
        problems.invalid(format!("{path:?} does not start with a slash"), format!("write /{path}"));
    } else if dots
        || path.contains("//")
        || lower.contains("%2f")
        || path.contains(['?', '#', '\\'])
        || !path.is_ascii()
    {
        problems.invalid(
            format!("{path:?} is no path that a request can have"),
            "leave out //, /./, /../, %2f, \\, ? and #, and write characters outside ASCII as %XX",
        );
    }
}

/// Warns of a path that no request can match by itself: all of its readings would have to lead to the same rule.
fn warn_of_parameters(path: &str, mut problems: Problems<'_>) {
    if path.contains(';') || path.to_ascii_lowercase().contains("%3b") {
        problems.warn(
            format!("{path:?} holds a semicolon, and requests with one are refused"),
            "match the path up to the semicolon, and allow it with paths: {allow: [Semicolon]}",
        );
    }
}

fn check_regex(pattern: &str, mut problems: Problems<'_>) {
    if let Err(error) = whole(pattern) {
        problems.invalid(format!("{pattern:?} is not taken: {error}"), REGEX_HELP);
    }
}

fn named(specs: &[ValueMatchSpec], headers: bool, mut problems: Problems<'_>) -> Vec<NamedMatchIr> {
    let mut named = Vec::with_capacity(specs.len());
    for (index, ValueMatchSpec { name, type_, value }) in specs.iter().enumerate() {
        let mut problems = problems.item(index);
        if headers && HeaderName::from_bytes(name.as_bytes()).is_err() {
            problems.at("name").invalid(format!("{name:?} is no header field name"), "write letters, digits and '-'");
        }
        let value = match type_ {
            ValueMatchType::Exact => ValueMatchIr::Exact(value.as_str().into()),
            ValueMatchType::RegularExpression => {
                check_regex(value, problems.at("value"));
                ValueMatchIr::Regex(value.as_str().into())
            }
        };
        let name = if headers { name.to_ascii_lowercase() } else { name.clone() };
        named.push(NamedMatchIr { name: name.into(), value });
    }
    named
}
