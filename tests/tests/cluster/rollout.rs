//! Pods come and go: no call fails, and no event is lost.

use tests::load::Load;

use crate::installed::{HOST, Installed, SYSTEM};
use crate::serve::with_events;

/// Runs something under calls and events: none of the calls may fail, none of the events be lost.
fn unnoticed(installed: &Installed, done: impl FnOnce()) {
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

/// Every pod of ours is replaced by another.
pub(crate) fn everything_is_restarted(installed: &Installed) {
    unnoticed(installed, || {
        for workload in ["deployment/postern-gateway", "deployment/postern-operator", "statefulset/postern-deliver"] {
            installed.kubectl(&format!("-n {SYSTEM} rollout restart {workload}"));
            installed.rolled_out(workload);
        }
        installed.kubectl(&format!("-n {SYSTEM} rollout restart statefulset/postern-spool"));
        installed.rolled_out("statefulset/postern-spool");
    });
}

/// An upgrade to another image by Helm, and back.
pub(crate) fn a_release_is_upgraded_and_rolled_back(installed: &Installed) {
    let image = "ghcr.io/postern-dev/postern";
    let line = format!("docker tag {image}:0.1.0 {image}:next && kind load docker-image {image}:next");
    installed.kind.run(&line).unwrap();
    unnoticed(installed, || {
        let upgrade = "helm upgrade postern charts/postern --namespace postern-system \
                       --values charts/postern/values-kind.yaml --set image.tag=next --wait --timeout 5m";
        installed.kind.run(upgrade).unwrap();
        let images = format!(
            "-n {SYSTEM} get pods -l app.kubernetes.io/name=postern -o jsonpath='{{.items[*].spec.containers[*].image}}'"
        );
        installed.wait("the new image is everywhere", || !installed.kubectl(&images).contains(":0.1.0"));
        installed.kind.run("helm rollback postern --namespace postern-system --wait --timeout 5m").unwrap();
        installed.wait("the old image is everywhere", || !installed.kubectl(&images).contains(":next"));
    });
}
