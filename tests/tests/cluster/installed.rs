//! What the README installs, and a tenant whose services are in this process.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tests::client::get;
use tests::kind::{Kind, build_images};
use tests::manifests::{route, service};
use tests::traffic::manifests;
use tests::upstream::{Reply, Upstream};

/// The host of the tenant.
pub(crate) const HOST: &str = tests::traffic::HOST;
/// The namespace of the release.
pub(crate) const SYSTEM: &str = "postern-system";
/// How long something that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A release that serves.
pub(crate) struct Installed {
    /// The cluster.
    pub(crate) kind: Kind,
    /// This machine, as pods see it.
    pub(crate) host: IpAddr,
    /// Answers the API calls of the tenant.
    pub(crate) upstream: Upstream,
    /// Receives the tenant's events.
    pub(crate) receiver: Upstream,
}

/// The commands of the README's part on clusters, a line each.
pub(crate) fn readme() -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let part = page.split("## In a cluster").nth(1).unwrap().split("\n## ").next().unwrap();
    part.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

impl Installed {
    /// Runs the README's first two commands, and adds a tenant.
    pub(crate) fn start() -> io::Result<Self> {
        let (kind, commands) = (Kind::prepare()?, readme());
        build_images()?;
        kind.run(&commands[0])?;
        kind.load_demo()?;
        if let Err(error) = kind.run(&commands[1]) {
            return Err(io::Error::other(format!("{error}\n{}", state(&kind))));
        }
        let host = kind.host()?;
        let echo = |received: &tests::upstream::Received| Reply::Status(200, received.line.clone());
        let (upstream, receiver) =
            (Upstream::start_at(&format!("{host}:0"), echo)?, Upstream::start_at(&format!("{host}:0"), echo)?);
        let installed = Self { kind, host, upstream, receiver };
        let acme = manifests(installed.receiver.address)
            + &service("acme", "echo", 8080, installed.upstream.address)
            // Nobody is behind it: what leads there shows its fallback.
            + &service("acme", "nobody", 8080, installed.upstream.address).replace("ready: true", "ready: false")
            + &route("echo", "/echo", "");
        installed.kind.apply(&acme)?;
        installed.grant("acme");
        installed.wait("the tenant serves", || installed.status("/echo") == 200);
        Ok(installed)
    }

    /// Lets the operator read a namespace's Secrets, as a user does.
    pub(crate) fn grant(&self, namespace: &str) {
        let postern = tests::gateway::binary().unwrap();
        self.kind.run(&format!("{} grant {namespace} | kubectl apply -f -", postern.display())).unwrap();
    }

    /// The status of a call of the tenant; 0 when there was no answer.
    pub(crate) fn status(&self, path: &str) -> u16 {
        get(HOST, path).send(self.kind.requests).map_or(0, |answer| answer.status)
    }

    /// Waits until it holds; then tells how the cluster is, and panics.
    pub(crate) fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < until, "in vain: {what}\n{}", state(&self.kind));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// kubectl that must work.
    pub(crate) fn kubectl(&self, line: &str) -> String {
        self.kind.run(&format!("kubectl {line}")).unwrap()
    }

    /// Waits until a workload of the release is as it should be.
    pub(crate) fn rolled_out(&self, workload: &str) {
        self.kubectl(&format!("-n {SYSTEM} rollout status {workload} --timeout 4m"));
    }
}

/// Upgrades the release to what the README installs, and more values.
pub(crate) fn upgrade(installed: &Installed, more: &str) {
    let values = "--values charts/postern/values-kind.yaml";
    installed.kind.run(&format!("helm upgrade postern charts/postern --namespace {SYSTEM} {values} {more}")).unwrap();
}

/// How the cluster is, for whoever reads a failure.
pub(crate) fn state(kind: &Kind) -> String {
    let say = |line: &str| kind.run(line).unwrap_or_else(|error| error.to_string());
    [
        "kubectl get pods -A",
        "kubectl get events -A --sort-by=.lastTimestamp | tail -n 30",
        "kubectl get tenants,routes,webhooksources -A",
        "for pod in $(kubectl -n postern-system get pods -o name); do echo \"== $pod\"; kubectl -n postern-system logs \
         --tail=15 $pod; kubectl -n postern-system logs --tail=15 --previous $pod 2>/dev/null; done",
    ]
    .map(say)
    .join("\n")
}
