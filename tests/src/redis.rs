//! A real Redis on a free port, ended with the test.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::gateway::free_address;
use crate::hang::Hang;

/// How long a Redis may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the programs are, and the libraries that they need beside the system's.
struct Installed {
    programs: Option<PathBuf>,
    libraries: Option<PathBuf>,
}

impl Installed {
    /// What is on PATH, else what the script fetches; looked for once a process.
    fn find() -> io::Result<&'static Self> {
        static FOUND: OnceLock<Result<Installed, String>> = OnceLock::new();
        let found = FOUND.get_or_init(|| Self::look().map_err(|error| error.to_string()));
        found.as_ref().map_err(|error| io::Error::other(error.as_str()))
    }

    fn look() -> io::Result<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_ok() {
            return Ok(Self { programs: None, libraries: None });
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/fetch-redis");
        let fetched = Command::new(script).stderr(Stdio::inherit()).output()?;
        if !fetched.status.success() {
            return Err(io::Error::other("there is no redis-server on PATH, and none could be fetched"));
        }
        let folder = PathBuf::from(String::from_utf8_lossy(&fetched.stdout).trim());
        // Debian has its libraries in a folder named for the machine.
        let machine = format!("{}-linux-gnu", std::env::consts::ARCH);
        Ok(Self { programs: Some(folder.join("usr/bin")), libraries: Some(folder.join("usr/lib").join(machine)) })
    }

    fn command(&self, program: &str) -> Command {
        let path = self.programs.as_ref().map_or_else(|| PathBuf::from(program), |folder| folder.join(program));
        let mut command = Command::new(path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

/// A Redis in a process of its own. It keeps nothing over a restart but what a test restores.
pub struct Redis {
    /// Where it listens.
    pub address: SocketAddr,
    folder: tempfile::TempDir,
    arguments: Vec<OsString>,
    child: Option<Child>,
}

impl Redis {
    /// Starts one that keeps what it has when it is full: `noeviction`.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub fn start() -> io::Result<Self> {
        Self::start_with(&["--maxmemory-policy", "noeviction"])
    }

    /// The same with arguments of the test's own.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub fn start_with(arguments: &[&str]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let arguments = arguments.iter().map(OsString::from).collect();
        let mut redis = Self { address: free_address()?, folder, arguments, child: None };
        // A port that was free may be taken by a test beside this one before the server has it.
        while let Err(error) = redis.restart() {
            if !redis.printed().contains("Address already in use") {
                return Err(error);
            }
            fs::write(redis.folder.path().join("log"), "")?;
            redis.address = free_address()?;
        }
        Ok(redis)
    }

    /// One that is a cluster of its own: all slots are its.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub fn start_cluster() -> io::Result<Self> {
        let redis = Self::start_with(&["--maxmemory-policy", "noeviction", "--cluster-enabled", "yes"])?;
        redis.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])?;
        redis.wait_until(|| redis.cli(&["CLUSTER", "INFO"]).is_ok_and(|info| info.contains("cluster_state:ok")))?;
        Ok(redis)
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// What it printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Runs one command; what it answers.
    ///
    /// # Errors
    /// When it cannot be asked, or refuses.
    pub fn cli(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = Installed::find()?.command("redis-cli");
        command.args(["-e", "-h", &self.address.ip().to_string(), "-p", &self.address.port().to_string()]);
        let output = command.args(arguments).output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        if output.status.success() {
            Ok(text)
        } else {
            Err(io::Error::other(format!("{text}{}", String::from_utf8_lossy(&output.stderr))))
        }
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn flush(&self) -> io::Result<()> {
        self.cli(&["FLUSHALL"]).map(drop)
    }

    /// Sets a parameter of the running server.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn set(&self, parameter: &str, value: &str) -> io::Result<()> {
        self.cli(&["CONFIG", "SET", parameter, value]).map(drop)
    }

    /// A copy of what it holds now, for [`Self::restore`].
    ///
    /// # Errors
    /// When it cannot be asked or copied.
    pub fn dump(&self) -> io::Result<Vec<u8>> {
        self.cli(&["SAVE"])?;
        let dump = fs::read(self.data())?;
        fs::remove_file(self.data())?;
        Ok(dump)
    }

    /// Starts it again with what it held when the dump was made.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn restore(&mut self, dump: &[u8]) -> io::Result<()> {
        self.kill();
        fs::write(self.data(), dump)?;
        self.restart()?;
        fs::remove_file(self.data())
    }

    /// Keeps a copy of its log of writes, for [`Self::go_back`]; for one that appends to one.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn remember(&self) -> io::Result<()> {
        // Nothing is written while it is copied.
        self.hang()?;
        let copied = copy(&self.appended(), &self.folder.path().join("remembered"));
        self.go_on()?;
        copied
    }

    /// Starts it again with what it held when it was last told to [`Self::remember`], as one that is restored.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn go_back(&mut self) -> io::Result<()> {
        self.kill();
        copy(&self.folder.path().join("remembered"), &self.appended())?;
        self.restart()
    }

    fn appended(&self) -> PathBuf {
        self.folder.path().join("appendonlydir")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("dump.rdb")
    }

    /// Starts it again where it was, empty.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = Installed::find()?.command("redis-server");
        command.args(["--bind", &self.address.ip().to_string(), "--port", &self.address.port().to_string()]);
        command.arg("--dir").arg(self.folder.path()).args(["--save", "", "--appendonly", "no"]).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        let started = self.wait_until(|| self.cli(&["PING"]).is_ok());
        started.map_err(|error| io::Error::other(format!("{error}:\n{}", self.printed())))
    }

    /// Waits until a condition holds.
    ///
    /// # Errors
    /// When it does not hold in time, or the server ends.
    fn wait_until(&self, mut holds: impl FnMut() -> bool) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while !holds() {
            if self.printed().contains("Address already in use") || Instant::now() > until {
                return Err(io::Error::other("redis-server does not answer"));
            }
        }
        Ok(())
    }

    /// SIGKILL: what it holds is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Makes a folder hold the files of another, and no others.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

impl Hang for Redis {
    fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
