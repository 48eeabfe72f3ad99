//! A real API server with its store on free ports, ended with the test. No kubelet and no controllers: what a test
//! needs of their work it writes itself.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rcgen::KeyPair;

use crate::gateway::free_address;
use crate::kubectl::Kubectl;
use crate::rabbitmq::wait_until;

/// How long a server may take to answer; on a busy machine the API server needs some seconds.
const PATIENCE: Duration = Duration::from_secs(120);
const TOKEN: &str = "administrator-of-a-test";

/// The folder with etcd, kube-apiserver and kubectl; looked for once a process, built if need be.
fn programs() -> io::Result<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let look = || -> io::Result<PathBuf> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/fetch-kubernetes");
        let fetched = Command::new(script).stderr(Stdio::inherit()).output()?;
        if !fetched.status.success() {
            return Err(io::Error::other("there is no API server, and none could be built"));
        }
        Ok(PathBuf::from(String::from_utf8_lossy(&fetched.stdout).trim()))
    };
    let found = FOUND.get_or_init(|| look().map_err(|error| error.to_string()));
    found.as_deref().map_err(|error| io::Error::other(error.as_str()))
}

/// An API server with the definitions of Postern's kinds.
pub struct Kubernetes {
    folder: tempfile::TempDir,
    kubectl: Kubectl,
    store: SocketAddr,
    peer: SocketAddr,
    address: SocketAddr,
    etcd: Option<Child>,
    api_server: Option<Child>,
}

impl Kubernetes {
    /// Starts one and installs `crds/`.
    ///
    /// # Errors
    /// When it does not answer; the error holds what it printed.
    pub fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        fs::write(folder.path().join("accounts.key"), key.serialize_pem())?;
        fs::write(folder.path().join("accounts.pub"), key.public_key_pem())?;
        fs::write(folder.path().join("tokens.csv"), format!("{TOKEN},admin,admin,\"system:masters\"\n"))?;
        let (store, peer, address) = (free_address()?, free_address()?, free_address()?);
        let kubectl = Kubectl { program: programs()?.join("kubectl"), kubeconfig: folder.path().join("kubeconfig") };
        let mut kubernetes = Self { folder, kubectl, store, peer, address, etcd: None, api_server: None };
        kubernetes.start_etcd()?;
        kubernetes.start_api_server()?;
        let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
        kubernetes.kubectl(&["apply", "--server-side", "-f", &definitions.to_string_lossy()])?;
        for definition in ["tenants", "routes", "ratelimitpolicies", "webhooksources"] {
            let name = format!("crd/{definition}.postern.dev");
            let wait = ["wait", "--for=condition=Established", "--timeout=60s", &name];
            // It gives up at once on an object that has no conditions yet.
            if !wait_until(|| kubernetes.kubectl(&wait).is_ok()) {
                kubernetes.kubectl(&wait)?;
            }
        }
        kubernetes.kubectl(&["apply", "--server-side", "-f", &Self::page("reference-grants.yaml")])?;
        Ok(kubernetes)
    }

    fn page(name: &str) -> String {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("servers").join(name).to_string_lossy().into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spawn(&self, program: &str, arguments: &[String]) -> io::Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(program))?;
        let mut command = Command::new(programs()?.join(program));
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }

    fn start_etcd(&mut self) -> io::Result<()> {
        let (client, peer) = (format!("http://{}", self.store), format!("http://{}", self.peer));
        let arguments = [
            format!("--data-dir={}", self.path("store").display()),
            // What a test wrote need not survive a loss of power.
            "--unsafe-no-fsync".to_owned(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        self.etcd = Some(self.spawn("etcd", &arguments)?);
        Ok(())
    }

    /// Starts the API server where it was, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn start_api_server(&mut self) -> io::Result<()> {
        let accounts = self.path("accounts").display().to_string();
        let arguments = [
            format!("--etcd-servers=http://{}", self.store),
            format!("--cert-dir={}", self.path("certificates").display()),
            format!("--secure-port={}", self.address.port()),
            format!("--bind-address={}", self.address.ip()),
            "--advertise-address=127.0.0.1".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            format!("--token-auth-file={}", self.path("tokens.csv").display()),
            "--authorization-mode=RBAC".to_owned(),
            format!("--service-account-key-file={accounts}.pub"),
            format!("--service-account-signing-key-file={accounts}.key"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--api-audiences=https://kubernetes.default.svc,postern-operator".to_owned(),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            // A server that is stopped ends at once.
            "--shutdown-delay-duration=0s".to_owned(),
        ];
        self.api_server = Some(self.spawn("kube-apiserver", &arguments)?);
        let until = Instant::now() + PATIENCE;
        loop {
            if self.path("certificates/apiserver.crt").is_file() {
                fs::write(self.kubeconfig(), self.kubeconfig_text(TOKEN))?;
                if self.kubectl(&["get", "--raw", "/readyz"]).is_ok() {
                    return Ok(());
                }
            }
            let ended = self.api_server.as_mut().map(Child::try_wait);
            if Instant::now() > until || matches!(ended, Some(Ok(Some(_)))) {
                let printed = fs::read_to_string(self.path("kube-apiserver")).unwrap_or_default();
                let last: Vec<&str> = printed.lines().rev().take(20).collect();
                return Err(io::Error::other(format!("the API server does not answer:\n{}", last.join("\n"))));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL to the API server; what it stored stays.
    pub fn stop_api_server(&mut self) {
        kill(&mut self.api_server);
    }

    /// The file by which a client finds the server, as its administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubectl.kubeconfig.clone()
    }

    fn kubeconfig_text(&self, token: &str) -> String {
        format!(
            "apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: 'https://{}', certificate-authority: '{}'}}}}]
users: [{{name: test, user: {{token: '{token}'}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
current-context: test
",
            self.address,
            self.path("certificates/apiserver.crt").display()
        )
    }

    /// The same for a ServiceAccount, with the rights that it was given.
    ///
    /// # Errors
    /// When it has no token.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> io::Result<PathBuf> {
        let token = self.kubectl(&["create", "token", account, "-n", namespace])?;
        let path = self.path(&format!("kubeconfig-{namespace}-{account}"));
        fs::write(&path, self.kubeconfig_text(token.trim()))?;
        Ok(path)
    }
}

impl Deref for Kubernetes {
    type Target = Kubectl;

    fn deref(&self) -> &Kubectl {
        &self.kubectl
    }
}

/// An address of this machine that Kubernetes takes for a pod's: it refuses those of the loopback range. What is sent
/// there does not leave the machine.
///
/// # Errors
/// When the machine has no other.
pub fn own_address() -> io::Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Nothing is sent: this only asks which address would be used.
    socket.connect("192.0.2.1:9")?;
    Ok(socket.local_addr()?.ip())
}

fn kill(child: &mut Option<Child>) {
    if let Some(mut child) = child.take() {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        kill(&mut self.api_server);
        kill(&mut self.etcd);
    }
}
