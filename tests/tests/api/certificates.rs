//! Certificates of spool shards and of who asks them are there, come back, and follow the authority.

use tests::kubernetes::Kubernetes;
use tests::operator::{NAMESPACE, Operator};
use tests::rabbitmq::wait_until;

const ROLES: [&str; 4] = ["gateway", "deliver", "spool", "operate"];

/// A key of a role's Secret, in base64; nothing when it is not there.
fn held(kubernetes: &Kubernetes, role: &str, key: &str) -> String {
    let (name, path) = (format!("postern-tls-{role}"), format!("jsonpath={{.data.{}}}", key.replace('.', "\\.")));
    kubernetes.kubectl(&["get", "secret", &name, "-n", NAMESPACE, "-o", &path, "--ignore-not-found"]).unwrap()
}

/// Waits until every role's key holds so.
fn wait(kubernetes: &Kubernetes, operator: &Operator, key: &str, holds: impl Fn(&str) -> bool) {
    for role in ROLES {
        wait_until(|| holds(&held(kubernetes, role, key)));
        let now = held(kubernetes, role, key);
        assert!(holds(&now), "{role} {key}: {now}\n{}", operator.printed());
    }
}

#[test]
fn the_certificates_of_roles_are_there_come_back_and_follow_the_authority() {
    let kubernetes = Kubernetes::start().unwrap();
    let mut operator = Operator::start(&kubernetes, "first").unwrap();
    wait(&kubernetes, &operator, "tls.crt", |text| !text.is_empty());
    let first = ROLES.map(|role| held(&kubernetes, role, "tls.crt"));
    let trusted = held(&kubernetes, "spool", "ca.crt");

    kubernetes.kubectl(&["delete", "secret", "postern-tls-deliver", "-n", NAMESPACE]).unwrap();
    operator.restart().unwrap();
    wait(&kubernetes, &operator, "tls.crt", |text| !text.is_empty());
    assert_ne!(held(&kubernetes, "deliver", "tls.crt"), first[1], "it was made anew");
    for (role, before) in ROLES.iter().zip(&first).filter(|(role, _)| **role != "deliver") {
        assert_eq!(held(&kubernetes, role, "tls.crt"), *before, "{role}: what is good stays");
    }

    kubernetes.kubectl(&["delete", "secret", "postern-operator-authority", "-n", NAMESPACE]).unwrap();
    operator.restart().unwrap();
    wait(&kubernetes, &operator, "ca.crt", |text| !text.is_empty() && text != trusted);
    assert_eq!(held(&kubernetes, "spool", "tls.crt"), first[2], "it is shown until all trust the other authority");
    assert!(held(&kubernetes, "spool", "ca.crt").len() > trusted.len(), "both are trusted");
}
