//! Last good, over pairs of an old and a new Route with one fault: no request passes that the current Route refuses.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on has failed")]

use std::net::IpAddr;

use http::{HeaderMap, Method};
use operator::compile::compile;
use operator::gather::files;
use policy::ip_allow::AddressRanges;
use policy::request::RequestHead;
use policy::route::{Matcher, Outcome, Place, RouteIr, RuleIr, last_good};
use policy::snapshot::{ObjectIr, ObjectState, Revision, Snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};

const HOSTS: [&str; 2] = ["api.acme.example", "www.acme.example"];
const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/c"];

/// A rule as a user means it.
#[derive(Clone, Debug)]
struct Written {
    path: usize,
    exact: bool,
    addresses: usize,
    backend: usize,
}

impl Written {
    fn value(&self) -> Value {
        let type_ = if self.exact { "Exact" } else { "PathPrefix" };
        let mut rule = json!({
            "matches": [{"path": {"type": type_, "value": PATHS[self.path]}}],
            "authentication": {"type": "None"},
            "backendRefs": [{"name": format!("svc-{}", self.backend), "port": 80}],
        });
        let ranges = ["192.0.2.0/24", "198.51.100.0/24"];
        if let Some(range) = ranges.get(self.addresses) {
            rule["addresses"] = json!({"allow": [range]});
        }
        rule
    }
}

fn written() -> impl Strategy<Value = Written> {
    (0..PATHS.len(), any::<bool>(), 0..3_usize, 0..3_usize).prop_map(|(path, exact, addresses, backend)| Written {
        path,
        exact,
        addresses,
        backend,
    })
}

fn rules() -> impl Strategy<Value = (Vec<Written>, usize)> {
    (prop::collection::vec(written(), 1..4), 0..3_usize)
}

/// A Route with its rules, on the first host, the second, or both.
fn route((rules, hosts): &(Vec<Written>, usize)) -> Value {
    let hostnames = [&HOSTS[..1], &HOSTS[1..], &HOSTS[..]][*hosts];
    let rules: Vec<Value> = rules.iter().map(Written::value).collect();
    json!({"hostnames": hostnames, "rules": rules})
}

/// Faults, one in one place.
const FAULTS: [(&str, Value); 14] = [
    ("timeouts", Value::Null),
    ("timeouts", Value::Bool(true)),
    ("retry", Value::Bool(true)),
    ("maxBodySize", Value::Bool(true)),
    ("backendRefs", Value::Bool(true)),
    ("missingBackend", Value::Null),
    ("name", Value::Bool(true)),
    ("adresses", Value::Null),
    ("cors", Value::Bool(true)),
    ("addresses", Value::Bool(true)),
    ("matches", Value::Bool(true)),
    ("badMatch", Value::Null),
    ("hostnames", Value::Bool(true)),
    ("rule", Value::Null),
];

/// Returns whether a fault leaves it known which requests each rule takes.
fn leaves_places((fault, _): &(&str, Value)) -> bool {
    !["matches", "badMatch", "hostnames", "rule"].contains(fault)
}

fn break_it(spec: &mut Value, (fault, value): &(&str, Value), at: usize) {
    let at = at % spec["rules"].as_array().unwrap().len();
    let rule = &mut spec["rules"][at];
    match (*fault, value) {
        ("timeouts", Value::Null) => rule["timeouts"] = json!({"request": "1s", "backendRequest": "5s"}),
        ("missingBackend", _) => rule["backendRefs"][0]["name"] = json!("nobody"),
        ("badMatch", _) => rule["matches"][0]["path"] = json!({"type": "RegularExpression", "value": "/a("}),
        ("adresses", _) => rule["adresses"] = json!({"allow": ["192.0.2.0/24"]}),
        ("hostnames", value) => spec["hostnames"] = value.clone(),
        ("rule", _) => *rule = json!(5),
        (name, value) => rule[name] = value.clone(),
    }
}

