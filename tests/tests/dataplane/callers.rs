//! What an upstream is told of a caller, and what becomes of the key that proved it.

use std::fmt::Write;
use std::process::Command;

use tests::client::{Request, both, get};
use tests::gateway::{Gateway, binary};
use tests::manifests::{route, service, tenant};
use tests::upstream::{Received, Upstream};

use super::HOST;

const KEY: &str = "pk_live_4f7a_canary-key-of-initech";

fn manifests(upstream: &Upstream) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, KEY.as_bytes());
    let sha256 = hash.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    let methods = "  authentication:
    apiKeys: [{name: partners, header: X-API-Key, secretSelector: {namespace: acme, matchLabels: {a: b}}}]
";
    let key = format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: initech, namespace: acme, labels: {{a: b}}}}
type: postern.dev/api-key
stringData: {{id: initech, prefix: pk_live_4f7a, sha256: {sha256}, roles: \"partner, agent\"}}
"
    );
    let closed = |name: &str, path: &str, more: &str| {
        let rule = format!("      authentication: {{type: AnyOf, methods: [partners]{more}");
        route(name, path, &rule).replace("      authentication: {type: None}\n", "")
    };
    [
        tenant("acme", HOST, methods),
        service("acme", "echo", 8080, upstream.address),
        key,
        route("open", "/open", ""),
        closed("closed", "/closed", "}"),
        closed("forward", "/forward", "}\n      credentials: Forward"),
        closed("remove", "/remove", "}\n      credentials: Remove"),
        closed("audits", "/audits", ", mode: Audit}"),
    ]
    .concat()
}

fn forged(path: &str) -> Request {
    let names = ["x-postern-tenant", "x-postern-caller", "x-postern-roles", "x-postern-auth", "x_postern_caller"];
    names.into_iter().fold(get(HOST, path), |request, name| request.header(name, "globex"))
}

fn told(received: &Received) -> Vec<(&str, &str)> {
    let mut told: Vec<(&str, &str)> = received
        .headers
        .iter()
        .filter(|(name, _)| name.replace('_', "-").starts_with("x-postern-"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    told.sort_unstable();
    told
}

/// A path, the key that is sent, the identity that the upstream gets, and the key that it gets.
type Case<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)], Option<&'a str>);

#[test]
fn an_upstream_is_told_who_calls_and_nobody_outside_can_forge_it() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let gateway = Gateway::start_with(&manifests(&upstream), &["--cores", "1"]).unwrap();
        let nobody = [("x-postern-auth", "none"), ("x-postern-tenant", "acme")];
        let initech = [
            ("x-postern-auth", "verified"),
            ("x-postern-caller", "partners:initech"),
            ("x-postern-roles", "\"partner\", \"agent\""),
            ("x-postern-tenant", "acme"),
        ];
        let cases: [Case; 6] = [
            ("/open", None, &nobody, None),
            // An open rule used no key, and so takes none away.
            ("/open", Some("somebody's"), &nobody, Some("somebody's")),
            ("/closed", Some(KEY), &initech, None),
            ("/remove", Some(KEY), &initech, None),
            ("/forward", Some(KEY), &initech, Some(KEY)),
            ("/audits", Some("pk_live_wrong"), &nobody, None),
        ];
        for (n, (path, key, expected, passed)) in cases.into_iter().enumerate() {
            let request = key.into_iter().fold(forged(path), |request, key| request.header("x-api-key", key));
            assert_eq!(request.send(gateway.address).unwrap().status, 200, "{path}");
            let received = upstream.wait_for(n + 1);
            assert_eq!(told(&received[n]), expected, "{path}");
            assert_eq!(received[n].header("x-api-key"), passed, "{path}");
        }
        assert!(!gateway.printed().contains(KEY));
    });
}

#[test]
fn a_rule_whose_upstream_got_the_key_until_now_is_warned_of() {
    let upstream = Upstream::echo().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("manifests.yaml"), manifests(&upstream)).unwrap();
    let ran = Command::new(binary().unwrap()).arg("check").arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    for (name, warned) in [("closed", true), ("audits", true), ("forward", false), ("remove", false), ("open", false)] {
        let found = said.lines().any(|line| line.contains(&format!("Route acme/{name}")));
        assert_eq!(found, warned, "{name}: {said}");
    }
    assert!(said.contains("does not get the API key any more"), "{said}");
}
