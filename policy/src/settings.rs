//! Every setting of every kind, with the class that decides what a broken one costs.
//!
//! The table is the only place that classifies settings. It decides which blocks of an object are read apart from the
//! others, and whether a problem makes its rule or source refuse, parks its deliveries, or leaves the traffic part of
//! the last-good configuration in force. A test walks the schemas of the CustomResourceDefinitions and fails for a
//! setting that has no row.

use crate::names::Kind;

/// The class of a setting: it decides the behaviour while the setting is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Who may send requests in, and what they mean: the rule or source refuses.
    InboundSecurity,
    /// How Postern proves itself to others, and where it may send: deliveries are parked, and a rule refuses.
    OutboundSecurity,
    /// Everything else: the traffic part of the last-good configuration stays in force.
    Traffic,
}

use Class::{InboundSecurity, OutboundSecurity, Traffic};

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The kind that has the setting.
    pub kind: Kind,
    /// Its path below `spec`; `[]` stands for the items of a list. A path that ends in `[]` says that an item that is
    /// broken leaves the other items good.
    pub name: &'static str,
    /// The class of the setting.
    pub class: Class,
}

const fn row(kind: Kind, name: &'static str, class: Class) -> Setting {
    Setting { kind, name, class }
}

/// The table. Of two rows that name a field, the longer one decides.
pub const SETTINGS: &[Setting] = &[
    row(Kind::Tenant, "namespaces", InboundSecurity),
    row(Kind::Tenant, "hostnames", InboundSecurity),
    row(Kind::Tenant, "identifiers", InboundSecurity),
    row(Kind::Tenant, "tls", InboundSecurity),
    row(Kind::Tenant, "ceilings", InboundSecurity),
    row(Kind::Tenant, "authentication", InboundSecurity),
    row(Kind::Tenant, "authentication.jwt[]", InboundSecurity),
    row(Kind::Tenant, "authentication.introspection[]", InboundSecurity),
    row(Kind::Tenant, "authentication.apiKeys[]", InboundSecurity),
    row(Kind::Tenant, "authentication.mutualTLS[]", InboundSecurity),
    row(Kind::Tenant, "addresses", InboundSecurity),
    row(Kind::Tenant, "cors", InboundSecurity),
    row(Kind::Tenant, "securityHeaders", Traffic),
    row(Kind::Tenant, "compression", Traffic),
    row(Kind::Tenant, "timeouts", Traffic),
    row(Kind::Tenant, "retry", Traffic),
    row(Kind::Tenant, "circuitBreaker", Traffic),
    row(Kind::Tenant, "fallback", Traffic),
    row(Kind::Tenant, "onFailure", Traffic),
    row(Kind::Tenant, "rollout", Traffic),
    row(Kind::Route, "tenant", InboundSecurity),
    row(Kind::Route, "hostnames", InboundSecurity),
    row(Kind::Route, "authentication", InboundSecurity),
    row(Kind::Route, "authorization", InboundSecurity),
    row(Kind::Route, "authorizationMode", InboundSecurity),
    row(Kind::Route, "addresses", InboundSecurity),
    row(Kind::Route, "cors", InboundSecurity),
    row(Kind::Route, "securityHeaders", Traffic),
    row(Kind::Route, "compression", Traffic),
    row(Kind::Route, "timeouts", Traffic),
    row(Kind::Route, "retry", Traffic),
    row(Kind::Route, "circuitBreaker", Traffic),
    row(Kind::Route, "fallback", Traffic),
    row(Kind::Route, "onFailure", Traffic),
    row(Kind::Route, "maxBodySize", Traffic),
    row(Kind::Route, "rules[].name", Traffic),
    row(Kind::Route, "rules[].matches", InboundSecurity),
    row(Kind::Route, "rules[].paths", InboundSecurity),
    row(Kind::Route, "rules[].authentication", InboundSecurity),
    row(Kind::Route, "rules[].authorization", InboundSecurity),
    row(Kind::Route, "rules[].authorizationMode", InboundSecurity),
    row(Kind::Route, "rules[].credentials", InboundSecurity),
    row(Kind::Route, "rules[].addresses", InboundSecurity),
    row(Kind::Route, "rules[].cors", InboundSecurity),
    row(Kind::Route, "rules[].securityHeaders", Traffic),
    row(Kind::Route, "rules[].compression", Traffic),
    row(Kind::Route, "rules[].timeouts", Traffic),
    row(Kind::Route, "rules[].retry", Traffic),
    row(Kind::Route, "rules[].circuitBreaker", Traffic),
    row(Kind::Route, "rules[].fallback", Traffic),
    row(Kind::Route, "rules[].onFailure", Traffic),
    row(Kind::Route, "rules[].maxBodySize", Traffic),
    row(Kind::Route, "rules[].requestSchema", InboundSecurity),
    row(Kind::Route, "rules[].requestTransform", Traffic),
    row(Kind::Route, "rules[].responseTransform", Traffic),
    row(Kind::Route, "rules[].backendRefs", Traffic),
    row(Kind::Route, "rules[].split", Traffic),
    row(Kind::RateLimitPolicy, "tenant", InboundSecurity),
    row(Kind::RateLimitPolicy, "targetRefs", InboundSecurity),
    row(Kind::RateLimitPolicy, "limits", InboundSecurity),
    row(Kind::RateLimitPolicy, "quotas", InboundSecurity),
    row(Kind::RateLimitPolicy, "whenUnavailable", InboundSecurity),
    row(Kind::RateLimitPolicy, "onExceeded", InboundSecurity),
    row(Kind::RateLimitPolicy, "mode", InboundSecurity),
    row(Kind::WebhookSource, "tenant", InboundSecurity),
    row(Kind::WebhookSource, "provider", InboundSecurity),
    row(Kind::WebhookSource, "match", InboundSecurity),
    row(Kind::WebhookSource, "verification", InboundSecurity),
    row(Kind::WebhookSource, "sourceAddresses", InboundSecurity),
    row(Kind::WebhookSource, "clientCertificate", InboundSecurity),
    row(Kind::WebhookSource, "replay", InboundSecurity),
    row(Kind::WebhookSource, "shared", InboundSecurity),
    row(Kind::WebhookSource, "sharedWith", InboundSecurity),
    row(Kind::WebhookSource, "unclaimed", Traffic),
    // The id of an event is what repeats are known by.
    row(Kind::WebhookSource, "event", InboundSecurity),
    row(Kind::WebhookSource, "sanitise", Traffic),
    row(Kind::WebhookSource, "schema", InboundSecurity),
    row(Kind::WebhookSource, "destination", Traffic),
    row(Kind::WebhookSource, "ordering", Traffic),
    row(Kind::WebhookSource, "dedupe", InboundSecurity),
    // What is left of the block when its other settings have been read apart.
    row(Kind::WebhookSource, "delivery", OutboundSecurity),
    row(Kind::WebhookSource, "delivery.timeout", Traffic),
    row(Kind::WebhookSource, "delivery.retry", Traffic),
    row(Kind::WebhookSource, "delivery.signWith", OutboundSecurity),
    row(Kind::WebhookSource, "deadLetter", Traffic),
    row(Kind::WebhookSource, "maxBodySize", Traffic),
    row(Kind::WebhookSource, "mode", InboundSecurity),
];

