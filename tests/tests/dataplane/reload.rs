//! An edit breaks no request, and a bad one breaks nothing that worked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tests::client::{Client, both, get};
use tests::gateway::Gateway;
use tests::manifests::{route, service, tenant};
use tests::upstream::{Reply, Upstream};

use super::{HOST, acme, start};

#[test]
fn an_edit_under_load_fails_no_request() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&upstream, "");
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(gateway.address).unwrap();
                while !stop.load(Ordering::Acquire) {
                    let answer = get(HOST, "/load").send_on(&mut client).unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    answered.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        for edit in 0..20 {
            let path = format!("/edit-{edit}");
            let fixed = format!("      fallback: {{status: 200, contentType: text/plain, body: '{edit}'}}");
            gateway.edit("manifests.yaml", &(acme(&upstream, "") + &route("edited", &path, &fixed))).unwrap();
            let before = answered.load(Ordering::Acquire);
            gateway.wait_until(|| gateway.snapshots_applied() > edit + 1 && answered.load(Ordering::Acquire) > before);
        }
        stop.store(true, Ordering::Release);
    });
    assert!(answered.load(Ordering::Acquire) > 20);
}

#[test]
fn a_broken_route_keeps_its_last_good_even_after_a_restart_and_its_neighbours_never_notice() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let globex = tenant("globex", "api.globex.example", "") + &service("globex", "echo", 8080, upstream.address);
        let other = route("echo", "/", "").replace("namespace: acme", "namespace: globex");
        let all = |acme: &str| format!("{acme}{globex}{other}");
        let mut gateway = Gateway::start(&all(&acme(&upstream, ""))).unwrap();
        let broken = acme(&upstream, "      timeouts: {request: 1s, backendRequest: 5s}");
        gateway.edit("manifests.yaml", &all(&broken)).unwrap();
        gateway.wait_until(|| gateway.snapshots_applied() > 1);
        let works = |gateway: &Gateway| {
            for host in [HOST, "api.globex.example"] {
                let answer = get(host, "/x").send(gateway.address).unwrap();
                assert_eq!(answer.status, 200, "{host}: {} {}", answer.text(), gateway.printed());
            }
        };
        works(&gateway);
        let applied = gateway.snapshots_applied();
        assert!(gateway.metric("postern_snapshot_apply_seconds_count") >= applied, "each of {applied} is timed");
        assert!(gateway.printed().contains("spec.rules[0]"), "the problem is printed: {}", gateway.printed());
        gateway.restart().unwrap();
        works(&gateway);
    });
}

/// What the volume does not take is good all the same, and is there once it does.
#[test]
fn a_last_good_that_could_not_be_kept_on_the_volume_is_kept_in_memory_until_it_can() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let mut gateway = start(&upstream, "");
        let volume = gateway.data().join("last-good");
        std::fs::remove_dir_all(&volume).unwrap();
        let second = acme(&upstream, "").replace("PathPrefix, value: /", "PathPrefix, value: /second");
        gateway.edit("manifests.yaml", &second).unwrap();
        gateway.wait_until(|| gateway.snapshots_applied() > 1);
        let told = gateway.wait_printed("could not be kept");
        assert!(told.contains("acme.new: No such file or directory"), "with the cause: {told}");
        let broken = format!("{second}      timeouts: {{request: 1s, backendRequest: 5s}}\n");
        gateway.edit("manifests.yaml", &broken).unwrap();
        gateway.wait_until(|| gateway.snapshots_applied() > 2);
        let status = |gateway: &Gateway, path: &str| get(HOST, path).send(gateway.address).unwrap().status;
        assert_eq!((status(&gateway, "/second"), status(&gateway, "/first")), (200, 404), "{}", gateway.printed());
        assert_eq!(gateway.metric("postern_last_good_unwritten"), 1);
        std::fs::create_dir(&volume).unwrap();
        assert!(gateway.wait_printed("is kept on the volume again").contains("again"));
        gateway.restart().unwrap();
        assert_eq!((status(&gateway, "/second"), status(&gateway, "/first")), (200, 404), "{}", gateway.printed());
    });
}

#[test]
fn a_broken_security_block_refuses_instead() {
    both(|_| {
        let upstream = Upstream::echo().unwrap();
        let gateway = start(&upstream, "");
        let broken = acme(&upstream, "      addresses: {allow: [not-an-address]}");
        gateway.edit("manifests.yaml", &broken).unwrap();
        gateway.wait_until(|| gateway.snapshots_applied() > 1);
        let refused = get(HOST, "/").send(gateway.address).unwrap();
        assert_eq!((refused.status, refused.reason().as_str()), (503, "policy_broken"));
    });
}

#[test]
fn a_spent_limit_stays_spent_over_an_edit() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Status(200, String::new())).unwrap();
        let limit = "---
apiVersion: postern.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: few, namespace: acme}
spec:
  targetRefs: [{kind: Tenant, name: acme}]
  limits: [{name: all, per: Tenant, requests: 2, window: 1h}]
";
        let gateway = Gateway::start(&(acme(&upstream, "") + limit)).unwrap();
        let status = || get(HOST, "/").send(gateway.address).unwrap().status;
        assert_eq!([status(), status(), status()], [200, 200, 429]);
        gateway.edit("manifests.yaml", &(acme(&upstream, "      timeouts: {request: 5s}") + limit)).unwrap();
        gateway.wait_until(|| gateway.snapshots_applied() > 1);
        assert_eq!(status(), 429);
    });
}
