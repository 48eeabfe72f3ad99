//! What an object says of itself, and how often that is written.

use serde_json::Value;

use tests::manifests::route;

use super::Cluster;

/// Status, reason and message of a condition.
pub(crate) fn condition(object: &Value, type_: &str) -> (String, String, String) {
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.iter().find(|condition| condition["type"] == type_).cloned().unwrap_or_default();
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

#[test]
fn a_status_says_what_holds_and_is_written_once_a_change() {
    let cluster = Cluster::start();
    let kubernetes = &cluster.kubernetes;
    let get = |name: &str| kubernetes.get("route", "acme", name).unwrap();
    let is = |name: &str, type_: &str, status: &str| condition(&get(name), type_).0 == status;
    cluster.dataplane.wait_until(|| is("echo", "Programmed", "True"));
    let echo = get("echo");
    for type_ in ["Accepted", "ResolvedRefs", "Programmed"] {
        assert_eq!(condition(&echo, type_).0, "True", "{type_}: {echo}\n{}", cluster.operator.printed());
    }
    assert_eq!(echo["status"]["dataplanes"], "1/1");
    kubernetes.apply(&route("lost", "/lost", "").replace("name: echo, port", "name: nowhere, port")).unwrap();
    cluster.dataplane.wait_until(|| is("lost", "ResolvedRefs", "False"));
    let (status, reason, message) = condition(&get("lost"), "ResolvedRefs");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "RefNotResolved"));
    assert!(message.contains("spec.rules[0].backendRefs[0]") && message.contains("acme/nowhere"), "{message}");
    assert_eq!(get("lost")["status"]["conditions"][0]["observedGeneration"], 1);
    // Its neighbour did not change: nothing was written to it.
    assert_eq!(get("echo")["metadata"]["resourceVersion"], echo["metadata"]["resourceVersion"]);
    let events = kubernetes.kubectl(&["get", "events", "-n", "acme", "-o", "jsonpath={.items[*].reason}"]).unwrap();
    assert!(events.contains("RefNotResolved") && events.contains("Programmed"), "{events}");
    // A restart of the operator says nothing new.
    let before = (get("echo"), get("lost"));
    let mut cluster = cluster;
    cluster.operator.restart().unwrap();
    cluster.kubernetes.apply(&super::fixed("after", "/after", "good")).unwrap();
    cluster.wait("/after", 200, "good");
    let get = |name: &str| cluster.kubernetes.get("route", "acme", name).unwrap();
    cluster.dataplane.wait_until(|| condition(&get("after"), "Programmed").0 == "True");
    for (name, before) in [("echo", before.0), ("lost", before.1)] {
        assert_eq!(get(name)["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"], "{name}");
    }
}
