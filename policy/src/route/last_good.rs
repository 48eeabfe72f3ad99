//! Joins a Route with its last-good configuration.
//!
//! Security is always the current one; the last good supplies traffic parts only. Rules are joined by equal hostnames
//! and matches, never by name or index: a name says nothing about the requests that a rule takes, so the traffic part of
//! another rule would lead those requests to another rule's upstream.
//!
//! Where hostnames or matches are broken, nobody can say which requests the rule was meant for. The places of the last
//! good that no current rule has then refuse, so that a wider rule does not answer there in place of a stricter one.

use super::{MatchIr, RefusedIr, RouteIr, RuleIr};
use crate::names::Hostname;
use crate::snapshot::Applies;
use crate::upstream::UpstreamKey;

/// Returns the Route to run, and what of it applies. `namespace` is the Route's own.
#[must_use]
pub fn join(mut route: RouteIr, last: Option<&RouteIr>, namespace: &str) -> (RouteIr, Applies) {
    let mut applies = Applies::Current;
    let usable = last.filter(|last| same(&last.hostnames, &route.hostnames));
    for rule in route.rules.iter_mut().filter(|rule| !rule.broken_traffic.is_empty()) {
        let good = usable.and_then(|last| traffic_of(last, &rule.matches));
        let joined = good.is_some_and(|good| take_traffic(rule, good, namespace));
        applies = applies.max(if joined { Applies::LastGood } else { Applies::NotProgrammed });
    }

    if (route.broken_hostnames || route.broken_matches)
        && let Some(last) = last
    {
        route.refused = refused(&route, last);
        // What the last good did not know either stays unknown.
        route.broken_hostnames &= last.broken_hostnames;
        route.broken_matches &= last.broken_matches;
        applies = applies.max(Applies::LastGood);
    }
    (route, applies)
}

/// Returns the last-good Route of an object that cannot be read any more: all of its places refuse, and its traffic
/// parts stay for the time when the object can be read again.
#[must_use]
pub fn refusing(last: &RouteIr) -> RouteIr {
    let mut route = last.clone();
    for rule in &mut route.rules {
        rule.broken_security = vec!["spec".into()];
    }
    route
}

fn same<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.iter().all(|item| other.contains(item)) && other.iter().all(|item| one.contains(item))
}

fn traffic_of<'l>(last: &'l RouteIr, matches: &[MatchIr]) -> Option<&'l RuleIr> {
    let mut good = last.rules.iter().filter(|rule| rule.broken_traffic.is_empty());
    good.find(|rule| same(&rule.matches, matches))
}

/// Puts the traffic part of `good` into `rule`; whether that could be done. A Service of another namespace is used only
/// where the current rule names it too and so is granted now; of two bounds of a body the smaller holds.
fn take_traffic(rule: &mut RuleIr, good: &RuleIr, namespace: &str) -> bool {
    let RuleIr {
        // Inbound security, and what the rule is.
        name: _,
        matches: _,
        path_forms: _,
        credentials: _,
        broken_security: _,
        broken_traffic: _,
        addresses: _,
        cors: _,
        authentication: _,
        authorization: _,
        request_schema: _,
        // Traffic.
        security_headers,
        timeouts,
        retry,
        circuit_breaker,
        fallback,
        on_failure,
        max_body_size,
        backends,
    } = good;
    let granted = |upstream: &UpstreamKey| match upstream {
        UpstreamKey::Service(service) if *service.namespace != *namespace => {
            rule.backends.iter().any(|backend| backend.upstream == *upstream)
        }
        UpstreamKey::Service(_) | UpstreamKey::Url { .. } => true,
    };
    let backends: Vec<_> = backends.iter().filter(|backend| granted(&backend.upstream)).cloned().collect();
    if backends.is_empty() {
        return false;
    }

    rule.security_headers.clone_from(security_headers);
    rule.timeouts.clone_from(timeouts);
    rule.retry.clone_from(retry);
    rule.circuit_breaker.clone_from(circuit_breaker);
    rule.fallback.clone_from(fallback);
    rule.on_failure.clone_from(on_failure);
    rule.max_body_size = rule.max_body_size.min(*max_body_size);
    rule.backends = backends;
    rule.broken_traffic = Vec::new();
    true
}

/// The places of the last good that this Route lost without having said so.
fn refused(route: &RouteIr, last: &RouteIr) -> Vec<RefusedIr> {
    let rules = last.rules.iter().map(|rule| (&last.hostnames, &rule.matches));
    let before = last.refused.iter().map(|place| (&place.hostnames, &place.matches));
    let places: Vec<(&Vec<Hostname>, &Vec<MatchIr>)> = rules.chain(before).collect();
    let has = |one: &MatchIr| route.rules.iter().any(|rule| rule.matches.contains(one));
    let mut refused = Vec::new();

    if route.broken_hostnames {
        for (hostnames, matches) in &places {
            let lost = hostnames.iter().filter(|host| !route.hostnames.contains(host)).cloned().collect();
            refused.push(RefusedIr { hostnames: lost, matches: matches.to_vec() });
        }
    }
    if route.broken_matches {
        let mut lost: Vec<MatchIr> = Vec::new();
        for one in places.iter().flat_map(|(_, matches)| matches.iter()).filter(|one| !has(one)) {
            if !lost.contains(one) {
                lost.push(one.clone());
            }
        }
        refused.push(RefusedIr { hostnames: route.hostnames.clone(), matches: lost });
    }
    refused.retain(|place| !place.hostnames.is_empty() && !place.matches.is_empty());
    refused
}
