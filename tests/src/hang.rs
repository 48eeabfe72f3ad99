//! Processes that stand still and go on.

use std::io;
use std::process::Command;

/// A process of the harness that can be stopped where it stands.
pub trait Hang {
    /// Its number, while it runs.
    fn pid(&self) -> Option<u32>;

    /// Stops it where it stands, as one that gets no core; [`Self::go_on`] is the way back.
    ///
    /// # Errors
    /// When it does not run.
    fn hang(&self) -> io::Result<()> {
        self.signal("-STOP")
    }

    /// Lets one that hangs go on.
    ///
    /// # Errors
    /// When it does not run.
    fn go_on(&self) -> io::Result<()> {
        self.signal("-CONT")
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    fn signal(&self, signal: &str) -> io::Result<()> {
        let pid = self.pid().ok_or(io::ErrorKind::NotFound)?;
        Command::new("kill").args([signal, &pid.to_string()]).status().map(drop)
    }
}
