//! What the commands say of a cluster.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tests::gateway::binary;
use tests::manifests::route;

use super::{Cluster, HOST, fixed};

fn postern(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary().unwrap());
    command.env("KUBECONFIG", cluster.kubernetes.kubeconfig()).args(arguments).output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| json!(String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn check_and_explain_read_what_a_cluster_has() {
    let cluster = Cluster::start();
    let sound = postern(&cluster, &["check", "cluster:", "--output", "json"]);
    assert_eq!((sound.status.code(), json_of(&sound)["errors"].as_u64()), (Some(0), Some(0)), "{sound:?}");
    let broken = fixed("odd", "/odd", "x").replace("PathPrefix, value: /odd", "RegularExpression, value: '/('");
    cluster.kubernetes.apply(&broken).unwrap();
    let said = postern(&cluster, &["check", "cluster:test", "--output", "json"]);
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(json_of(&said)["problems"][0]["object"], "Route acme/odd", "{said:?}");
    let explained = postern(&cluster, &["explain", "cluster:", "GET", &format!("http://{HOST}/x"), "--json"]);
    assert_eq!(json_of(&explained)["object"], "Route acme/echo", "{explained:?}");
    let nobody = postern(&cluster, &["check", "cluster:elsewhere"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("elsewhere"), "{nobody:?}");
}

#[test]
fn diff_says_what_would_change_for_whom_and_changes_nothing() {
    let cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifests.yaml");
    let diff = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = postern(&cluster, &["diff", folder.path().to_str().unwrap(), "--output", "json"]);
        (output.status.code(), json_of(&output))
    };
    // What was applied is what is there, with all that the definitions filled in.
    let same = diff(&route("echo", "/", ""));
    assert_eq!((same.0, &same.1["difference"]["objects"]), (Some(0), &json!([])), "{}", same.1);
    let (code, said) = diff(&(route("echo", "/", "").replace("port: 8080", "port: 9090") + &fixed("new", "/new", "x")));
    let objects = &said["difference"]["objects"];
    assert_eq!((code, &said["difference"]["tenants"]), (Some(1), &json!(["acme"])), "{said}");
    assert_eq!(objects[0]["fields"][0], "spec.rules[0].backendRefs[0].port: 8080 -> 9090");
    assert_eq!((&objects[1]["object"], &objects[1]["change"]), (&json!("Route acme/new"), &json!("added")));
    // The Service has no such port: that is new, and stands where it was written.
    assert_eq!(said["difference"]["newErrors"], 1, "{said}");
    assert!(said["problems"][0]["line"].is_u64(), "{said}");
    assert!(cluster.kubernetes.get("route", "acme", "new").is_err());
}

#[test]
fn what_grant_prints_lets_the_operator_read_a_secret() {
    let cluster = Cluster::start();
    let printed = postern(&cluster, &["grant", "acme"]);
    assert!(printed.status.success());
    let may = || {
        let account = "--as=system:serviceaccount:postern-system:postern-operator";
        let asked = cluster.kubernetes.kubectl(&["auth", "can-i", "watch", "secrets", "-n", "acme", account]);
        asked.is_ok_and(|said| said.trim() == "yes")
    };
    cluster.kubernetes.kubectl(&["delete", "rolebinding", "--all", "-n", "acme"]).unwrap();
    cluster.dataplane.wait_until(|| !may());
    assert!(!may());
    cluster.kubernetes.apply(&String::from_utf8_lossy(&printed.stdout)).unwrap();
    cluster.dataplane.wait_until(may);
    assert!(may());
}

#[test]
fn status_tells_what_is_wrong_and_whom_to_ask() {
    let cluster = Cluster::start();
    let status = || json_of(&postern(&cluster, &["status", "--output", "json"]));
    let abouts = || -> Vec<String> {
        let said = status();
        let all = said["problems"].as_array().into_iter().flatten();
        all.map(|one| one["about"].as_str().unwrap_or_default().to_owned()).collect()
    };
    // No pods run in this cluster: its processes are beside it.
    let fine = ["Namespace postern-system"];
    cluster.dataplane.wait_until(|| abouts() == fine);
    let said = status();
    assert_eq!(abouts(), fine, "{said}");
    assert_eq!((&said["publisher"], &said["objects"][1]), (&json!("first"), &json!(["Route", 1, 1])), "{said}");
    let broken = fixed("odd", "/odd", "x").replace("PathPrefix, value: /odd", "RegularExpression, value: '/('");
    cluster.kubernetes.apply(&broken).unwrap();
    let told = || status()["problems"][1].clone();
    cluster.dataplane.wait_until(|| told()["message"].as_str().is_some_and(|text| text.contains("Invalid")));
    assert_eq!(told()["about"], "Route acme/odd");
    assert_eq!(told()["next"], "kubectl describe route -n acme odd");
    assert!(
        told()["message"].as_str().unwrap().starts_with("Accepted is False (Invalid): spec.rules[0]"),
        "{}",
        told()
    );
    let output = postern(&cluster, &["status", "--lease", "another"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("x Lease postern-system/another: is not there"), "{text}");
}
