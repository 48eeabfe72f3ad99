//! Keys are the current ones, and only those that are named are read.

use tests::client::get;
use tests::manifests::{genesys, route, service, tenant};
use tests::operator::{Operator, dataplane};

use super::Cluster;

#[test]
fn a_rotated_secret_is_in_force_and_one_that_is_missing_refuses() {
    let cluster = Cluster::start();
    let status = |secret: &str| {
        let url = format!("http://{}/webhooks/genesys", cluster.dataplane.address);
        let arguments = ["send", "genesys", &url, "--host", super::HOST, "--secret", secret];
        let output = std::process::Command::new(tests::gateway::binary().unwrap()).args(arguments).output().unwrap();
        output.status.success()
    };
    cluster.kubernetes.apply(&tests::manifests::secret("acme", "genesys", "webhook-token", "the-first")).unwrap();
    cluster.kubernetes.apply(&tests::manifests::secret("acme", "other", "key", "canary-that-nobody-names")).unwrap();
    cluster.kubernetes.apply(&genesys("")).unwrap();
    cluster.dataplane.wait_until(|| status("the-first"));
    assert!(status("the-first"), "{}\n{}", cluster.operator.printed(), cluster.dataplane.printed());
    cluster.kubernetes.apply(&tests::manifests::secret("acme", "genesys", "webhook-token", "the-second")).unwrap();
    cluster.dataplane.wait_until(|| status("the-second"));
    assert!(status("the-second") && !status("the-first"));
    cluster.kubernetes.kubectl(&["delete", "secret", "genesys", "-n", "acme"]).unwrap();
    cluster.dataplane.wait_until(|| !status("the-second"));
    assert!(!status("the-second"));
    for secret in ["the-first", "the-second", "canary"] {
        assert!(!cluster.operator.printed().contains(secret) && !cluster.dataplane.printed().contains(secret));
    }
}

/// One that was passed over and cannot be asked for by name any more keeps its tenant as it is, and nobody else.
#[test]
fn a_secret_that_cannot_be_fetched_does_not_keep_the_next_operator_from_publishing() {
    let mut cluster = Cluster::start();
    cluster.kubernetes.apply(&tests::manifests::secret("acme", "genesys", "webhook-token", "the-first")).unwrap();
    cluster.kubernetes.apply(&tests::manifests::secret("acme", "late", "webhook-token", "the-second")).unwrap();
    cluster.kubernetes.apply(&genesys("")).unwrap();
    let second = Operator::start(&cluster.kubernetes, "second").unwrap();
    let follower = dataplane(&cluster.kubernetes, &[&cluster.operator, &second]).unwrap();
    let verbs = "[{\"op\": \"replace\", \"path\": \"/rules/0/verbs\", \"value\": [\"list\", \"watch\"]}]";
    let patch = ["patch", "clusterrole", "postern-references", "--type=json", "-p", verbs];
    cluster.kubernetes.kubectl(&patch).unwrap();
    cluster.kubernetes.apply(&genesys("").replace("name: genesys, key", "name: late, key")).unwrap();
    follower.wait_until(|| second.printed().contains("could not be fetched yet"));
    assert!(second.printed().contains("could not be fetched yet"), "{}", second.printed());
    cluster.operator.kill();
    let globex = tenant("globex", "api.globex.example", "")
        + &service("globex", "echo", 8080, cluster.upstream.address)
        + &route("echo", "/", "").replace("namespace: acme", "namespace: globex");
    cluster.kubernetes.apply(&globex).unwrap();
    let status = || get("api.globex.example", "/").send(follower.address).map_or(0, |answer| answer.status);
    follower.wait_until(|| status() == 200);
    assert_eq!(status(), 200, "{}", second.printed());
    let acme = get(super::HOST, "/").send(follower.address).unwrap();
    assert_eq!(acme.status, 200, "what is in force stays");
}