/// A setting of one object, found by the path of a field in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The path of the smallest part around the field that stands for itself: `spec.rules[0].retry`.
    pub path: String,
    /// What that part decides. A field that no row names may be a misspelt policy, and counts as inbound security.
    pub class: Class,
}

/// Returns the setting that a field belongs to, or `None` where the field is the object itself, all of its rules, or a
/// whole rule.
#[must_use]
pub fn block(kind: Kind, field: &str) -> Option<Block> {
    let parts: Vec<&str> = field.strip_prefix("spec.")?.split('.').collect();
    let rows = SETTINGS.iter().filter(|setting| setting.kind == kind);
    let found = rows.filter_map(|setting| Some((covered(setting.name, &parts)?, setting.class)));
    if let Some((path, class)) = found.max_by_key(|(path, _)| path.len()) {
        return Some(Block { path: format!("spec.{path}"), class });
    }

    // An unknown field stands for itself at the level where it was written.
    let name = match (kind, parts.as_slice()) {
        (Kind::Route, [rule, name, ..]) if rule.starts_with("rules[") => format!("{rule}.{}", bare(name)),
        (Kind::Route, [name, ..]) if bare(name) == "rules" => return None,
        (_, [name, ..]) => bare(name).to_owned(),
        (_, []) => return None,
    };
    Some(Block { path: format!("spec.{name}"), class: InboundSecurity })
}

