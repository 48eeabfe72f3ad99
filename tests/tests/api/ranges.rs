//! Ranges that providers publish, as whoever runs the operator provides them.

use tests::client::post;
use tests::documents::Documents;
use tests::gateway::Gateway;
use tests::kubernetes::Kubernetes;
use tests::manifests::{genesys, secret, service, tenant};
use tests::operator::{Operator, dataplane_with};

use super::{HOST, upstream};

fn list(ranges: &str) -> String {
    let now = jiff::Timestamp::now();
    format!("{{version: 1, provider: Genesys, source: a test, date: \"{now}\", ranges: {ranges}}}\n")
}

/// A POST without a signature: refused for where it comes from, or after that for what it lacks.
fn from(gateway: &Gateway, address: &str) -> String {
    let request = post(HOST, "/webhooks/genesys", "{}").header("x-forwarded-for", address);
    request.send(gateway.address).map_or_else(|_| String::new(), |answer| answer.reason())
}

/// The reason for a caller whose address is let in.
const LET_IN: &str = "signature_missing";
/// The reason for a caller whose address is not.
const DENIED: &str = "address_denied";

/// The reasons for two addresses.
fn both(gateway: &Gateway) -> [String; 2] {
    ["192.0.2.1", "203.0.113.1"].map(|address| from(gateway, address))
}

fn followed(kubernetes: &Kubernetes, operator: &Operator) -> Gateway {
    let upstream = upstream();
    let source = genesys("  sourceAddresses: {providers: [Genesys]}");
    let objects = tenant("acme", HOST, "") + &service("acme", "echo", 8080, upstream.address);
    kubernetes.apply(&(objects + &secret("acme", "genesys", "webhook-token", "a-token") + &source)).unwrap();
    dataplane_with(kubernetes, &[operator], &["--trusted-proxy", "127.0.0.0/8"]).unwrap()
}

#[test]
fn ranges_of_a_provider_reach_dataplanes_whenever_their_file_is_another() {
    let (kubernetes, folder) = (Kubernetes::start().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("genesys.yaml");
    std::fs::write(&file, list("[192.0.2.0/24]")).unwrap();
    let operator =
        Operator::start_with(&kubernetes, "first", &["--provider-ranges", &folder.path().to_string_lossy()]).unwrap();
    let gateway = followed(&kubernetes, &operator);
    gateway.wait_until(|| from(&gateway, "192.0.2.1") == LET_IN);
    assert_eq!(both(&gateway), [LET_IN, DENIED], "{}", operator.printed());
    std::fs::write(&file, list("[203.0.113.0/24]")).unwrap();
    gateway.wait_until(|| from(&gateway, "203.0.113.1") == LET_IN);
    assert_eq!(both(&gateway), [DENIED, LET_IN], "{}", operator.printed());
    std::fs::write(&file, "ranges: [").unwrap();
    gateway.wait_until(|| operator.printed().contains("cannot be read"));
    assert_eq!(both(&gateway), [DENIED, LET_IN], "{}", operator.printed());
}

/// A list that was never fetched is not an empty one: an operator that starts meanwhile changes nothing.
#[test]
fn an_operator_that_cannot_fetch_a_list_publishes_nothing_until_it_can() {
    let (kubernetes, lists) = (Kubernetes::start().unwrap(), Documents::start(&list("[192.0.2.0/24]")).unwrap());
    let ca_file = lists.ca_file();
    let more = [
        ["--provider-ranges-url", &lists.url],
        ["--provider-ranges-ca-file", &ca_file.to_string_lossy()],
        ["--provider-ranges-refresh", "1s"],
        ["--allow-upstream", "127.0.0.0/8"],
    ];
    let mut operator = Operator::start_with(&kubernetes, "first", more.as_flattened()).unwrap();
    let gateway = followed(&kubernetes, &operator);
    gateway.wait_until(|| from(&gateway, "192.0.2.1") == LET_IN);
    lists.publish(None);
    operator.kill();
    operator.spawn().unwrap();
    gateway.wait_until(|| operator.readiness().contains("were not fetched yet"));
    assert!(operator.readiness().contains("were not fetched yet"), "{}", operator.printed());
    assert_eq!(both(&gateway), [LET_IN, DENIED], "what is in force stays");
    lists.publish(Some(&list("[203.0.113.0/24]")));
    operator.wait_ready().unwrap();
    gateway.wait_until(|| from(&gateway, "203.0.113.1") == LET_IN);
    assert_eq!(both(&gateway), [DENIED, LET_IN], "{}", operator.printed());
}
