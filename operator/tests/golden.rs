//! Golden files: what is given, and what it compiles to or why it is refused.
//!
//! A case has `rule` (its name), `given` (objects; `base` adds a Tenant, a Service and a Secret), `refused` (every
//! problem, by the start of its text) and `compiled` (a part of what comes out: maps may leave keys out, lists
//! may not leave items out).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};

use operator::compile::{Compiled, compile};
use operator::gather::{files, yaml};
use policy::snapshot::{ObjectIr, ObjectState, Revision, Snapshot};
use serde_json::{Map, Value, json};

fn base() -> Vec<Value> {
    let tenant = json!({"kind": "Tenant", "metadata": {"name": "acme", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"namespaces": {"names": ["acme"]}, "hostnames": ["api.acme.example", "*.portal.acme.example"],
            "authentication": {"apiKeys": [{"name": "keys", "secretSelector":
                {"namespace": "acme", "matchLabels": {"key": "yes"}}}]}}});
    let service = json!({"kind": "Service", "metadata": {"name": "svc", "namespace": "acme"},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
    vec![tenant, service]
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "Tenant" | "Route" | "RateLimitPolicy" | "WebhookSource" => "postern.dev/v1alpha1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "ReferenceGrant" => "gateway.networking.k8s.io/v1beta1",
        _ => "v1",
    }
}

fn compiled_from(objects: &[Value], previous: &Snapshot, n: u64) -> (Compiled, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    for (index, object) in objects.iter().enumerate() {
        let mut object = object.clone();
        let kind = object["kind"].as_str().unwrap().to_owned();
        object.as_object_mut().unwrap().entry("apiVersion").or_insert_with(|| json!(api_version(&kind)));
        std::fs::write(dir.path().join(format!("{index:03}.yaml")), object.to_string()).unwrap();
    }
    let files = files::read(dir.path(), None).unwrap();
    let compiled = compile(&files.gathered, previous, Revision { term: 1, n });
    let of_files = files.problems.iter().map(|problem| format!("file: {}", problem.message));
    let of_objects = compiled.problems.iter().map(|p| format!("{}: {}: {}", p.object, p.field, p.message));
    let problems = of_files.chain(of_objects).collect();
    (compiled, problems)
}

/// What came out, as a value that a golden file can be held against.
fn shown(snapshot: &Snapshot) -> Value {
    let mut all = Map::new();
    for tenant in &snapshot.tenants {
        let mut objects = Map::new();
        for entry in &tenant.objects {
            let state = match &entry.state {
                ObjectState::Broken => json!({"broken": entry.footprint}),
                ObjectState::Compiled(blob) => match blob.decode::<ObjectIr>().unwrap() {
                    ObjectIr::Route(route) => serde_json::to_value(route).unwrap(),
                    ObjectIr::WebhookSource(source) => serde_json::to_value(source).unwrap(),
                },
            };
            objects.insert(entry.object.to_string(), state);
        }
        let shown = json!({"base": tenant.base, "limits": tenant.rate_limits, "objects": objects});
        all.insert(tenant.tenant.to_string(), shown);
    }
    json!({"tenants": all, "endpoints": snapshot.endpoints})
}

/// Whether `whole` holds all that `part` says; the path of the first difference when not.
fn differs(path: &str, part: &Value, whole: &Value) -> Option<String> {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part
            .iter()
            .find_map(|(key, value)| differs(&format!("{path}.{key}"), value, whole.get(key).unwrap_or(&Value::Null))),
        (Value::Array(part), Value::Array(whole)) if part.len() == whole.len() => part
            .iter()
            .zip(whole)
            .enumerate()
            .find_map(|(index, (part, whole))| differs(&format!("{path}[{index}]"), part, whole)),
        (part, whole) if part == whole => None,
        (part, whole) => Some(format!("{path}: wanted {part}, got {whole}")),
    }
}

fn run(file: &Path, case: &Value) -> Vec<String> {
    let rule = case["rule"].as_str().unwrap();
    let mut objects = if case["base"] == json!("None") { Vec::new() } else { base() };
    objects.extend(case["given"].as_array().into_iter().flatten().cloned());
    let (compiled, mut problems) = compiled_from(&objects, &Snapshot::default(), 1);
    // Every rule that takes keys and does not write `credentials` is warned of; the cases are about other rules.
    problems.retain(|problem| !problem.contains(".credentials: is not written"));
    let mut wrong = Vec::new();
    let mut fail = |what: String| wrong.push(format!("{}: {rule}: {what}", file.display()));
    let refused: Vec<&str> =
        case["refused"].as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect();
    let same =
        refused.len() == problems.len() && refused.iter().zip(&problems).all(|(want, got)| got.starts_with(want));
    if !same {
        fail(format!("problems are\n  {}", problems.join("\n  ")));
    }
    if let Some(difference) =
        differs("compiled", &case["compiled"], &shown(&compiled.snapshot)).filter(|_| !case["compiled"].is_null())
    {
        fail(difference);
    }
    objects.reverse();
    let (again, _) = compiled_from(&objects, &Snapshot::default(), 1);
    if again.snapshot != compiled.snapshot {
        fail("depends on the order of the objects".to_owned());
    }
    wrong
}

