//! Two releases in one namespace: sets of gateways for tenants of their own, behind one operator.

use std::net::SocketAddr;

use tests::client::{get, post};
use tests::load::Load;
use tests::manifests::{config_map, secret, service, tenant};
use tests::mmdb::CountryDatabase;

use crate::installed::{HOST, Installed, SYSTEM, upgrade};

const BIG: &str = "big.example";
/// The second release's port of the node.
const PORT: u16 = 30081;
/// Callers behind a proxy that is believed: in the country and in the provider's ranges, and in neither.
const IN: &str = "203.0.113.7";
const OUT: &str = "198.51.100.7";

/// A volume with a country database, and a list of a provider's ranges, as whoever runs the cluster provides them.
fn provide(installed: &Installed) {
    let database = CountryDatabase::new(&[(IN.parse().unwrap(), 24, "DE"), (OUT.parse().unwrap(), 24, "FR")]).bytes();
    let octal: String = database.iter().map(|byte| format!("\\0{byte:03o}")).collect();
    let folder = "mkdir -p /var/countries && chmod 755 /var/countries";
    installed.kind.node(&format!("{folder} && printf '%b' '{octal}' > /var/countries/country.mmdb")).unwrap();
    let volume = format!(
        "---
apiVersion: v1
kind: PersistentVolume
metadata: {{name: countries}}
spec:
  capacity: {{storage: 1Mi}}
  accessModes: [ReadOnlyMany]
  storageClassName: countries
  hostPath: {{path: /var/countries}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: countries, namespace: {SYSTEM}}}
spec: {{accessModes: [ReadOnlyMany], storageClassName: countries, resources: {{requests: {{storage: 1Mi}}}}}}
"
    );
    let today = installed.kind.run("date -u +%F").unwrap();
    let ranges = serde_json::json!({"version": 1, "provider": "Meta", "source": "https://ranges.example",
        "date": today, "ranges": [format!("{IN}/32")]});
    let ranges = config_map(SYSTEM, "ranges", "meta.json", &ranges.to_string());
    installed.kind.apply(&(volume + &ranges)).unwrap();
}

/// The tenant `big`: a route for one country, and a source for one provider's addresses.
fn big(installed: &Installed) -> String {
    let policies = "---
apiVersion: postern.dev/v1alpha1
kind: Route
metadata: {name: country, namespace: big}
spec:
  rules:
    - name: only
      matches: [{path: {type: PathPrefix, value: /country}}]
      authentication: {type: None}
      addresses: {countries: {allow: [DE]}}
      backendRefs: [{name: echo, port: 8080}]
---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: whatsapp, namespace: big}
spec:
  provider: WhatsApp
  match: {path: /webhooks/whatsapp}
  sourceAddresses: {providers: [Meta]}
  verification: {secretRefs: [{name: meta-app, key: app-secret}]}
  destination: {backendRef: {name: echo, port: 8080}, path: /events}
";
    tenant("big", BIG, "").replace("{name: big}\n", "{name: big, labels: {tier: big}}\n")
        + &service("big", "echo", 8080, installed.upstream.address)
        + &secret("big", "meta-app", "app-secret", "unused")
        + policies
}

/// Each set answers for its own tenants only and by what the installation provides, and the first goes on meanwhile.
pub(crate) fn a_second_set_serves_its_own_tenants(installed: &Installed) {
    let node = installed.kubectl("get nodes -o jsonpath={..addresses[0].address}");
    let second = SocketAddr::new(node.trim().parse().unwrap(), PORT);
    let status = |at: SocketAddr, host: &str, path: &str, from: &str| {
        let request = get(host, path).header("x-forwarded-for", from);
        request.send(at).map_or(0, |answer| answer.status)
    };
    let posted = |from: &str| {
        let request = post(BIG, "/webhooks/whatsapp", "{}").header("x-forwarded-for", from);
        request.send(second).map_or_else(|_| String::new(), |answer| answer.reason())
    };
    provide(installed);
    let load = Load::start(installed.kind.requests, HOST, "/echo");
    let others =
        "tenants={\"matchExpressions\": [{\"key\": \"tier\", \"operator\": \"NotIn\", \"values\": [\"big\"]}]}";
    let provided = "--set countryDatabase.claim=countries";
    upgrade(
        installed,
        &format!(
            "{provided} --set providerRanges.configMap=ranges --set 'operator.sets={{big}}' --set-json '{others}' --wait --timeout 5m"
        ),
    );
    let set = "--set operator.of=postern --set tenants.matchLabels.tier=big --set gateway.trustedHops=1";
    let node_port = format!("--set gateway.service.type=NodePort --set gateway.service.nodePort={PORT}");
    let install =
        format!("helm install big charts/postern -n {SYSTEM} {set} {provided} {node_port} --wait --timeout 5m");
    installed.kind.run(&install).unwrap();
    // Pods of before the upgrade serve all tenants until they have drained.
    installed.wait("they are gone", || !installed.kubectl(&format!("-n {SYSTEM} get pods")).contains("Terminating"));
    installed.wait("the tenant is taken", || installed.kind.apply(&big(installed)).is_ok());
    installed.grant("big");
    installed.wait("the country is let in", || status(second, BIG, "/country", IN) == 200);
    assert_eq!(status(second, BIG, "/country", OUT), 403);
    installed.wait("the provider is let in, and did not sign", || posted(IN) == "signature_missing");
    assert_eq!(posted(OUT), "address_denied");
    // Of its one gateway, and of no others.
    installed.wait("its own set is counted", || installed.kubectl("-n big get routes").contains("1/1"));
    assert_eq!(status(second, HOST, "/echo", IN), 404);
    assert_eq!(status(installed.kind.requests, BIG, "/country", IN), 404);
    let counted = load.counted();
    assert!(counted.failed.is_empty() && counted.answered > 0, "{counted}");
    installed.kind.run(&format!("helm uninstall big -n {SYSTEM} --wait")).unwrap();
    installed.kubectl("delete tenant big");
    installed.kubectl("delete namespace big --wait=false");
    upgrade(installed, "--wait --timeout 5m");
    installed
        .kubectl(&format!("-n {SYSTEM} delete pvc/countries pvc/data-big-gateway-0 configmap/ranges --wait=false"));
}
