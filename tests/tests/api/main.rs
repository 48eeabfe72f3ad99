//! A real API server, real operators and dataplanes: what users apply is what callers get.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod admission;
mod away;
mod canary;
mod certificates;
mod charts;
mod command;
mod edit;
mod ranges;
mod secret;
mod server;
mod sets;
mod status;

use tests::gateway::Gateway;
use tests::kubernetes::{Kubernetes, own_address};
use tests::manifests::{route, service, tenant};
use tests::operator::{Operator, dataplane};
use tests::upstream::{Reply, Upstream};

/// The host of the tenant that most tests have.
pub const HOST: &str = "api.acme.example";

/// A cluster with one operator and one dataplane.
pub struct Cluster {
    /// The dataplane; it and the operator end before what they talk to.
    pub dataplane: Gateway,
    /// The operator, called first.
    pub operator: Operator,
    /// The API server.
    pub kubernetes: Kubernetes,
    /// What acme's route leads to.
    pub upstream: Upstream,
}

/// An answer that shows which edit is in force.
pub fn fixed(name: &str, path: &str, body: &str) -> String {
    let fallback = format!("      fallback: {{status: 200, contentType: text/plain, body: '{body}'}}");
    route(name, path, &fallback).replace("name: echo", "name: nobody")
}

/// One that answers with the request line, at an address that a pod could have.
pub fn upstream() -> Upstream {
    let address = format!("{}:0", own_address().unwrap());
    Upstream::start_at(&address, |received| Reply::Status(200, received.line.clone())).unwrap()
}

impl Cluster {
    /// With acme and its open route to an upstream.
    pub fn start() -> Self {
        let (kubernetes, upstream) = (Kubernetes::start().unwrap(), upstream());
        let nobody = service("acme", "nobody", 8080, upstream.address).replace("ready: true", "ready: false");
        let acme = tenant("acme", HOST, "") + &service("acme", "echo", 8080, upstream.address) + &nobody;
        kubernetes.apply(&(acme + &route("echo", "/", ""))).unwrap();
        let operator = Operator::start(&kubernetes, "first").unwrap();
        let dataplane = dataplane(&kubernetes, &[&operator]).unwrap();
        Self { dataplane, operator, kubernetes, upstream }
    }

    /// The status and the body that a path answers now.
    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = tests::client::get(HOST, path).send(self.dataplane.address).unwrap();
        (answer.status, answer.text())
    }

    /// Waits until a path answers so; fails with what it answered instead.
    pub fn wait(&self, path: &str, status: u16, text: &str) {
        let holds = || {
            let (now, body) = self.get(path);
            now == status && body.contains(text)
        };
        self.dataplane.wait_until(holds);
        let (now, body) = self.get(path);
        let logs = || format!("{}\n{}", self.operator.printed(), self.dataplane.printed());
        assert!(now == status && body.contains(text), "{path}: wanted {status} {text}, got {now} {body}\n{}", logs());
    }
}
