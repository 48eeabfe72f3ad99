//! Dataplanes that serve some of the tenants.

use std::process::Command;

use tests::client::get;
use tests::gateway::{Gateway, binary};
use tests::manifests::{route, service, tenant};
use tests::operator::dataplane_with;

use super::{Cluster, HOST, fixed};

const BIG: &str = "{\"matchLabels\": {\"tier\": \"big\"}}";

fn status(dataplane: &Gateway) -> u16 {
    get(HOST, "/").send(dataplane.address).map_or(0, |answer| answer.status)
}

fn becomes(cluster: &Cluster, dataplane: &Gateway, wanted: u16) {
    dataplane.wait_until(|| status(dataplane) == wanted);
    assert_eq!(status(dataplane), wanted, "{}\n{}", cluster.operator.printed(), dataplane.printed());
}

#[test]
fn a_set_serves_the_tenants_that_it_selects_and_gets_no_others() {
    let mut cluster = Cluster::start();
    let mut big = dataplane_with(&cluster.kubernetes, &[&cluster.operator], &["--tenants", BIG]).unwrap();
    // It is ready without it, and whoever gets it is counted.
    assert_eq!((status(&big), status(&cluster.dataplane)), (404, 200));
    let dataplanes = |cluster: &Cluster| {
        let route = cluster.kubernetes.get("route", "acme", "counted").unwrap_or_default();
        route["status"]["dataplanes"].as_str().map(str::to_owned).unwrap_or_default()
    };
    cluster.kubernetes.apply(&fixed("counted", "/counted", "first")).unwrap();
    big.wait_until(|| dataplanes(&cluster) == "1/1");
    assert_eq!(dataplanes(&cluster), "1/1");

    cluster.kubernetes.kubectl(&["label", "tenant", "acme", "tier=big"]).unwrap();
    becomes(&cluster, &big, 200);
    cluster.kubernetes.apply(&fixed("counted", "/counted", "second")).unwrap();
    big.wait_until(|| dataplanes(&cluster) == "2/2");
    assert_eq!(dataplanes(&cluster), "2/2");
    big.restart().unwrap();
    becomes(&cluster, &big, 200);

    // Also when nobody told it at that time.
    cluster.operator.kill();
    cluster.kubernetes.kubectl(&["label", "tenant", "acme", "tier-"]).unwrap();
    cluster.operator.restart().unwrap();
    becomes(&cluster, &big, 404);
    cluster.kubernetes.kubectl(&["label", "tenant", "acme", "tier=big"]).unwrap();
    becomes(&cluster, &big, 200);
    cluster.kubernetes.kubectl(&["label", "tenant", "acme", "tier=small", "--overwrite"]).unwrap();
    becomes(&cluster, &big, 404);
    assert_eq!(status(&cluster.dataplane), 200, "the others are served as before");
}

/// The endpoints that a dataplane keeps.
fn endpoints(dataplane: &Gateway) -> Vec<String> {
    let files = std::fs::read_dir(dataplane.data().join("last-good")).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".endpoints")).collect();
    names.sort();
    names
}

#[test]
fn a_set_is_told_of_the_endpoints_of_its_tenants_and_of_no_others() {
    let cluster = Cluster::start();
    let globex =
        tenant("globex", "globex.example", "").replace("{name: globex}\n", "{name: globex, labels: {tier: big}}\n");
    let others = service("globex", "echo", 8080, cluster.upstream.address)
        + &route("echo", "/", "").replace("namespace: acme", "namespace: globex");
    cluster.kubernetes.apply(&(globex + &others)).unwrap();
    let mut big = dataplane_with(&cluster.kubernetes, &[&cluster.operator], &["--tenants", BIG]).unwrap();
    let (own, both) = (["globex.echo.8080.endpoints"], ["acme.echo.8080.endpoints", "globex.echo.8080.endpoints"]);
    let becomes_told = |big: &Gateway, wanted: &[&str]| {
        big.wait_until(|| endpoints(big) == wanted);
        assert_eq!(endpoints(big), wanted, "{}", cluster.operator.printed());
    };
    becomes_told(&big, &own);
    cluster.kubernetes.kubectl(&["label", "tenant", "acme", "tier=big"]).unwrap();
    becomes(&cluster, &big, 200);
    becomes_told(&big, &both);
    cluster.kubernetes.kubectl(&["label", "tenant", "acme", "tier-"]).unwrap();
    becomes_told(&big, &own);
    // A route of a tenant of its own that leads elsewhere, and nowhere again.
    let more = service("globex", "more", 8080, cluster.upstream.address);
    let route =
        route("more", "/more", "").replace("namespace: acme", "namespace: globex").replace("name: echo", "name: more");
    cluster.kubernetes.apply(&(more + &route)).unwrap();
    becomes_told(&big, &[own[0], "globex.more.8080.endpoints"]);
    cluster.kubernetes.kubectl(&["-n", "globex", "delete", "route", "more"]).unwrap();
    becomes_told(&big, &own);
    // It comes again with what it had, while its tenants are others.
    cluster.kubernetes.kubectl(&["label", "tenant", "acme", "tier=big"]).unwrap();
    becomes_told(&big, &both);
    big.kill();
    cluster.kubernetes.kubectl(&["label", "tenant", "acme", "tier-"]).unwrap();
    big.restart().unwrap();
    becomes_told(&big, &own);
    assert_eq!(endpoints(&cluster.dataplane), both);
    // It died between the endpoints of a tenant and the tenant, or nobody told it that both are gone.
    big.kill();
    let left = big.data().join("last-good").join(both[0]);
    std::fs::copy(cluster.dataplane.data().join("last-good").join(both[0]), &left).unwrap();
    big.restart().unwrap();
    becomes_told(&big, &own);
}

#[test]
fn what_is_no_selector_is_told_at_the_start() {
    let arguments = ["dataplane", "--role", "all", "--operator", "https://a:1", "--operator-ca", "ca"];
    let arguments = arguments.into_iter().chain(["--operator-token", "token", "--tenants", "tier=big"]);
    let output = Command::new(binary().unwrap()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--tenants") && said.contains("matchLabels"), "{said}");
}
