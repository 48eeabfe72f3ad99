//! Origins as people write them to origins as browsers serialise them.

use std::sync::Arc;

use http::HeaderName;

use super::{CorsCredentials, CorsIr, CorsSpec, OriginIr};
use crate::names::Hostname;
use crate::problem::Problems;

/// What the Fetch standard lets a browser remember when nothing is said.
const DEFAULT_MAX_AGE_SECS: u32 = 5;

const ORIGIN_HELP: &str = "write an origin as browsers send it, such as https://app.example or http://localhost:3000; \
                           https://*.app.example takes all hosts below; * takes every origin";

/// The policy of a block; `None` when a problem was recorded.
pub fn compile(spec: &CorsSpec, mut problems: Problems<'_>) -> Option<CorsIr> {
    let CorsSpec { allow_origins, allow_methods, allow_headers, expose_headers, max_age, credentials, mode: _ } = spec;
    let before = problems.errors();
    let credentials = match credentials {
        CorsCredentials::Allow => true,
        CorsCredentials::Deny => false,
    };
    if allow_origins.is_empty() {
        problems.at("allowOrigins").invalid("is empty", ORIGIN_HELP);
    }
    let mut origins = Vec::with_capacity(allow_origins.len());
    for (index, text) in allow_origins.iter().enumerate() {
        let mut problems = problems.at("allowOrigins");
        match origin(text) {
            Some(OriginIr::Any) if credentials => problems.item(index).invalid(
                "* cannot go together with credentials: browsers refuse it, and it would trust every site",
                "name the origins, or write credentials: Deny",
            ),
            Some(origin) => origins.push(origin),
            None => problems.item(index).invalid(format!("{text:?} is no origin"), ORIGIN_HELP),
        }
    }
    let methods: Vec<Arc<str>> = match allow_methods.as_slice() {
        [] => ["GET", "HEAD", "POST"].map(Arc::from).to_vec(),
        methods => methods.iter().map(|method| Arc::from(method.as_str())).collect(),
    };
    let ir = CorsIr {
        allow_origins: origins,
        allow_methods: methods,
        allow_headers: fields(allow_headers, credentials, problems.at("allowHeaders")),
        expose_headers: fields(expose_headers, credentials, problems.at("exposeHeaders")),
        max_age_secs: max_age.unwrap_or(DEFAULT_MAX_AGE_SECS),
        credentials,
    };
    (problems.errors() == before).then_some(ir)
}

fn fields(names: &[String], credentials: bool, mut problems: Problems<'_>) -> Vec<Arc<str>> {
    let mut fields = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let mut problems = problems.item(index);
        if name == "*" && credentials {
            problems.invalid("* means nothing to a browser that sends credentials", "name the header fields");
        } else if HeaderName::from_bytes(name.as_bytes()).is_err() {
            problems.invalid(format!("{name:?} is no header field name"), "write letters, digits and '-'");
        } else {
            fields.push(Arc::from(name.to_ascii_lowercase()));
        }
    }
    fields
}

/// Scheme, host and port in the one way in which a browser writes them.
fn origin(text: &str) -> Option<OriginIr> {
    if text == "*" {
        return Some(OriginIr::Any);
    }
    let (scheme, rest) = text.split_once("://")?;
    let default_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
        Some(_) | None => (rest, None),
    };
    if let Some(port) = port {
        let number: u16 = port.parse().ok()?;
        if number == 0 || number == default_port || number.to_string() != port {
            return None;
        }
    }
    let with_port = |host: &str| port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    match Hostname::parse(host) {
        Ok(Hostname::Wildcard(suffix)) => {
            Some(OriginIr::Wildcard { scheme: scheme.into(), suffix: with_port(&suffix).into() })
        }
        Ok(Hostname::Exact(host)) => Some(OriginIr::Exact(format!("{scheme}://{}", with_port(&host)).into())),
        Err(_) => is_address(host).then(|| OriginIr::Exact(format!("{scheme}://{}", with_port(host)).into())),
    }
}

fn is_address(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match v6 {
        Some(text) => text.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.to_string() == text),
        None => host.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("cors", |spec: &CorsSpec, _, problems| compile(spec, problems));
        golden::check_page("cors", "/cors", |spec: &CorsSpec, _, problems| compile(spec, problems));
    }
}
