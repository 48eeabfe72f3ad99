//! Manifests that several tests need.

use std::net::SocketAddr;

/// A Service with one endpoint on this machine.
#[must_use]
pub fn service(namespace: &str, name: &str, port: u16, endpoint: SocketAddr) -> String {
    let (address, target) = (endpoint.ip(), endpoint.port());
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{ports: [{{name: http, port: {port}, targetPort: {target}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: {family}
ports: [{{name: http, port: {target}}}]
endpoints: [{{addresses: [\"{address}\"], conditions: {{ready: true}}}}]
",
        family = if endpoint.is_ipv4() { "IPv4" } else { "IPv6" },
    )
}

/// A Tenant with one namespace and one host.
#[must_use]
pub fn tenant(name: &str, host: &str, more: &str) -> String {
    format!(
        "---
apiVersion: postern.dev/v1alpha1
kind: Tenant
metadata: {{name: {name}}}
spec:
  namespaces: {{names: [{name}]}}
  hostnames: [{host}]
{more}
"
    )
}

/// A Secret.
#[must_use]
pub fn secret(namespace: &str, name: &str, key: &str, value: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
stringData: {{{key}: \"{value}\"}}
"
    )
}

/// A ConfigMap with one key.
#[must_use]
pub fn config_map(namespace: &str, name: &str, key: &str, value: &str) -> String {
    let value = value.replace('\'', "''");
    format!(
        "---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, namespace: {namespace}}}
data: {{{key}: '{value}'}}
"
    )
}

/// A Route of acme with one rule, which is open; `rule` is what else it says.
#[must_use]
pub fn route(name: &str, path: &str, rule: &str) -> String {
    format!(
        "---
apiVersion: postern.dev/v1alpha1
kind: Route
metadata: {{name: {name}, namespace: acme}}
spec:
  rules:
    - name: only
      matches: [{{path: {{type: PathPrefix, value: {path}}}}}]
      authentication: {{type: None}}
      backendRefs: [{{name: echo, port: 8080}}]
{rule}
"
    )
}

/// A grant by which routes of a namespace may lead to the Services of another.
#[must_use]
pub fn grant(from: &str, to: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: {from}, namespace: {to}}}
spec:
  from: [{{group: postern.dev, kind: Route, namespace: {from}}}]
  to: [{{group: '', kind: Service}}]
"
    )
}

/// A source of acme's for Genesys at `/webhooks/genesys`, with the Secret `genesys`, and more below `spec`.
#[must_use]
pub fn genesys(more: &str) -> String {
    format!(
        "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: genesys, namespace: acme}}
spec:
  provider: GenesysOpenMessaging
  match: {{path: /webhooks/genesys}}
  verification: {{secretRefs: [{{name: genesys, key: webhook-token}}]}}
  destination: {{backendRef: {{name: echo, port: 8080}}, path: /events}}
{more}
"
    )
}
