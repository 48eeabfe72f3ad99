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
