//! Keys are the current ones, and only those that are named are read.

use super::Cluster;

const SOURCE: &str = "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: genesys, namespace: acme}
spec:
  provider: GenesysOpenMessaging
  match: {hostnames: [api.acme.example], path: /webhooks/genesys}
  verification: {secretRefs: [{name: genesys, key: webhook-token}]}
  destination: {backendRef: {name: echo, port: 8080}, path: /events}
";

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
    cluster.kubernetes.apply(SOURCE).unwrap();
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
