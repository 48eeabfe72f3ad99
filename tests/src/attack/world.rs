//! What is attacked: a gateway with a tenant that is under attack and a neighbour that must not notice.

use std::fs;
use std::io;
use std::time::Instant;

use ring::hmac;

use crate::client::{Request, get, post};
use crate::gateway::Gateway;
use crate::hang::Hang;
use crate::manifests::{secret, service, tenant};
use crate::upstream::Upstream;

/// The host of the tenant under attack.
pub(super) const HOST: &str = "api.acme.example";
/// The host of its neighbour.
pub(super) const NEIGHBOUR: &str = "api.globex.example";
/// The secret of the source at `/hook`.
pub(super) const SECRET: &str = "a-secret-of-more-than-sixteen-bytes";

/// A gateway under attack, and the service behind it.
pub(super) struct World {
    /// The gateway.
    pub(super) gateway: Gateway,
    /// The service behind both tenants.
    pub(super) upstream: Upstream,
}

/// The manifests: acme with an open rule at `/`, a closed one at `/admin` and a GitHub source at `/hook`; globex with an
/// open rule. `ceilings` and `rule` add lines to acme's Tenant and to its open rule.
#[must_use]
pub(super) fn manifests(upstream: &Upstream, ceilings: &str, rule: &str) -> String {
    let keys = "  authentication:\n    apiKeys: [{name: keys, secretSelector: {namespace: acme, matchLabels: {kind: caller}}}]\n";
    let acme = tenant("acme", HOST, &format!("{keys}{ceilings}"));
    let objects = format!(
        "---
apiVersion: postern.dev/v1alpha1
kind: Route
metadata: {{name: api, namespace: acme}}
spec:
  rules:
    - name: admin
      matches: [{{path: {{type: PathPrefix, value: /admin}}}}]
      authentication: {{type: AnyOf, methods: [keys]}}
      backendRefs: [{{name: echo, port: 8080}}]
    - name: open
      matches: [{{path: {{type: PathPrefix, value: /}}}}]
      authentication: {{type: None}}
      backendRefs: [{{name: echo, port: 8080}}]
{rule}
---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {{name: hook, namespace: acme}}
spec:
  provider: GitHub
  match: {{path: /hook}}
  verification: {{secretRefs: [{{name: hook, key: secret}}]}}
  destination: {{backendRef: {{name: echo, port: 8080}}, path: /events}}
"
    );
    let neighbour = tenant("globex", NEIGHBOUR, "")
        + &service("globex", "echo", 8080, upstream.address)
        + "---
apiVersion: postern.dev/v1alpha1
kind: Route
metadata: {name: api, namespace: globex}
spec:
  rules: [{name: open, matches: [{path: {type: PathPrefix, value: /}}], authentication: {type: None}, backendRefs: [{name: echo, port: 8080}]}]
";
    acme + &service("acme", "echo", 8080, upstream.address)
        + &secret("acme", "hook", "secret", SECRET)
        + &objects
        + &neighbour
}

impl World {
    /// A world whose service answers everything.
    ///
    /// # Errors
    /// When the gateway does not become ready.
    pub(super) fn start(ceilings: &str, rule: &str, arguments: &[&str]) -> io::Result<Self> {
        Self::with(Upstream::echo()?, ceilings, rule, arguments)
    }

    /// A world with a service of the attack's own.
    ///
    /// # Errors
    /// When the gateway does not become ready.
    pub(super) fn with(upstream: Upstream, ceilings: &str, rule: &str, arguments: &[&str]) -> io::Result<Self> {
        let manifests = manifests(&upstream, ceilings, rule);
        let gateway = Gateway::start_with(&manifests, &[&["--cores", "2"], arguments].concat())?;
        Ok(Self { gateway, upstream })
    }

    /// Returns whether the neighbour is answered, and after how many milliseconds.
    #[must_use]
    pub(super) fn neighbour(&self) -> (bool, u128) {
        let began = Instant::now();
        let answered = get(NEIGHBOUR, "/").send(self.gateway.address).is_ok_and(|answer| answer.status == 200);
        (answered, began.elapsed().as_millis())
    }

    /// Returns the most memory that the gateway has had resident, in MiB.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn peak_mebibytes(&self) -> io::Result<u64> {
        let pid = self.gateway.pid().ok_or(io::ErrorKind::NotFound)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kibibytes.map(|count| count / 1024).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Returns the CPU time that the gateway has used, in hundredths of a second.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn cpu_ticks(&self) -> io::Result<u64> {
        let pid = self.gateway.pid().ok_or(io::ErrorKind::NotFound)?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The fields after the name, which may hold blanks: utime and stime are the 12th and 13th of them.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let of = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        Ok(of(11) + of(12))
    }
}

/// A POST to the source, signed with a secret.
#[must_use]
pub(super) fn signed(secret: &str, body: &str) -> Request {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature: String =
        hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let delivery: String = signature.chars().take(32).collect();
    post(HOST, "/hook", body)
        .header("content-type", "application/json")
        .header("x-github-event", "ping")
        .header("x-github-delivery", &delivery)
        .header("x-hub-signature-256", &format!("sha256={signature}"))
}
