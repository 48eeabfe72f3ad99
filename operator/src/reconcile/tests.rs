use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::compile::compile;
use crate::gather::{Meta, Raw};
use policy::snapshot::{Revision, Snapshot};

pub(crate) fn raw(kind: Kind, namespace: &str, name: &str, value: Value) -> Raw {
    let labels = value["metadata"]["labels"].as_object().into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect();
    let object = ObjectRef::new(kind, namespace, name);
    let meta = Meta { uid: object.to_string().into(), object, created_secs: 0, generation: None, labels };
    Raw { meta, value }
}

fn tenant(name: &str, more: Value) -> Raw {
    let mut spec = json!({"namespaces": {"names": [name]}, "hostnames": [format!("{name}.example")]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    raw(Kind::Tenant, "", name, json!({"spec": spec}))
}

pub(crate) fn route(namespace: &str, name: &str, rule: Value) -> Raw {
    let mut whole = json!({"authentication": {"type": "None"}, "backendRefs": [{"name": "svc", "port": 80}]});
    whole.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    raw(Kind::Route, namespace, name, json!({"spec": {"rules": [whole]}}))
}

pub(crate) fn service(namespace: &str) -> Raw {
    raw(Kind::Service, namespace, "svc", json!({"spec": {"ports": [{"name": "http", "port": 80}]}}))
}

pub(crate) fn slice(namespace: &str, address: &str) -> Raw {
    let labels = json!({"labels": {"kubernetes.io/service-name": "svc"}});
    let value = json!({"metadata": labels, "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [address]}]});
    raw(Kind::EndpointSlice, namespace, "svc-1", value)
}

fn secret(namespace: &str, name: &str, value: &str) -> Raw {
    raw(Kind::Secret, namespace, name, json!({"stringData": {"key": value}}))
}

fn keys(namespace: &str, name: &str) -> Value {
    json!({"authentication": {"jwt": [{"name": "a", "issuer": "https://a", "audiences": ["b"], "algorithms": ["HS256"],
        "keys": {"secretRef": {"namespace": namespace, "name": name, "key": "key"}}}]}})
}

const KEY: &str = "a-shared-secret-that-is-long-enough-for-hs256";

fn names(delta: &Delta) -> Vec<&str> {
    delta.tenants.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_change_costs_its_own_tenant_only() {
    let mut world = World::default();
    for name in ["acme", "globex"] {
        world.apply(tenant(name, json!({})));
        world.apply(service(name));
        world.apply(route(name, "r", json!({})));
    }
    assert_eq!(names(&world.settle()), ["acme", "globex"]);
    world.apply(route("acme", "r", json!({"timeouts": {"request": "1s"}})));
    let delta = world.settle();
    assert_eq!((names(&delta), delta.judged.len(), delta.endpoints.len()), (vec!["acme"], 1, 0));
    world.apply(slice("globex", "10.0.0.1"));
    let delta = world.settle();
    assert_eq!((delta.tenants.len(), delta.judged.len(), delta.endpoints.len()), (0, 0, 1));
}

#[test]
fn a_secret_is_kept_only_while_it_is_named_and_nobody_is_compiled_without_it() {
    let mut world = World::default();
    world.apply(tenant("acme", json!({})));
    world.settle();
    world.apply(secret("acme", "token", KEY));
    assert!(world.gathered().secrets.is_empty(), "nobody names it");
    world.apply(tenant("acme", keys("acme", "token")));
    let delta = world.settle();
    assert!(delta.tenants.is_empty(), "the place was not read to its end");
    let place: Place = (Kind::Secret, "acme".into());
    assert_eq!(world.places(), [place.clone()].into());
    world.known(place.clone());
    let delta = world.settle();
    assert_eq!((delta.tenants.len(), delta.fetch.len()), (0, 1), "it is there, and has to be fetched");
    world.apply_fetched(secret("acme", "token", KEY));
    assert_eq!(names(&world.settle()), ["acme"]);
    world.apply(secret("acme", "token", &KEY.replace('a', "b")));
    assert_eq!(names(&world.settle()), ["acme"], "a rotated secret is a change of its tenant");
    world.apply(tenant("acme", json!({})));
    world.settle();
    assert!(world.gathered().secrets.is_empty() && world.places().is_empty());
}

#[test]
fn what_cannot_be_read_is_unknown_and_said() {
    let mut world = World::default();
    world.apply(tenant("acme", keys("acme", "token")));
    let place: Place = (Kind::Secret, "acme".into());
    world.unreadable(place.clone(), "forbidden".to_owned());
    let delta = world.settle();
    assert_eq!(delta.tenants.iter().map(|(_, snapshot)| snapshot.is_some()).collect::<Vec<_>>(), [false]);
    let acme = TenantName::parse("acme").unwrap();
    let problems = &world.tenant(&acme).unwrap().problems;
    assert!(problems.len() == 1 && problems[0].message.contains("forbidden"), "{problems:?}");
    world.apply(secret("acme", "token", KEY));
    world.known(place);
    assert!(world.settle().tenants.iter().all(|(_, snapshot)| snapshot.is_some()));
    assert!(world.tenant(&acme).unwrap().problems.is_empty());
}

#[test]
fn a_grant_that_goes_takes_the_reference_with_it() {
    let mut world = World::default();
    world.apply(tenant("acme", json!({"namespaces": {"names": ["acme"]}})));
    world.apply(service("shared"));
    world.apply(route("acme", "r", json!({"backendRefs": [{"name": "svc", "namespace": "shared", "port": 80}]})));
    world.settle();
    let acme = TenantName::parse("acme").unwrap();
    assert_eq!(world.tenant(&acme).unwrap().problems.len(), 1);
    let grant = || {
        let from = json!([{"group": "postern.dev", "kind": "Route", "namespace": "acme"}]);
        let spec = json!({"from": from, "to": [{"group": "", "kind": "Service"}]});
        raw(Kind::ReferenceGrant, "shared", "g", json!({"spec": spec}))
    };
    world.apply(grant());
    assert_eq!(names(&world.settle()), ["acme"]);
    assert!(world.tenant(&acme).unwrap().problems.is_empty());
    world.remove(&grant().meta.object);
    assert_eq!(names(&world.settle()), ["acme"]);
    assert_eq!(world.tenant(&acme).unwrap().problems.len(), 1);
}

#[test]
fn an_object_of_nobody_is_told_so_and_a_tenant_that_goes_is_removed() {
    let mut world = World::default();
    let orphan = route("acme", "r", json!({}));
    let object = orphan.meta.object.clone();
    world.apply(orphan);
    world.settle();
    assert!(world.homeless(&object).is_some());
    world.apply(tenant("acme", json!({})));
    world.settle();
    assert!(world.homeless(&object).is_none());
    world.remove(&ObjectRef::new(Kind::Tenant, "", "acme"));
    let delta = world.settle();
    assert_eq!(delta.removed.iter().map(TenantName::as_str).collect::<Vec<_>>(), ["acme"]);
    assert!(world.homeless(&object).is_some());
}

/// One step of a random history.
fn steps() -> impl Strategy<Value = (Raw, bool)> {
    let place = || prop::sample::select(vec!["acme", "globex", "shared"]);
    let rule = prop::sample::select(vec![
        json!({}),
        json!({"timeouts": {"request": "1s"}}),
        json!({"retry": {"attempts": "many"}}),
        json!({"backendRefs": [{"name": "svc", "namespace": "shared", "port": 80}]}),
    ]);
    let more = prop::sample::select(vec![
        json!({}),
        json!({"hostnames": ["acme.example", "x.example"]}),
        json!({"namespaces": {"names": ["acme", "shared"]}}),
        json!({"ceilings": {"maxBodySize": 5}}),
        json!({"namespaces": {"selector": {"matchLabels": {"team": "a"}}}}),
    ]);
    let grant = json!({"spec": {"from": [{"group": "postern.dev", "kind": "Route", "namespace": "acme"}],
        "to": [{"group": "", "kind": "Service"}]}});
    let labelled = json!({"metadata": {"labels": {"team": "a"}}});
    let objects = prop_oneof![
        (place(), more).prop_map(|(name, more)| tenant(name, more)),
        (place(), prop::sample::select(vec!["a", "b"]), rule).prop_map(|(at, name, rule)| route(at, name, rule)),
        place().prop_map(service),
        (place(), prop::sample::select(vec!["10.0.0.1", "10.0.0.2"])).prop_map(|(at, to)| slice(at, to)),
        place().prop_map(move |at| raw(Kind::ReferenceGrant, at, "g", grant.clone())),
        place().prop_map(move |name| raw(Kind::Namespace, "", name, labelled.clone())),
    ];
    (objects, prop::bool::weighted(0.7))
}

proptest! {
    #[test]
    fn a_change_at_a_time_ends_where_a_compile_of_everything_does(history in prop::collection::vec(steps(), 1..40)) {
        let (mut world, mut services) = (World::default(), BTreeMap::new());
        for (raw, there) in history {
            if there { world.apply(raw) } else { world.remove(&raw.meta.object) }
            let delta = world.settle();
            delta.removed.iter().for_each(|name| drop(services.remove(name)));
            services.extend(delta.services);
        }
        let mut settled = world.everything();
        settled.services.retain(|(name, needed)| !needed.is_empty() || services.contains_key(name));
        prop_assert_eq!(services.into_iter().collect::<Vec<_>>(), settled.services);
        let kept: Vec<_> = settled.tenants.iter().filter_map(|(_, snapshot)| snapshot.clone()).collect();
        // What a broken object keeps depends on what was; all else on what is.
        let previous = Snapshot { tenants: kept.clone(), endpoints: Vec::new() };
        let whole = compile(world.gathered(), &previous, Revision::default());
        prop_assert_eq!(kept, whole.snapshot.tenants);
        for endpoints in &whole.snapshot.endpoints {
            prop_assert!(settled.endpoints.contains(endpoints), "{:?} is missing", endpoints);
        }
        let mut problems: Vec<_> = world.tenants.values().flat_map(|one| one.problems.clone()).collect();
        problems.extend(world.homeless.values().cloned());
        problems.sort_by(|a, b| (&a.object, &a.field, &a.message).cmp(&(&b.object, &b.field, &b.message)));
        problems.dedup();
        let mut wanted = whole.problems;
        // An object of nobody is told that alone.
        wanted.retain(|problem| ["metadata.namespace", "spec.tenant"].contains(&&*problem.field) || !world.homeless.contains_key(&problem.object));
        prop_assert_eq!(problems, wanted);
    }
}
