//! Where an object would answer, read from what was written, however broken.

use std::sync::Arc;

use policy::names::Hostname;
use policy::snapshot::Footprint;
use serde_json::Value;

use crate::resolve::texts;

/// A Route's hosts and paths. Hosts that its tenant does not hold are none of its business.
#[must_use]
pub fn of_route(value: &Value, held: &[Hostname]) -> Footprint {
    let mut written = texts(value, "/spec/hostnames").peekable();
    let hostnames = if written.peek().is_none() {
        held.to_vec()
    } else {
        let hosts = written.filter_map(|text| Hostname::parse(text).ok());
        hosts.filter(|host| held.iter().any(|claim| claim.covers(host))).collect()
    };
    let rules = value.pointer("/spec/rules").and_then(Value::as_array);
    let paths: Option<Vec<Arc<str>>> = rules.and_then(|rules| {
        let of_rule = |rule: &Value| -> Option<Vec<Arc<str>>> {
            let matches = rule.get("matches")?.as_array().filter(|matches| !matches.is_empty())?;
            matches.iter().map(prefix).collect()
        };
        Some(rules.iter().map(of_rule).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
    });
    // One match whose path cannot be told makes it all paths.
    let mut paths = paths.unwrap_or_default();
    paths.sort_unstable();
    paths.dedup();
    Footprint { hostnames, paths }
}

/// A WebhookSource's hosts and path; one that is verified elsewhere (`shared`) answers nowhere.
#[must_use]
pub fn of_source(value: &Value, held: &[Hostname]) -> Footprint {
    let path = value.pointer("/spec/match/path").and_then(Value::as_str);
    let mut written = texts(value, "/spec/match/hostnames").peekable();
    let hostnames = if path.is_some() && written.peek().is_none() {
        held.to_vec()
    } else {
        let hosts = written.filter_map(|text| Hostname::parse(text).ok());
        hosts.filter(|host| held.iter().any(|claim| claim.covers(host))).collect()
    };
    Footprint { hostnames, paths: path.into_iter().map(Arc::from).collect() }
}

fn prefix(one: &Value) -> Option<Arc<str>> {
    let path = one.get("path")?;
    let value = path.get("value")?.as_str()?;
    let known = match path.get("type").and_then(Value::as_str).unwrap_or("PathPrefix") {
        "Exact" => value,
        "PathPrefix" => value.trim_end_matches('/'),
        _ => return None,
    };
    (known.starts_with('/')).then(|| known.into())
}
