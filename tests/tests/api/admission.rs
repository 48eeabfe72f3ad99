//! What compile would say is said while an object is applied.

use tests::manifests::{route, service, tenant};

use super::status::condition;
use super::{Cluster, HOST, fixed};

#[test]
fn what_an_object_gets_wrong_is_refused_and_what_is_not_there_yet_is_a_warning() {
    let cluster = Cluster::start();
    let kubernetes = &cluster.kubernetes;
    let page = include_str!("../../../docs/operator.md");
    let hook = page.split("```yaml").nth(2).and_then(|rest| rest.split("```").next()).unwrap();
    let called = "service: {name: postern-operator, namespace: postern-system, path: /admit, port: 9444}";
    assert!(hook.contains(called), "{hook}");
    let hook = hook.replace(called, &format!("url: 'https://{}/admit'", cluster.operator.admission));
    kubernetes.apply(&hook).unwrap();
    let wrong = fixed("wrong", "/wrong", "x").replace("PathPrefix, value: /wrong", "RegularExpression, value: '/('");
    // The operator takes a moment to find it, and the API server to know whom it names. An admission that does not
    // answer in time lets in, as it should, and is asked again.
    let denied = |manifest: &str, word: &str| {
        let (mut said, is) = (String::new(), |said: &str| said.contains("denied the request") && said.contains(word));
        cluster.dataplane.wait_until(|| {
            said = kubernetes.apply(manifest).err().map(|error| error.to_string()).unwrap_or_default();
            is(&said)
        });
        assert!(is(&said), "{said}");
    };
    denied(&wrong, "spec.rules[0].matches[0]");
    kubernetes.apply(&route("early", "/early", "").replace("name: echo, port", "name: later, port")).unwrap();
    cluster.wait("/x", 200, "GET /x");
    // Neither a Tenant that comes after its objects nor one that is seen here later than they are stops them.
    let theirs = fixed("theirs", "/theirs", "globex").replace("namespace: acme", "namespace: globex");
    kubernetes.apply(&(service("globex", "nobody", 8080, cluster.upstream.address) + &theirs)).unwrap();
    let accepted = || condition(&kubernetes.get("route", "globex", "theirs").unwrap(), "Accepted");
    cluster.dataplane.wait_until(|| accepted().1 == "NotAllowed");
    let (status, _, message) = accepted();
    assert_eq!(status, "False");
    assert!(message.contains("no Tenant lists namespace globex"), "{message}");
    kubernetes.apply(&tenant("globex", "api.globex.example", "")).unwrap();
    cluster.dataplane.wait_until(|| accepted().1 == "Accepted");
    denied(&tenant("another", HOST, ""), HOST);
}
