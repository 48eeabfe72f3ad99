//! A tenant whose changes come to the canary set first.

use std::net::SocketAddr;

use tests::manifests::tenant;
use tests::operator::{dataplane, dataplane_with};

use super::{Cluster, HOST, fixed};

fn text(address: SocketAddr) -> String {
    tests::client::get(HOST, "/shown").send(address).map(|answer| answer.text()).unwrap_or_default()
}

#[test]
fn changes_of_a_tenant_in_canary_reach_the_canary_set_alone_until_it_says_all() {
    let mut cluster = Cluster::start();
    let canary = dataplane_with(&cluster.kubernetes, &[&cluster.operator], &["--canary"]).unwrap();
    let apply = |cluster: &Cluster, manifests: &str| cluster.kubernetes.apply(manifests).unwrap();
    apply(&cluster, &fixed("shown", "/shown", "first"));
    cluster.wait("/shown", 200, "first");
    canary.wait_until(|| text(canary.address) == "first");
    apply(&cluster, &tenant("acme", HOST, "  rollout: {gateways: Canary}"));
    apply(&cluster, &fixed("shown", "/shown", "second"));
    canary.wait_until(|| text(canary.address) == "second");
    // Its status is of those that get it.
    let programmed = || {
        let route = cluster.kubernetes.get("route", "acme", "shown").unwrap();
        route["status"]["dataplanes"] == "1/1" && route["status"]["conditions"][2]["observedGeneration"] == 2
    };
    canary.wait_until(programmed);
    assert!(programmed() && text(cluster.dataplane.address) == "first");
    // Whoever publishes, and whoever comes again with what it has.
    cluster.operator.kill();
    cluster.operator.restart().unwrap();
    cluster.dataplane.restart().unwrap();
    apply(&cluster, &fixed("shown", "/shown", "third"));
    canary.wait_until(|| text(canary.address) == "third");
    assert_eq!(text(cluster.dataplane.address), "first");
    // One that has nothing of the tenant is better with what is new than with nothing.
    let fresh = dataplane(&cluster.kubernetes, &[&cluster.operator]).unwrap();
    fresh.wait_until(|| text(fresh.address) == "third");
    assert_eq!(text(fresh.address), "third");
    apply(&cluster, &tenant("acme", HOST, ""));
    cluster.wait("/shown", 200, "third");
}
