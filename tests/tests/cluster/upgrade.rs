//! An earlier build and this one: each works with the other, and one becomes the other unnoticed.

use tests::kind::IMAGE;

use crate::installed::{Installed, SYSTEM, upgrade};
use crate::outage::showing;
use crate::rollout::unnoticed;

/// Names the revision to come from; without one the test is not run (`./dev upgrade REVISION`).
pub(crate) const EARLIER: &str = "POSTERN_EARLIER";

/// An edit shows, and the operator says that dataplanes run it.
fn an_edit_shows(installed: &Installed, status: u16) {
    installed.wait("an edit is taken", || installed.kind.apply(&showing(status)).is_ok());
    installed.wait("it shows", || (0..10).all(|_| installed.status("/shown") == status));
    installed.kubectl("-n acme wait route shown --for=condition=Programmed --timeout=2m");
}

/// An installation of the earlier build, as if there had never been another.
fn install(installed: &Installed, chart: &str) {
    installed.kind.run(&format!("helm uninstall postern --namespace {SYSTEM} --wait")).unwrap();
    // What operators and shards left.
    installed.kubectl(&format!("-n {SYSTEM} delete secret,configmap,lease,pvc --all"));
    let values = format!("--values {chart}/values-kind.yaml --set image.tag=earlier --wait --timeout 5m");
    // The wrapper of helm knows the chart by its name.
    installed.kind.run(&format!("helm install postern {chart} --namespace {SYSTEM} {values}")).unwrap();
    installed.wait("the tenant serves", || (0..10).all(|_| installed.status("/echo") == 200));
}

/// The earlier release becomes this one in steps: its dataplanes with an operator of this build, gateways of this build
/// with its operator, everything of this build; then it is rolled back, and upgraded again.
pub(crate) fn an_earlier_build_is_upgraded(installed: &Installed) {
    let revision = std::env::var(EARLIER).unwrap();
    let tree = installed.kind.earlier(&revision).unwrap();
    install(installed, &tree.path().join("charts/postern").display().to_string());
    let becomes = |part: &str, tag: &str| {
        installed.kubectl(&format!("-n {SYSTEM} set image deployment/postern-{part} {part}={IMAGE}:{tag}"));
        installed.rolled_out(&format!("deployment/postern-{part}"));
    };
    unnoticed(installed, || {
        becomes("operator", "0.1.0");
        an_edit_shows(installed, 231);
        becomes("gateway", "0.1.0");
        becomes("operator", "earlier");
        an_edit_shows(installed, 232);
        upgrade(installed, "--wait --timeout 5m");
        an_edit_shows(installed, 233);
        installed.kind.run(&format!("helm rollback postern 1 --namespace {SYSTEM} --wait --timeout 5m")).unwrap();
        an_edit_shows(installed, 234);
        upgrade(installed, "--wait --timeout 5m");
        an_edit_shows(installed, 235);
    });
}
