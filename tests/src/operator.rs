//! Operators and dataplanes of a test's own, on a real API server.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::get;
use crate::gateway::{Gateway, binary, free_address};
use crate::hang::Hang;
use crate::kubernetes::Kubernetes;

/// Where operators live.
pub const NAMESPACE: &str = "postern-system";
/// How long an operator may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// Long enough for a busy machine, short enough for a test that waits for it to end.
const LEASE: &str = "4s";

/// A replica of the operator in a process of its own.
pub struct Operator {
    /// Where dataplanes connect.
    pub address: SocketAddr,
    /// Where the API server asks for admission.
    pub admission: SocketAddr,
    admin: SocketAddr,
    name: String,
    more: Vec<String>,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl Operator {
    /// Starts one with the rights that its page grants, and waits until it has listed everything.
    ///
    /// # Errors
    /// When it does not become ready; the error holds what it printed.
    pub fn start(kubernetes: &Kubernetes, name: &str) -> io::Result<Self> {
        Self::start_with(kubernetes, name, &[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// When it does not become ready; the error holds what it printed.
    pub fn start_with(kubernetes: &Kubernetes, name: &str, more: &[&str]) -> io::Result<Self> {
        prepare(kubernetes)?;
        let kubeconfig = kubernetes.kubeconfig_of(NAMESPACE, "postern-operator")?;
        let (address, admin, admission) = (free_address()?, free_address()?, free_address()?);
        let folder = tempfile::tempdir()?;
        let (name, more) = (name.to_owned(), more.iter().map(|&one| one.to_owned()).collect());
        let mut operator = Self { address, admission, admin, name, more, kubeconfig, folder, child: None };
        operator.restart()?;
        Ok(operator)
    }

    /// Starts it again where it was, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self) -> io::Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&mut self) -> io::Result<()> {
        self.kill();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = Command::new(binary()?);
        command.arg("operator").env("KUBECONFIG", &self.kubeconfig);
        command.args(["--listen", &self.address.to_string(), "--admin", &self.admin.to_string()]);
        command.args(["--namespace", NAMESPACE, "--identity", &self.name, "--lease-duration", LEASE]);
        command.args([
            "--admission",
            &self.admission.to_string(),
            "--admission-webhook",
            "postern-operator",
            "--shard-tls",
            "postern-tls",
            "--server-name",
            "127.0.0.1",
            "--server-name",
            "postern-operator",
        ]);
        command.args(["--address", &format!("https://{}", self.address)]);
        command.args(["--dataplane-account", &format!("{NAMESPACE}/postern-dataplane")]);
        command.args(&self.more);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Waits until it has listed everything.
    ///
    /// # Errors
    /// When it ends, or does not become ready; the error holds what it printed.
    pub fn wait_ready(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                return Err(io::Error::other(format!("the operator ended with {status}:\n{}", self.printed())));
            }
            if get("localhost", "/readyz").send_http1(self.admin).is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("the operator did not become ready:\n{}", self.printed())))
    }

    /// What it counts, as Prometheus reads it; empty while it does not answer.
    #[must_use]
    pub fn metrics(&self) -> String {
        get("localhost", "/metrics").send_http1(self.admin).map(|answer| answer.text()).unwrap_or_default()
    }

    /// What its admin port says of its readiness.
    #[must_use]
    pub fn readiness(&self) -> String {
        get("localhost", "/readyz").send_http1(self.admin).map(|answer| answer.text()).unwrap_or_default()
    }

    /// What it printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Hang for Operator {
    fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The namespace, the accounts and the rights of an installation.
fn prepare(kubernetes: &Kubernetes) -> io::Result<()> {
    let page = include_str!("../../docs/operator.md");
    let rights = page.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
    kubernetes.apply(rights)
}

/// A dataplane that follows these operators, ready.
///
/// # Errors
/// When it does not become ready.
pub fn dataplane(kubernetes: &Kubernetes, operators: &[&Operator]) -> io::Result<Gateway> {
    dataplane_with(kubernetes, operators, &[])
}

/// The same with more arguments.
///
/// # Errors
/// When it does not become ready.
pub fn dataplane_with(kubernetes: &Kubernetes, operators: &[&Operator], more: &[&str]) -> io::Result<Gateway> {
    let bundle = ["get", "configmap", "postern-operator-authority", "-n", NAMESPACE, "-o", "jsonpath={.data.ca\\.crt}"];
    let token = ["create", "token", "postern-dataplane", "-n", NAMESPACE, "--audience", "postern-operator"];
    let (authority, account) = (kubernetes.kubectl(&bundle)?, kubernetes.kubectl(&token)?);
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> io::Result<String> {
        let path = folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let mut arguments = vec!["--cores".to_owned(), "1".to_owned()];
    arguments.extend(["--operator-ca".to_owned(), file("ca.crt", &authority)?]);
    arguments.extend(["--operator-token".to_owned(), file("token", &account)?]);
    for operator in operators {
        arguments.extend(["--operator".to_owned(), format!("https://{}", operator.address)]);
    }
    arguments.extend(more.iter().map(|&one| one.to_owned()));
    Gateway::start_following(folder, arguments)
}