#[test]
fn every_golden_case_compiles_or_is_refused_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/golden");
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for document in yaml::documents(&text).unwrap() {
            assert!(document.faults.is_empty(), "{}: {:?}", path.display(), document.faults);
            for case in document.value.as_array().unwrap() {
                cases += 1;
                wrong.extend(run(&path, case));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(cases > 20, "only {cases} cases were found");
}

fn route(rule: Value) -> Value {
    json!({"kind": "Route", "metadata": {"name": "r", "namespace": "acme"}, "spec": {"rules": [rule]}})
}

fn good_rule() -> Value {
    json!({"backendRefs": [{"name": "svc", "port": 80}]})
}

#[test]
fn what_did_not_change_keeps_its_revision() {
    let mut objects = base();
    objects.push(route(good_rule()));
    let (first, _) = compiled_from(&objects, &Snapshot::default(), 1);
    let (second, _) = compiled_from(&objects, &first.snapshot, 2);
    assert_eq!(second.snapshot.tenants[0].revision, Revision { term: 1, n: 1 });
    objects[2]["spec"]["rules"][0]["timeouts"] = json!({"request": "1s"});
    let (third, _) = compiled_from(&objects, &second.snapshot, 3);
    assert_eq!(third.snapshot.tenants[0].revision, Revision { term: 1, n: 3 });
}

#[test]
fn a_tenant_that_cannot_be_read_keeps_everything_in_force() {
    let mut objects = base();
    objects.push(route(good_rule()));
    let (first, _) = compiled_from(&objects, &Snapshot::default(), 1);
    objects[0]["spec"]["hostnames"] = json!("api.acme.example");
    let (second, problems) = compiled_from(&objects, &first.snapshot, 2);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(second.kept.len(), 1);
    assert_eq!(second.snapshot, first.snapshot);
}

#[test]
fn a_broken_limit_refuses_what_it_limits_and_a_deleted_one_goes() {
    let limit = json!({"kind": "RateLimitPolicy", "metadata": {"name": "l", "namespace": "acme"}, "spec":
        {"targetRefs": [{"kind": "Tenant", "name": "acme"}],
         "limits": [{"name": "all", "per": "Tenant", "requests": 5, "window": "1s"}]}});
    let mut objects = base();
    objects.push(limit);
    let (first, _) = compiled_from(&objects, &Snapshot::default(), 1);
    objects[2]["spec"]["limits"][0]["window"] = json!("soon");
    let (second, problems) = compiled_from(&objects, &first.snapshot, 2);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let limits = &second.snapshot.tenants[0].rate_limits;
    let refuses: Vec<_> = limits[0].refuses().collect();
    assert_eq!(refuses, ["RateLimitPolicy acme/l: spec.limits[0].window".into()]);
    assert_eq!(limits[0].targets, first.snapshot.tenants[0].rate_limits[0].targets);
    objects.pop();
    let (third, _) = compiled_from(&objects, &second.snapshot, 3);
    assert!(third.snapshot.tenants[0].rate_limits.is_empty());
}

#[test]
fn a_part_of_the_tenant_that_bounds_everything_refuses_everything_while_it_cannot_be_read() {
    let mut objects = base();
    objects[0]["spec"]["ceilings"] = json!({"maxBodySize": 5});
    let (compiled, problems) = compiled_from(&objects, &Snapshot::default(), 1);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let refuses: Vec<_> = compiled.snapshot.tenants[0].rate_limits.iter().flat_map(|limit| limit.refuses()).collect();
    assert_eq!(refuses, ["Tenant acme: spec.ceilings".into()]);
}

#[test]
fn a_broken_object_keeps_the_endpoints_of_its_last_good() {
    let mut objects = base();
    objects.push(route(good_rule()));
    let (first, _) = compiled_from(&objects, &Snapshot::default(), 1);
    objects[2]["spec"]["rules"][0]["retry"] = json!({"attempts": "many"});
    let (second, _) = compiled_from(&objects, &first.snapshot, 2);
    assert_eq!(second.snapshot.endpoints, first.snapshot.endpoints);
    assert_eq!(second.snapshot.endpoints.len(), 1);
}

#[test]
fn the_whole_surface_loads_and_what_is_not_enforced_is_refused_by_name() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/full");
    let files = files::read(&folder, None).unwrap();
    assert_eq!(files.problems, []);
    for declared in files.gathered.tenants.values() {
        assert!(declared.spec.is_some() && declared.problems.is_empty(), "{:?}", declared.problems);
    }
    for declared in files.gathered.routes.values() {
        assert!(declared.spec.is_some() && declared.problems.is_empty(), "{:?}", declared.problems);
    }
    for declared in files.gathered.webhook_sources.values() {
        assert!(declared.spec.is_some() && declared.problems.is_empty(), "{:?}", declared.problems);
    }
    for declared in files.gathered.rate_limit_policies.values() {
        assert!(declared.spec.is_some() && declared.problems.is_empty(), "{:?}", declared.problems);
    }
    let compiled = compile(&files.gathered, &Snapshot::default(), Revision::default());
    let refused: Vec<String> = compiled
        .problems
        .iter()
        .filter(|problem| problem.kind == policy::problem::ProblemKind::NotEnforced)
        .map(|problem| format!("{}: {}", problem.object, problem.field))
        .collect();
    let wanted = [
        "Tenant acme: spec.authentication.apiKeys[0].lookup",
        "Tenant acme: spec.authentication.introspection[0]",
        "Tenant acme: spec.authentication.jwt[0].keys.jwksURI",
        "Tenant acme: spec.authentication.jwt[0].keys.maxStale",
        "Tenant acme: spec.authentication.jwt[0].keys.refresh",
        "Tenant acme: spec.authentication.mutualTLS[0]",
        "Tenant acme: spec.ceilings.maxEventsPerSecond",
        "Tenant acme: spec.tls",
        "Route acme/agents: spec.rules[0].compression",
        "Route acme/agents: spec.rules[0].requestTransform",
        "Route acme/agents: spec.rules[0].responseTransform",
        "Route acme/agents: spec.rules[0].split",
        "RateLimitPolicy acme/acme: spec.limits[2].when",
        "RateLimitPolicy acme/acme: spec.quotas",
        "WebhookSource acme/billing: spec.destination.url",
    ];
    assert_eq!(refused, wanted);
}
