//! Reading a directory: every problem at its place, and nothing lost by one bad file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use operator::compile::compile;
use operator::gather::files::{self, Files};
use policy::snapshot::{Revision, Snapshot};
use tempfile::TempDir;

fn dir(manifests: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in manifests {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn read(dir: &TempDir) -> Files {
    files::read(dir.path(), None).unwrap()
}

const TENANT: &str = "apiVersion: postern.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec: {namespaces: {names: [acme]}, hostnames: [api.acme.example]}
";

#[test]
fn a_problem_stands_at_its_file_line_and_column() {
    let route = "# a comment
apiVersion: postern.dev/v1alpha1
kind: Route
metadata: {name: r, namespace: acme}
spec:
  rules:
    - name: one
      timeouts: {request: soon}
      backendRefs: [{url: 'http://127.0.0.1:1'}]
";
    let files = read(&dir(&[("tenant.yaml", TENANT), ("deep/er/route.yml", route)]));
    let compiled = compile(&files.gathered, &Snapshot::default(), Revision::default());
    let problem = compiled.problems.iter().find(|problem| problem.field == "spec.rules[0].timeouts.request").unwrap();
    let place = files.sources.locate(problem).unwrap();
    assert!(place.path.ends_with("deep/er/route.yml"));
    assert_eq!((place.line, place.column), (8, 27));
    assert_eq!(&route[place.bytes], "soon");
    let missing = compiled.problems.iter().find(|problem| problem.field == "spec.rules[0].authentication").unwrap();
    assert_eq!(files.sources.locate(missing).unwrap().line, 7, "a missing field stands where it should be");
}

#[test]
fn a_file_that_cannot_be_read_keeps_what_it_said() {
    let dir = dir(&[("a.yaml", TENANT), ("b.yaml", "kind: Tenant\n")]);
    let before = read(&dir);
    fs::write(dir.path().join("a.yaml"), "spec: {namespaces: [\nkind: }\n").unwrap();
    let after = files::read(dir.path(), Some(&before)).unwrap();
    assert_eq!(after.gathered.tenants.len(), 1);
    assert!(after.problems.iter().any(|problem| problem.place.path.ends_with("a.yaml")));
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    assert!(files::read(dir.path(), Some(&after)).unwrap().gathered.tenants.is_empty());
}

#[test]
fn what_is_no_object_of_ours_is_told_or_left_alone() {
    let files = read(&dir(&[
        ("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, namespace: y}\n"),
        ("kind.yaml", "apiVersion: postern.dev/v1alpha1\nkind: Routes\nmetadata: {name: x, namespace: y}\n"),
        ("list.yaml", "- 1\n"),
        ("name.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: X_Y, namespace: y}\n"),
        ("namespace.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n"),
        ("version.yaml", "apiVersion: postern.dev/v1\nkind: Route\nmetadata: {name: x, namespace: y}\n"),
        (".hidden.yaml", "{"),
        ("notes.txt", "{"),
    ]));
    let told: Vec<String> = files.problems.iter().map(|p| format!("{}; {}", p.message, p.help)).collect();
    assert_eq!(
        told,
        [
            "`Routes` is no kind of postern.dev; did you mean Route?",
            "is no Kubernetes object; write apiVersion, kind, metadata and spec, or move it out of the directory",
            "Secret has no valid metadata.name; write a name of a-z, 0-9, '-' and '.'",
            "Secret has no valid metadata.namespace; write the namespace: files have no current one",
            "`postern.dev/v1` is not the version in which Route is read; write apiVersion: postern.dev/v1alpha1",
        ]
    );
}

#[test]
fn null_is_read_as_absent_in_kinds_of_kubernetes() {
    let slice = "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: NAME, namespace: acme, labels: {kubernetes.io/service-name: up}}
addressType: IPv4
";
    let empty = format!("{}ports: null\nendpoints: null\n", slice.replace("NAME", "empty"));
    let full = "ports: [{name: null, port: 1}]
endpoints: [{addresses: [127.0.0.1], conditions: {ready: true, serving: null}}, {addresses: null, conditions: null}]
";
    let full = slice.replace("NAME", "full") + full;
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: up, namespace: acme}\nspec: {type: null, ports: null}\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: acme}\ndata: null\n";
    let files = read(&dir(&[("a.yaml", &empty), ("b.yaml", &full), ("c.yaml", service), ("d.yaml", map)]));
    assert_eq!(files.gathered.problems, Default::default());
    let gathered = &files.gathered;
    assert_eq!((gathered.services.len(), gathered.config_maps.len(), gathered.endpoint_slices.len()), (1, 1, 2));
}

#[test]
fn secrets_are_read_from_both_forms_and_never_printed() {
    let secret = "apiVersion: v1
kind: Secret
metadata: {name: s, namespace: acme}
data: {a: aHVudGVyMg==, b: aHVudGVyMg==, c: '%%'}
stringData: {b: plain, d: 5}
";
    let files = read(&dir(&[("s.yaml", secret)]));
    let secret = files.gathered.secrets.values().next().unwrap();
    assert_eq!(secret.data["a"].reveal(), b"hunter2");
    assert_eq!(secret.data["b"].reveal(), b"plain");
    let fields: Vec<_> = files.gathered.problems.values().flatten().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["data.c", "stringData.d"]);
    let printed = format!("{files:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("plain"), "{printed}");
}

#[test]
fn a_file_over_the_bound_is_not_read() {
    let long = format!("a: {}", "x".repeat(files_bound() + 1));
    let files = read(&dir(&[("long.yaml", &long), ("tenant.yaml", TENANT)]));
    assert_eq!(files.gathered.tenants.len(), 1);
    assert!(files.problems[0].message.contains("is larger than"), "{:?}", files.problems);
}

fn files_bound() -> usize {
    usize::try_from(operator::gather::walk::MAX_FILE_BYTES).unwrap()
}