/// Returns the IR of a Route with this spec; `None` when it is broken.
fn sent(spec: &Value) -> Option<RouteIr> {
    let folder = tempfile::tempdir().unwrap();
    let api = "postern.dev/v1alpha1";
    let mut objects = vec![
        json!({"apiVersion": api, "kind": "Tenant", "metadata": {"name": "acme"},
            "spec": {"namespaces": {"names": ["acme"]}, "hostnames": HOSTS}}),
        json!({"apiVersion": api, "kind": "Route", "metadata": {"name": "r", "namespace": "acme"}, "spec": spec}),
    ];
    objects.extend((0..3).map(|n| {
        let name = format!("svc-{n}");
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "acme"},
            "spec": {"ports": [{"port": 80}]}})
    }));
    for (index, object) in objects.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{index}.yaml")), object.to_string()).unwrap();
    }
    let files = files::read(folder.path(), None).unwrap();
    let compiled = compile(&files.gathered, &Snapshot::default(), Revision::default());
    match &compiled.snapshot.tenants[0].objects[0].state {
        ObjectState::Broken => None,
        ObjectState::Compiled(blob) => match blob.decode().unwrap() {
            ObjectIr::Route(route) => Some(route),
            ObjectIr::WebhookSource(_) => panic!("a Route compiles to a Route"),
        },
    }
}

/// The rule that takes a request; `None` where the Route refuses, or is not concerned.
fn taken<'r>(route: &'r RouteIr, host: &str, path: &str, address: IpAddr) -> Option<&'r RuleIr> {
    let mut matcher = Matcher::default();
    let object = policy::names::ObjectRef::new(policy::names::Kind::Route, "acme", "r");
    let place = |index| Place { object: object.clone(), created_secs: 0, index, broken: false };
    for (index, rule) in route.rules.iter().enumerate() {
        for one in &rule.matches {
            matcher.add(&route.hostnames, one, &place(index), &Some(index)).unwrap();
        }
    }
    for (index, refused) in route.refused.iter().enumerate() {
        for one in &refused.matches {
            matcher.add(&refused.hostnames, one, &place(index), &None).unwrap();
        }
    }
    let (headers, method) = (HeaderMap::new(), Method::GET);
    let head = RequestHead { method: &method, host, path, query: None, headers: &headers, address };
    let Outcome::Matched(found) = matcher.find(&head) else { return None };
    let rule = &route.rules[(*found)?];
    let allowed = |ranges: &AddressRanges| ranges.check(address, || 0).is_ok();
    let addresses = rule.addresses.as_ref().map(|attached| AddressRanges::new(&attached.ir));
    (rule.broken_security.is_empty() && addresses.as_ref().is_none_or(allowed)).then_some(rule)
}

fn requests() -> impl Iterator<Item = (&'static str, &'static str, IpAddr)> {
    let addresses: [IpAddr; 3] = ["192.0.2.1", "198.51.100.1", "203.0.113.1"].map(|text| text.parse().unwrap());
    let paths = ["/", "/a", "/a/b", "/a/b/c", "/c", "/c/d", "/z"];
    HOSTS.into_iter().flat_map(move |host| {
        paths.into_iter().flat_map(move |path| addresses.into_iter().map(move |address| (host, path, address)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_passes_that_the_current_route_alone_refuses(
        old in rules(), new in rules(), fault in prop::sample::select(FAULTS.to_vec()), at in 0..3_usize, twice in any::<bool>(),
    ) {
        let last = sent(&route(&old)).unwrap();
        let sound = sent(&route(&new)).unwrap();
        let mut spec = route(&new);
        break_it(&mut spec, &fault, at);
        let current = sent(&spec);
        let run = |last: &RouteIr| match &current {
            Some(current) => last_good::join(current.clone(), Some(last), "acme").0,
            None => last_good::refusing(last),
        };
        let mut runs = run(&last);
        if twice {
            // What is kept is what was joined.
            runs = run(&runs);
        }
        for (host, path, address) in requests() {
            let passes = taken(&runs, host, path, address).filter(|rule| rule.broken_traffic.is_empty());
            let Some(rule) = passes else { continue };
            let alone = current.as_ref().and_then(|current| taken(current, host, path, address));
            prop_assert!(alone.is_some(), "{host}{path} from {address} passes, and the current Route refuses");
            if leaves_places(&fault) {
                let meant = taken(&sound, host, path, address);
                prop_assert!(meant.is_some(), "{host}{path} from {address} passes, and was not meant to");
            }
            let equal = |other: &&RuleIr| other.matches == rule.matches;
            let own = sound.rules.iter().filter(equal).chain(last.rules.iter().filter(equal));
            let leads = own.flat_map(|rule| &rule.backends).any(|backend| rule.backends.contains(backend));
            prop_assert!(leads, "{host}{path} is led by the rule of other matches");
        }
    }
}
