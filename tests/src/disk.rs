//! A small disk that can be filled and freed: a tmpfs, where mounting one is possible.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted disk; it is unmounted when it is dropped.
#[derive(Debug)]
pub struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Mounts one of so many mebibytes.
    ///
    /// # Errors
    /// When this user may not mount, as most may not.
    pub fn mount(mebibytes: u32) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("postern-disk").tempdir()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "postern-disk"]).arg(folder.path());
        let mounted = mount.output()?;
        if !mounted.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&mounted.stderr).trim().to_owned()));
        }
        Ok(Self { folder })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all that is free.
    ///
    /// # Errors
    /// When it cannot be written to for another reason.
    pub fn fill(&self) -> io::Result<()> {
        let mut filler = File::create(self.filler())?;
        // By pages at the end, so that not one is left.
        for size in [1 << 20, 4 << 10] {
            let block = vec![0; size];
            loop {
                match filler.write_all(&block) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When it was not full.
    pub fn free(&self) -> io::Result<()> {
        fs::remove_file(self.filler())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while a process that is about to end has a file open.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}
