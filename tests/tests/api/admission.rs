//! What compile would say is said while an object is applied.

use tests::manifests::route;

use super::{Cluster, fixed};

#[test]
fn what_an_object_gets_wrong_is_refused_and_what_is_not_there_yet_is_a_warning() {
    let cluster = Cluster::start();
    let kubernetes = &cluster.kubernetes;
    let page = include_str!("../../../docs/operator.md");
    let hook = page.split("```yaml").nth(2).and_then(|rest| rest.split("```").next()).unwrap();
    let service = "service: {name: postern-operator, namespace: postern-system, path: /admit, port: 9444}";
    assert!(hook.contains(service), "{hook}");
    let hook = hook.replace(service, &format!("url: 'https://{}/admit'", cluster.operator.admission));
    kubernetes.apply(&hook).unwrap();
    let wrong = fixed("wrong", "/wrong", "x").replace("PathPrefix, value: /wrong", "RegularExpression, value: '/('");
    // The operator takes a moment to find it, and the API server to know whom it names.
    let said = || kubernetes.apply(&wrong).err().map(|error| error.to_string()).unwrap_or_default();
    cluster.dataplane.wait_until(|| said().contains("spec.rules[0]"));
    assert!(said().contains("denied the request") && said().contains("spec.rules[0].matches[0]"), "{}", said());
    kubernetes.apply(&route("early", "/early", "").replace("name: echo, port", "name: later, port")).unwrap();
    cluster.wait("/x", 200, "GET /x");
}
