//! The parts that decide are away: traffic goes on.

use std::time::Duration;

use tests::load::Load;
use tests::manifests::route;

use crate::installed::{HOST, Installed, SYSTEM};

/// How long the API server is away: longer than a Lease lasts, and than the pods' probes bear.
const AWAY: Duration = Duration::from_secs(120);

/// A route that answers with a status of its own.
pub(crate) fn showing(status: u16) -> String {
    let fallback = format!("      fallback: {{status: {status}, body: shown}}");
    route("shown", "/shown", &fallback).replace("name: echo", "name: nobody")
}

fn kill_publisher(installed: &Installed) {
    let holder = format!("-n {SYSTEM} get lease postern-operator -o jsonpath={{.spec.holderIdentity}}");
    installed.kubectl(&format!("-n {SYSTEM} delete pod {} --grace-period=0 --force", installed.kubectl(&holder)));
}

/// The one that publishes, then the one that took over; each at once, without a word.
pub(crate) fn operators_are_killed(installed: &Installed) {
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    for status in [211, 212] {
        let leader =
            installed.kubectl(&format!("-n {SYSTEM} get lease postern-operator -o jsonpath={{.spec.holderIdentity}}"));
        installed.kubectl(&format!("-n {SYSTEM} delete pod {leader} --grace-period=0 --force"));
        installed.wait("an edit is taken", || installed.kind.apply(&showing(status)).is_ok());
        installed.wait("it shows", || installed.status("/shown") == status);
    }
    installed.rolled_out("deployment/postern-operator");
    let operators =
        format!("-n {SYSTEM} get pods -l app.kubernetes.io/component=operator -o jsonpath={{..metadata.name}}");
    let publish = |pod: &&str| {
        let metrics = format!("get --raw /api/v1/namespaces/{SYSTEM}/pods/{pod}:9901/proxy/metrics");
        installed.kubectl(&metrics).lines().any(|line| line == "postern_operator_publishes 1")
    };
    installed.wait("one publishes", || installed.kubectl(&operators).split_whitespace().filter(publish).count() == 1);
    let counted = load.counted();
    assert!(counted.failed.is_empty() && counted.answered > 0, "{counted}");
}

/// Its Secret is deleted: the operators make another, and tell gateways and the API server whom to believe now. An edit
/// shows after the publisher was killed, so by new connections.
pub(crate) fn the_authority_is_replaced(installed: &Installed) {
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    let told = || {
        installed.kubectl(&format!("-n {SYSTEM} get configmap postern-operator-authority -o jsonpath={{.data}}"))
            + &installed.kubectl("get validatingwebhookconfiguration -o jsonpath={..caBundle}")
    };
    let before = told();
    installed.kubectl(&format!("-n {SYSTEM} delete secret postern-operator-authority"));
    installed.wait("there is another", || told() != before);
    kill_publisher(installed);
    installed.wait("an edit is taken", || installed.kind.apply(&showing(213)).is_ok());
    installed.wait("it shows", || installed.status("/shown") == 213);
    let broken = route("broken", "/broken", "").replace("PathPrefix, value: /broken", "RegularExpression, value: '/('");
    installed.wait("admission is asked", || {
        installed.kind.apply(&broken).is_err_and(|error| error.to_string().contains("denied the request"))
    });
    let counted = load.counted();
    assert!(counted.failed.is_empty() && counted.answered > 0, "{counted}");
}

/// No API server, and a gateway whose process is killed meanwhile: it serves what it had, and the others go on.
pub(crate) fn the_api_server_is_away(installed: &Installed) {
    let node = |script: &str| installed.kind.node(script).unwrap();
    let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    node(&format!("mv {manifest} /root/"));
    installed.wait("the API server is away", || installed.kind.kubectl(&["get", "--raw", "/readyz"]).is_err());
    std::thread::sleep(AWAY);
    let counted = load.counted();
    let gateways = node("pgrep -f -- --role=gateway");
    let killed = gateways.lines().next().unwrap();
    node(&format!("kill -9 {killed}"));
    installed.wait("another process took its place", || {
        let now = node("pgrep -f -- --role=gateway");
        now.lines().count() == gateways.lines().count() && !now.lines().any(|process| process == killed)
    });
    // Where a call lands is chance: enough of them, on connections of their own, land on both.
    installed.wait("both serve again", || (0..40).all(|_| installed.status("/echo") == 200));
    node(&format!("mv /root/kube-apiserver.yaml {manifest}"));
    installed.wait("the API server is back", || installed.kind.apply(&showing(214)).is_ok());
    installed.wait("edits show again", || installed.status("/shown") == 214);
    assert!(counted.failed.is_empty() && counted.answered > 0, "{counted}");
}
