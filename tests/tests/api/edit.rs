//! What is applied goes live, and what is wrong with it stays where it is.

use tests::client::get;
use tests::kubernetes::Kubernetes;
use tests::manifests::{grant, route, service, tenant};
use tests::operator::{Operator, dataplane};

use super::{Cluster, HOST, fixed, upstream};

#[test]
fn an_edit_goes_live_and_a_broken_object_harms_no_neighbour() {
    let cluster = Cluster::start();
    assert_eq!(cluster.get("/x").0, 200);
    let kubernetes = &cluster.kubernetes;
    kubernetes.apply(&fixed("edited", "/edited", "one")).unwrap();
    cluster.wait("/edited", 200, "one");
    kubernetes.apply(&fixed("edited", "/edited", "two")).unwrap();
    cluster.wait("/edited", 200, "two");
    // A path that no request can have is refused by compile, not by the definition.
    let broken =
        fixed("edited", "/edited", "three").replace("PathPrefix, value: /edited", "RegularExpression, value: '/('");
    kubernetes.apply(&broken).unwrap();
    kubernetes.apply(&fixed("beside", "/beside", "good")).unwrap();
    cluster.wait("/beside", 200, "good");
    assert_eq!(cluster.get("/edited").0, 503, "what its matches are is not known: its last good places refuse");
    kubernetes.kubectl(&["delete", "route", "edited", "-n", "acme"]).unwrap();
    cluster.wait("/edited", 200, "GET /edited");
}

#[test]
fn an_object_that_nobody_can_decode_stops_nothing() {
    let cluster = Cluster::start();
    let kubernetes = &cluster.kubernetes;
    // What an older definition let through, and this one would not.
    let anything = "{\"spec\": {\"versions\": [{\"name\": \"v1alpha1\", \"served\": true, \"storage\": true,
        \"subresources\": {\"status\": {}}, \"schema\": {\"openAPIV3Schema\":
        {\"type\": \"object\", \"x-kubernetes-preserve-unknown-fields\": true}}}]}}";
    kubernetes.kubectl(&["patch", "crd", "routes.postern.dev", "--type=merge", "-p", anything]).unwrap();
    let odd = "---\napiVersion: postern.dev/v1alpha1\nkind: Route\nmetadata: {name: odd, namespace: acme}\nspec: 7\n";
    cluster.dataplane.wait_until(|| kubernetes.apply(odd).is_ok());
    kubernetes.apply(&fixed("beside", "/beside", "good")).unwrap();
    cluster.wait("/beside", 200, "good");
}

#[test]
fn a_grant_that_is_revoked_and_a_namespace_that_is_deleted_take_what_they_gave() {
    let cluster = Cluster::start();
    let kubernetes = &cluster.kubernetes;
    kubernetes.apply(&service("shared", "echo", 8080, cluster.upstream.address)).unwrap();
    let shared = route("shared", "/shared", "").replace("name: echo, port", "name: echo, namespace: shared, port");
    kubernetes.apply(&shared).unwrap();
    kubernetes.apply(&grant("acme", "shared")).unwrap();
    cluster.wait("/shared", 200, "GET /shared");
    kubernetes.kubectl(&["delete", "referencegrant", "acme", "-n", "shared"]).unwrap();
    cluster.wait("/shared", 503, "policy_broken");
    let globex = tenant("globex", "api.globex.example", "")
        + &service("globex", "echo", 8080, cluster.upstream.address)
        + &route("echo", "/", "").replace("namespace: acme", "namespace: globex");
    kubernetes.apply(&globex).unwrap();
    let status = || {
        let answer = tests::client::get("api.globex.example", "/").send(cluster.dataplane.address).unwrap();
        answer.status
    };
    cluster.dataplane.wait_until(|| status() == 200);
    // There is no controller here that empties a namespace which is deleted.
    kubernetes.kubectl(&["delete", "route,service,endpointslice", "--all", "-n", "globex"]).unwrap();
    kubernetes.kubectl(&["delete", "namespace", "globex", "--wait=false"]).unwrap();
    cluster.dataplane.wait_until(|| status() == 404);
    assert_eq!(status(), 404);
    assert_eq!(cluster.get("/x").0, 200);
}

#[test]
fn an_api_server_without_reference_grants_is_asked_for_them_ever_more_seldom() {
    let kubernetes = Kubernetes::start().unwrap();
    kubernetes.kubectl(&["delete", "crd", "referencegrants.gateway.networking.k8s.io"]).unwrap();
    let upstream = upstream();
    let acme = tenant("acme", HOST, "") + &service("acme", "echo", 8080, upstream.address);
    kubernetes.apply(&(acme + &route("echo", "/", ""))).unwrap();
    let operator = Operator::start(&kubernetes, "first").unwrap();
    let dataplane = dataplane(&kubernetes, &[&operator]).unwrap();
    // Nobody grants anything; the rest is as always.
    dataplane.wait_until(|| get(HOST, "/").send(dataplane.address).is_ok_and(|answer| answer.status == 200));
    // A few tries of the watch.
    std::thread::sleep(std::time::Duration::from_secs(4));
    let printed = operator.printed();
    let told =
        |text: &str| printed.lines().filter(|line| line.contains("ReferenceGrant") && line.contains(text)).count();
    assert_eq!((told("does not answer"), told("answers again")), (1, 0), "{printed}");
}

#[test]
fn the_examples_are_served() {
    let (kubernetes, upstream) = (Kubernetes::start().unwrap(), upstream());
    let (own, port) = (upstream.address.ip().to_string(), upstream.address.port().to_string());
    for page in ["1-platform", "2-acme", "3-globex", "4-supporting"] {
        let text = std::fs::read_to_string(format!("../examples/{page}.yaml")).unwrap();
        kubernetes.apply(&text.replace("127.0.0.1", &own).replace("19101", &port).replace("19102", &port)).unwrap();
    }
    let binding = |namespace: &str| {
        format!(
            "---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: postern-references, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: postern-references}}
subjects: [{{kind: ServiceAccount, name: postern-operator, namespace: postern-system}}]
"
        )
    };
    kubernetes.apply(&(binding("globex") + &binding("postern-hooks"))).unwrap();
    let operator = Operator::start(&kubernetes, "first").unwrap();
    let dataplane = dataplane(&kubernetes, &[&operator]).unwrap();
    let answer = |host: &str, path: &str| get(host, path).send(dataplane.address).unwrap();
    let (status, site) = (answer("api.acme.example", "/status"), answer("api.globex.example", "/"));
    assert_eq!((status.status, site.status), (200, 200), "{}\n{}", operator.printed(), dataplane.printed());
    assert_eq!(answer("api.acme.example", "/v1/conversations").status, 401);
    let key =
        get("api.acme.example", "/v1/conversations").header("x-api-key", "pk_demo_9c1f_initech-tries-postern-locally");
    assert_eq!(key.send(dataplane.address).unwrap().status, 200);
}
