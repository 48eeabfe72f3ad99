//! Pods come and go: no call fails, and no event is lost.

use tests::kind::IMAGE;
use tests::load::Load;

use crate::installed::{HOST, Installed, SYSTEM, upgrade};
use crate::serve::with_events;

/// Runs something under calls and events: none of the calls may fail, none of the events be lost.
pub(crate) fn unnoticed(installed: &Installed, done: impl FnOnce()) {
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    with_events(installed, 50, done);
    let counted = load.counted();
    assert!(counted.failed.is_empty() && counted.answered > 0, "{counted}");
}

/// To four, and to one.
pub(crate) fn gateways_are_scaled(installed: &Installed) {
    unnoticed(installed, || {
        for replicas in [4, 1, 2] {
            installed.kubectl(&format!("-n {SYSTEM} scale deployment/postern-gateway --replicas {replicas}"));
            installed.rolled_out("deployment/postern-gateway");
            let pods = format!("-n {SYSTEM} get pods -l app.kubernetes.io/component=gateway -o name");
            installed.wait("as many pods as wanted", || installed.kubectl(&pods).lines().count() == replicas);
        }
    });
}

/// To four, and to one: they share the partitions out among those that live, and no event is lost.
pub(crate) fn delivers_are_scaled(installed: &Installed) {
    let metrics = |pod: &str| {
        let path = format!("get --raw /api/v1/namespaces/{SYSTEM}/{pod}:9901/proxy/metrics");
        installed.kind.run(&format!("kubectl {}", path.replace("pod/", "pods/"))).unwrap_or_default()
    };
    let shares = || -> Vec<u32> {
        let pods = installed.kubectl(&format!("-n {SYSTEM} get pods -l app.kubernetes.io/component=deliver -o name"));
        let share = |text: String| {
            let line = text.lines().find_map(|line| line.strip_prefix("postern_deliver_partitions "));
            line.and_then(|count| count.parse().ok()).unwrap_or_default()
        };
        pods.lines().map(|pod| share(metrics(pod))).collect()
    };
    unnoticed(installed, || {
        for replicas in [4, 1, 2] {
            installed.kubectl(&format!("-n {SYSTEM} scale deployment/postern-deliver --replicas {replicas}"));
            installed.rolled_out("deployment/postern-deliver");
            installed.wait("each partition is one deliver's", || {
                let shares = shares();
                shares.len() == replicas && shares.iter().sum::<u32>() == 8
            });
        }
    });
}

/// Every pod of ours is replaced by another.
pub(crate) fn everything_is_restarted(installed: &Installed) {
    unnoticed(installed, || {
        for workload in ["deployment/postern-gateway", "deployment/postern-operator", "deployment/postern-deliver"] {
            installed.kubectl(&format!("-n {SYSTEM} rollout restart {workload}"));
            installed.rolled_out(workload);
        }
        installed.kubectl(&format!("-n {SYSTEM} rollout restart statefulset/postern-spool"));
        installed.rolled_out("statefulset/postern-spool");
    });
}

/// An upgrade to another image by Helm, and back.
pub(crate) fn a_release_is_upgraded_and_rolled_back(installed: &Installed) {
    let line = format!("docker tag {IMAGE}:0.1.0 {IMAGE}:next && kind load docker-image {IMAGE}:next");
    installed.kind.run(&line).unwrap();
    unnoticed(installed, || {
        upgrade(installed, "--set image.tag=next --wait --timeout 5m");
        let images = format!(
            "-n {SYSTEM} get pods -l app.kubernetes.io/name=postern -o jsonpath='{{.items[*].spec.containers[*].image}}'"
        );
        installed.wait("the new image is everywhere", || !installed.kubectl(&images).contains(":0.1.0"));
        installed.kind.run("helm rollback postern --namespace postern-system --wait --timeout 5m").unwrap();
        installed.wait("the old image is everywhere", || !installed.kubectl(&images).contains(":next"));
    });
}

/// A canary set whose image does not run is taken back by itself, and nobody notices.
pub(crate) fn a_canary_that_does_not_run_is_taken_back(installed: &Installed) {
    let build = format!(
        "printf 'FROM {IMAGE}:0.1.0\\nENTRYPOINT [\"/postern\", \"no-such-command\"]\\n' | docker build -t {IMAGE}:broken -"
    );
    installed.kind.run(&format!("{build} && kind load docker-image {IMAGE}:broken")).unwrap();
    unnoticed(installed, || {
        upgrade(installed, "--set canary.enabled=true --set canary.image.tag=broken");
        installed.wait("it was taken back", || taken_back(installed).contains("ended by themselves"));
        no_canary(installed);
    });
    upgrade(installed, "--set canary.enabled=false");
}

/// A change of a tenant that reaches the canary set alone and breaks its route takes the set back; then no call fails.
pub(crate) fn a_canary_whose_answers_are_errors_is_taken_back(installed: &Installed) {
    let acme = tests::traffic::manifests(installed.receiver.address);
    let canary = acme.replacen("spec:\n", "spec:\n  rollout: {gateways: Canary}\n", 1);
    let analysis = "--set canary.enabled=true --set canary.analysis.always=true --set canary.analysis.for=10s \
                    --set canary.analysis.interval=1s";
    upgrade(installed, &format!("{analysis} --wait"));
    // Nothing came in the first time; it begins anew.
    installed.wait("it is undecided once", || taken_back(installed).contains("undecided"));
    installed.kind.apply(&canary).unwrap();
    installed.wait("the canary set alone has it", || installed.kubectl("get tenant acme").contains("1/1"));
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    let broken = tests::manifests::route("echo", "/echo", "").replace("name: echo, port", "name: nobody, port");
    installed.kind.apply(&broken).unwrap();
    installed.wait("it was taken back", || taken_back(installed).contains("of its answers are 5xx"));
    no_canary(installed);
    let meanwhile = load.counted();
    assert!(!meanwhile.failed.is_empty() && meanwhile.answered > meanwhile.failed.len(), "{meanwhile}");
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let after = load.counted();
    assert!(after.failed.is_empty() && after.answered > 0, "{after}");
    installed.kind.apply(&tests::manifests::route("echo", "/echo", "")).unwrap();
    installed.kind.apply(&acme).unwrap();
    upgrade(installed, "--set canary.enabled=false");
}

/// What the analysis said.
fn taken_back(installed: &Installed) -> String {
    let logs = format!("kubectl -n {SYSTEM} logs -l app.kubernetes.io/component=rollout --tail=-1");
    installed.kind.run(&logs).unwrap_or_default()
}

fn no_canary(installed: &Installed) {
    let pods = format!("-n {SYSTEM} get pods -l app.kubernetes.io/component=gateway-canary -o name");
    installed.wait("the canary set has no pods", || installed.kubectl(&pods).trim().is_empty());
}
