//! `postern check` as a person or a program calls it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn check(dir: &std::path::Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postern")).arg("check").arg(dir).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const BAD: &str = "apiVersion: postern.dev/v1alpha1
kind: Route
metadata: {name: r, namespace: acme}
spec:
  rules:
    - timeout: {request: 1s}
      backendRefs: [{url: 'http://127.0.0.1:1', weigth: 1}]
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: acme}
stringData: {open: 12345678, closed: sesame}
";

#[test]
fn every_problem_is_told_with_its_line_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.yaml"), BAD).unwrap();
    let output = check(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    for part in
        ["bad.yaml:6:7", "did you mean `timeouts`?", "bad.yaml:7:", "did you mean `weight`?", "put it in quotes"]
    {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    assert!(!told.contains("12345678") && !told.contains("sesame"), "{told}");
}

#[test]
fn a_program_reads_the_same_as_json() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.yaml"), BAD).unwrap();
    let output = check(dir.path(), &["--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["errors"], 4);
    let fields: Vec<_> = report["problems"].as_array().unwrap().iter().map(|p| p["field"].as_str().unwrap()).collect();
    let wanted =
        ["metadata.namespace", "spec.rules[0].timeout", "spec.rules[0].backendRefs[0].weigth", "stringData.open"];
    assert_eq!(fields, wanted);
    assert_eq!(report["problems"][1]["line"], 6);
}

#[test]
fn a_directory_that_is_not_there_is_the_callers_trouble() {
    let output = check(&PathBuf::from("/nowhere/at/all"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("could not list /nowhere/at/all"));
}

const TENANT: &str = "apiVersion: postern.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec: {namespaces: {names: [acme]}, hostnames: [a.example]}
";

/// Returns the last line that `check` prints for one file, and its exit code.
fn summary(name: &str, content: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), content).unwrap();
    let output = check(dir.path(), &[]);
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn objects_are_counted_by_kind_in_every_form_of_a_manifest() {
    let listed = format!("apiVersion: v1\nkind: List\nitems:\n- {}", TENANT.trim_end().replace('\n', "\n  "));
    let json =
        "{\n\t\"apiVersion\": \"postern.dev/v1alpha1\",\n\t\"kind\": \"Tenant\",\n\t\"metadata\": {\"name\": \"acme\"},
\t\"spec\": {\"namespaces\": {\"names\": [\"acme\"]}, \"hostnames\": [\"a.example\"]}\n}";
    for (name, content) in [("a.yaml", TENANT), ("a.yml", &listed), ("a.json", json), ("a.yaml", json)] {
        let (code, said) = summary(name, content);
        assert_eq!((code, said.trim()), (Some(0), "1 tenant: no errors, 0 warnings"), "{name}");
    }
    let foreign =
        format!("{TENANT}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d, namespace: acme}}\n");
    assert!(summary("a.yaml", &foreign).1.contains("1 tenant, 1 foreign object left out: no errors"));
}

#[test]
fn a_list_of_one_kind_is_named_and_not_left_out() {
    for kind in ["apiVersion: postern.dev/v1alpha1\nkind: RouteList", "apiVersion: v1\nkind: SecretList"] {
        let (code, said) = summary("a.yaml", &format!("{kind}\nitems: []\n"));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("List` is not read") && said.contains("no objects: 1 error, 0 warnings"), "{said}");
    }
}

#[test]
fn a_folder_without_a_manifest_is_an_error() {
    for (name, content) in [("README.md", "x"), ("a.yaml", ""), ("a.yaml", "apiVersion: v1\nkind: Pod\n")] {
        let (code, said) = summary(name, content);
        assert!(code == Some(1) && said.contains("no manifest of Postern in"), "{said}");
        assert!(said.contains("1 error, 0 warnings"), "{said}");
    }
}

#[test]
fn a_tenant_that_a_source_is_shared_with_in_vain_is_warned_of() {
    let tenants = ["platform", "acme", "globex"]
        .map(|name| TENANT.replace("acme", name).replace("a.example", &format!("{name}.example")) + "---\n");
    let shared = "apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: meta, namespace: platform}
spec:
  provider: GitHub
  match: {path: /hook}
  verification: {secretRefs: [{name: s, key: secret}]}
  sharedWith: {tenants: [acme, globex]}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: platform}
stringData: {secret: a-secret-of-32-characters-012345}
---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: own, namespace: acme}
spec: {provider: GitHub, shared: {name: meta, namespace: platform}, destination: {url: 'http://10.0.0.7:8080'}}
";
    let (code, said) = summary("a.yaml", &(tenants.concat() + shared));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("sharedWith.tenants[1] names Tenant globex, which has no WebhookSource behind this one"),
        "{said}"
    );
    assert!(!said.contains("names Tenant acme") && said.contains("no errors, 1 warning"), "{said}");
}
