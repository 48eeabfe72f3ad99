//! Shares of the event store: a full tenant refuses no neighbour, and requests leave webhooks their quota.

use serde_json::json;
use tests::client::{Answer, both, get, post};
use tests::gateway::Gateway;
use tests::manifests::{secret, tenant};
use tests::upstream::{Reply, Upstream};

use super::webhook::{manifests, message, send};
use super::{HOST, acme};

/// The manifests of the shared source, with a small ceiling for acme.
fn small_acme(acme: &Upstream, globex: &Upstream) -> String {
    let phone = "  identifiers: {whatsAppPhoneNumberIDs: [\"111\"]}";
    let all = manifests(acme, globex);
    assert!(all.contains(phone));
    all.replace(phone, &format!("  ceilings: {{pendingBytes: 8Ki}}\n{phone}"))
}

#[test]
fn full_tenant_of_a_shared_source_refuses_no_neighbour() {
    both(|_| {
        let acme = Upstream::start(|_| Reply::Status(503, String::new())).unwrap();
        let globex = Upstream::echo().unwrap();
        let gateway = Gateway::start(&small_acme(&acme, &globex)).unwrap();
        let posts = 40;
        for id in 0..posts {
            let batch = [message("111", &format!("wamid.a{id}")), message("222", &format!("wamid.g{id}"))];
            let answer = send(&gateway, &batch);
            assert_eq!(answer.status, 200, "{id}: {}", answer.text());
        }
        assert_eq!(send(&gateway, &[message("111", "wamid.alone")]).status, 200, "the provider sends nothing again");
        assert_eq!(globex.wait_for(posts).len(), posts, "each event of the neighbour once");

        let dead = get("localhost", "/events?state=dead&id=wamid.alone").send_http1(gateway.admin).unwrap().json();
        assert_eq!(dead["events"][0]["reason"], "pending_full", "{dead}");
        assert!(gateway.wait_printed("entries_refused").contains("pending_full"));
        let count = "postern_event_outcomes_total{outcome=\"dead\",reason=\"pending_full\",source=\"acme/whatsapp\",tenant=\"acme\"}";
        assert!(gateway.metric(count) > 0, "{}", gateway.metrics());
    });
}

#[test]
fn tenant_that_fills_the_store_leaves_room_for_another() {
    both(|_| {
        let failing = || Upstream::start(|_| Reply::Status(500, String::new())).unwrap();
        let (acme, globex) = (failing(), failing());
        let gateway = Gateway::start_with(&manifests(&acme, &globex), &["--max-spool", "1Mi"]).unwrap();
        let fill = |phone: &str, most: usize| {
            let sent =
                |number: usize| send(&gateway, &[message(phone, &format!("{phone}.{number}.{}", "x".repeat(400)))]);
            (0..most).map(sent).find(|answer: &Answer| answer.status != 200)
        };
        let full = fill("111", 4000).unwrap();
        assert_eq!((full.status, full.reason().as_str()), (503, "pending_full"));
        assert!(full.header("retry-after").is_some());
        assert!(fill("222", 20).is_none(), "another tenant has its share");
    });
}

#[test]
fn requests_that_failed_leave_webhooks_their_quota() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Status(503, String::new())).unwrap();
        let source = "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: hook, namespace: acme}
spec:
  provider: GitLab
  match: {path: /hook}
  verification: {secretRefs: [{name: hook, key: secret}]}
  destination: {backendRef: {name: echo, port: 8080}, path: /events}
";
        let keep = "      onFailure: {type: DeadLetter, maxBodySize: 64Ki}";
        let small = tenant("acme", HOST, "  ceilings: {pendingBytes: 64Ki}\n");
        let route = acme(&upstream, keep).replace(&tenant("acme", HOST, ""), &small);
        let manifests = [route, secret("acme", "hook", "secret", "canary-gitlab"), source.to_owned()].concat();
        let gateway = Gateway::start(&manifests).unwrap();

        let failed = || post(HOST, "/", vec![b'7'; 4000]).send(gateway.address).unwrap();
        let kept = (0..40).take_while(|_| failed().header("postern-dead-letter") == Some("kept")).count();
        assert!((1..=4).contains(&kept), "{kept} requests of about 6 KiB in a quarter of 64 KiB");
        let event = json!({"object_kind": "push", "project": {"id": 1}}).to_string();
        let answer =
            post(HOST, "/hook", event).header("x-gitlab-token", "canary-gitlab").send(gateway.address).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    });
}