/// The path of a setting in an object when the parts lie in it.
fn covered(name: &str, parts: &[&str]) -> Option<String> {
    let mut path = Vec::new();
    for (wanted, part) in name.split('.').zip(parts.iter().map(Some).chain(std::iter::repeat(None))) {
        let part = part?;
        match wanted.strip_suffix("[]") {
            Some(wanted) if bare(part) == wanted && part.ends_with(']') => path.push(*part),
            None if bare(part) == wanted => path.push(bare(part)),
            Some(_) | None => return None,
        }
    }
    // A part with an index that is not the last would lose the index.
    Some(path.join("."))
}

/// The name without an index: `authorization[2]` is `authorization`.
fn bare(part: &str) -> &str {
    part.split('[').next().unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn found(kind: Kind, field: &str) -> Option<(String, Class)> {
        block(kind, field).map(|block| (block.path, block.class))
    }

    #[test]
    fn a_field_belongs_to_the_smallest_setting_around_it_and_an_unknown_one_is_security() {
        let some = |path: &str, class| Some((path.to_owned(), class));
        let route = |field| found(Kind::Route, field);
        assert_eq!(route("spec.rules[0].retry.codes[1]"), some("spec.rules[0].retry", Traffic));
        assert_eq!(route("spec.rules[3].authorization[2].role"), some("spec.rules[3].authorization", InboundSecurity));
        assert_eq!(route("spec.rules[0].adresses.allow"), some("spec.rules[0].adresses", InboundSecurity));
        assert_eq!(route("spec.corss"), some("spec.corss", InboundSecurity));
        assert_eq!((route("spec.rules"), route("spec.rules[1]"), route("spec")), (None, None, None));
        let source = |field| found(Kind::WebhookSource, field);
        assert_eq!(source("spec.delivery.retry.backoff"), some("spec.delivery.retry", Traffic));
        assert_eq!(source("spec.delivery.signsWith"), some("spec.delivery", OutboundSecurity));
        let tenant = |field| found(Kind::Tenant, field);
        assert_eq!(tenant("spec.authentication.jwt[1].keys"), some("spec.authentication.jwt[1]", InboundSecurity));
        assert_eq!(tenant("spec.authentication.jwt"), some("spec.authentication", InboundSecurity));
    }

    #[test]
    fn every_setting_of_the_schemas_has_a_class_and_every_row_is_a_setting() {
        let mut settings = Vec::new();
        for definition in crate::crd::all().unwrap() {
            let kind = definition.body.pointer("/spec/names/kind").and_then(Value::as_str).unwrap().to_owned();
            let spec = definition.body.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
            let names = spec["properties"].as_object().unwrap();
            settings.extend(names.keys().filter(|name| *name != "rules").map(|name| (kind.clone(), name.clone())));
            let rules = spec.pointer("/properties/rules/items/properties").and_then(Value::as_object);
            settings.extend(
                rules.into_iter().flat_map(|map| map.keys().map(|name| (kind.clone(), format!("rules[].{name}")))),
            );
        }
        let row = |kind: &str, name: &str| SETTINGS.iter().any(|row| row.kind.to_string() == kind && row.name == name);
        let missing: Vec<_> = settings.iter().filter(|(kind, name)| !row(kind, name)).collect();
        assert!(missing.is_empty(), "give each a class in policy/src/settings.rs: {missing:?}");
        let schema = |row: &&Setting| {
            let first: String = row.name.split('.').next().unwrap().to_owned();
            let known = |name: &str| settings.contains(&(row.kind.to_string(), name.to_owned()));
            !known(row.name) && !known(&first)
        };
        let stale: Vec<_> = SETTINGS.iter().filter(schema).map(|row| (row.kind, row.name)).collect();
        assert!(stale.is_empty(), "no schema has these: {stale:?}");
    }
}
