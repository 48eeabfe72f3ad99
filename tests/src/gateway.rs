//! The real binary, started on free ports and ended with the test.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::get;
use crate::hang::Hang;

/// How long a gateway may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// The `postern` binary beside this test's own.
///
/// # Errors
/// When it has not been built: `cargo build -p cli`.
pub fn binary() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(3).map(|folder| folder.join("postern")).find(|path| path.is_file());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "postern is not built: cargo build -p cli"))
}

/// A port of this machine that nobody listens on.
///
/// # Errors
/// When there is none.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// A gateway in a process of its own.
#[derive(Debug)]
pub struct Gateway {
    /// Where it takes requests.
    pub address: SocketAddr,
    /// Its admin port.
    pub admin: SocketAddr,
    folder: tempfile::TempDir,
    command: &'static [&'static str],
    arguments: Vec<String>,
    data: PathBuf,
    child: Option<Child>,
}

impl Gateway {
    /// Writes the manifests into a folder of its own and starts a gateway on it; waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; the error holds what it printed.
    pub fn start(manifests: &str) -> io::Result<Self> {
        Self::start_with(manifests, &[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_with(manifests: &str, arguments: &[&str]) -> io::Result<Self> {
        Self::start_as(&["run"], manifests, arguments)
    }

    /// The same by another command: `dataplane --role spool`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_as(command: &'static [&'static str], manifests: &str, arguments: &[&str]) -> io::Result<Self> {
        Self::start_on(None, command, manifests, arguments)
    }

    /// The same with its data in a folder of the test's.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_on(
        data: Option<&Path>,
        command: &'static [&'static str],
        manifests: &str,
        arguments: &[&str],
    ) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("config"))?;
        fs::write(folder.path().join("config/manifests.yaml"), manifests)?;
        let arguments = arguments.iter().map(|&text| text.to_owned()).collect();
        let data = data.map_or_else(|| folder.path().join("data"), Path::to_owned);
        Self::start_in(folder, data, command, arguments)
    }

    /// One without manifests, which follows an operator; the folder has what its arguments name.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start_following(folder: tempfile::TempDir, arguments: Vec<String>) -> io::Result<Self> {
        let data = folder.path().join("data");
        Self::start_in(folder, data, &["dataplane", "--role", "all"], arguments)
    }

    fn start_in(
        folder: tempfile::TempDir,
        data: PathBuf,
        command: &'static [&'static str],
        arguments: Vec<String>,
    ) -> io::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let mut gateway = Self { address, admin, folder, command, arguments, data, child: None };
        // A port that was free may be taken by a test beside this one before the gateway has it.
        while let Err(error) = gateway.restart() {
            if !gateway.printed().contains("Address already in use") {
                return Err(error);
            }
            for log in ["stdout", "stderr"] {
                fs::write(gateway.path(log), "")?;
            }
            (gateway.address, gateway.admin) = (free_address()?, free_address()?);
        }
        Ok(gateway)
    }

    /// The folder that it reads.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// The folder that it writes.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// What it printed so far: the access log, then everything else.
    #[must_use]
    pub fn printed(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("stdout") + &read("stderr")
    }

    /// Waits until it has printed a line with this text; the line, or nothing when patience ends.
    #[must_use]
    pub fn wait_printed(&self, text: &str) -> String {
        // A line without its end is still being written.
        let find = || {
            let printed = self.printed();
            let mut whole = printed.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            whole.find(|line| line.contains(text)).map(|line| line.trim_end().to_owned())
        };
        self.wait_until(|| find().is_some());
        find().unwrap_or_default()
    }

    /// Waits until a condition holds, or patience ends: the test's next assertion then says what does not.
    pub fn wait_until(&self, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds() && Instant::now() < until {
            std::thread::yield_now();
        }
    }

    /// What it counts, as Prometheus reads it; empty while it does not answer.
    #[must_use]
    pub fn metrics(&self) -> String {
        get("localhost", "/metrics").send_http1(self.admin).map(|answer| answer.text()).unwrap_or_default()
    }

    /// The value of a metric, named with its labels; 0 while it has none.
    #[must_use]
    pub fn metric(&self, name: &str) -> u64 {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
    }

    /// How many snapshots it has applied since it started.
    #[must_use]
    pub fn snapshots_applied(&self) -> u64 {
        self.metric("postern_snapshots_applied_total")
    }

    /// How many events became this.
    #[must_use]
    pub fn events(&self, outcome: &str) -> u64 {
        self.metric(&format!("postern_events_total{{outcome=\"{outcome}\"}}"))
    }

    /// Waits until its event path is connected to these: `broker_publisher`, `broker_consumer`, `redis`.
    pub fn wait_connected(&self, dependencies: &[&str]) {
        let up = |name: &&str| self.metric(&format!("postern_dependency_up{{dependency=\"{name}\"}}")) == 1;
        self.wait_until(|| dependencies.iter().all(up));
    }

    /// Replaces a manifest file, as an editor does: in one step.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn edit(&self, file: &str, manifests: &str) -> io::Result<()> {
        let beside = self.folder.path().join("edited");
        fs::write(&beside, manifests)?;
        fs::rename(beside, self.config().join(file))
    }

    /// Kills it once its last good is on its volume, and starts it again where it was.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self) -> io::Result<()> {
        self.wait_until(|| self.metric("postern_last_good_unwritten") == 0);
        self.begin(&[])?;
        self.wait_ready()
    }

    /// Starts it again with variables of its environment, and waits for nothing.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(&mut self, variables: &[(&str, &str)]) -> io::Result<()> {
        self.kill();
        let log = |name: &str| fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join(name));
        let mut command = Command::new(binary()?);
        command.args(self.command).arg("--data").arg(self.data());
        if self.config().is_dir() {
            command.arg("--config").arg(self.config());
        }
        command.args(["--listen", &self.address.to_string(), "--admin", &self.admin.to_string()]);
        command.envs(variables.iter().copied());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log("stdout")?).stderr(log("stderr")?);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    fn wait_ready(&mut self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
                return Err(io::Error::other(format!("postern ended with {status}:\n{}", self.printed())));
            }
            let ready = get("localhost", "/readyz").send_http1(self.admin).is_ok_and(|answer| answer.status == 200);
            // Who only delivers or keeps events takes no requests.
            let takes = self.command.iter().all(|word| !["deliver", "spool"].contains(word));
            if ready && (!takes || TcpStream::connect(self.address).is_ok()) {
                return Ok(());
            }
            std::thread::yield_now();
        }
        Err(io::Error::other(format!("postern did not become ready:\n{}", self.printed())))
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it ended by itself.
    pub fn ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// SIGTERM, and waits for the end; its exit code.
    ///
    /// # Errors
    /// When it was not running, or cannot be waited for.
    pub fn terminate(&mut self) -> io::Result<Option<i32>> {
        let Some(mut child) = self.child.take() else { return Err(io::ErrorKind::NotFound.into()) };
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        Ok(child.wait()?.code())
    }

    /// Where a file of this gateway's folder is.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Hang for Gateway {
    fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // What ran is written down by a process that ends, and not by one that is killed: see `./dev coverage`.
        if std::env::var_os("LLVM_PROFILE_FILE").is_some() {
            let _ = self.terminate();
        }
        self.kill();
    }
}
