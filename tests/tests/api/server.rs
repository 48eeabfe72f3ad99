//! The harness itself: the definitions are installed, and hold what is written against their rules.

use tests::kubernetes::Kubernetes;

#[test]
fn the_definitions_are_installed_and_refuse_what_breaks_their_rules() {
    let mut kubernetes = Kubernetes::start().unwrap();
    let examples = std::fs::read_to_string("../examples/2-acme.yaml").unwrap();
    kubernetes.apply(&examples).unwrap();
    let wrong = examples.replace("attempts: 12", "attempts: -1");
    let said = kubernetes.apply(&wrong).unwrap_err().to_string();
    assert!(said.contains("spec.delivery.retry.attempts"), "{said}");
    kubernetes.stop_api_server();
    assert!(kubernetes.get("route", "acme", "agents").is_err());
    kubernetes.start_api_server().unwrap();
    assert_eq!(kubernetes.get("route", "acme", "agents").unwrap()["metadata"]["name"], "agents");
}
