//! The gateway as a process of its own: the same command that a user would type.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::DemoError;
use super::client::Client;

/// The ports that are taken when they are free.
const LISTEN_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9901;
const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);
/// Lines of the log that an error shows.
const TAIL_LINES: usize = 20;

/// The running gateway; stopped when dropped.
pub(super) struct Gateway {
    child: Child,
    pub(super) listen: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) log: PathBuf,
}

impl Gateway {
    /// Starts `postern run` on the folder's manifests.
    pub(super) fn start(folder: &Path) -> Result<Self, DemoError> {
        let (listen, admin) = (free_port(LISTEN_PORT)?, free_port(ADMIN_PORT)?);
        let log = folder.join("gateway.log");
        let step = "starting the gateway";
        let out = File::create(&log).map_err(DemoError::io(step))?;
        let errors = out.try_clone().map_err(DemoError::io(step))?;
        let child = Command::new(std::env::current_exe().map_err(DemoError::io(step))?)
            .arg("run")
            .arg("--config")
            .arg(folder.join("manifests"))
            .args(["--listen", &listen.to_string(), "--admin", &admin.to_string(), "--data"])
            .arg(folder.join("data"))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .map_err(DemoError::io(step))?;
        Ok(Self { child, listen, admin, log })
    }

    /// Waits until the gateway says that it serves.
    pub(super) async fn await_ready(&mut self, client: &Client) -> Result<(), DemoError> {
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        loop {
            if client.admin("/readyz").await.is_ok_and(|answer| answer.status.is_success()) {
                return Ok(());
            }
            if self.has_ended() {
                return Err(self.failed("ended before it was ready"));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(self.failed("was not ready in 20 seconds"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the process is gone.
    pub(super) async fn ended(&mut self) {
        while !self.has_ended() {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks it to finish what is in flight and to go.
    pub(super) async fn stop(mut self) -> Result<(), DemoError> {
        self.ask_to_end();
        match tokio::time::timeout(STOP_TIMEOUT, self.ended()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failed("did not end in 40 seconds")),
        }
    }

    fn ask_to_end(&self) {
        // std can only kill outright; the gateway is to drain. Without a `kill`, `drop` ends it.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).stderr(Stdio::null()).status();
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn failed(&self, what: &'static str) -> DemoError {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let skipped = text.lines().count().saturating_sub(TAIL_LINES);
        let tail = text.lines().skip(skipped).collect::<Vec<_>>().join("\n");
        DemoError::Gateway { what, log: self.log.clone(), tail }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !self.has_ended() {
            // Only on a way out with an error; the store survives even this.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The wanted port, or any that is free.
fn free_port(wanted: u16) -> Result<SocketAddr, DemoError> {
    let listener = match TcpListener::bind(("127.0.0.1", wanted)) {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("127.0.0.1", 0)),
    };
    listener.and_then(|listener| listener.local_addr()).map_err(DemoError::io("finding a free port"))
}
