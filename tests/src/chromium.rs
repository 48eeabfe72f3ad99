//! A real headless browser, for what only a browser decides.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a browser may take to load a page and end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The browser on PATH, else what the script fetches.
fn program() -> io::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium-headless-shell", "chrome-headless-shell", "chromium"];
    let found = std::env::split_paths(&folders)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file());
    if let Some(found) = found {
        return Ok(found);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/fetch-chromium");
    let fetched = Command::new(script).stderr(Stdio::inherit()).output()?;
    if !fetched.status.success() {
        return Err(io::Error::other("there is no Chromium on PATH, and none could be fetched"));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&fetched.stdout).trim()).join("chrome"))
}

/// Loads a page and returns its document once its scripts have run. Every host name leads to this machine.
///
/// # Errors
/// When there is no browser, or it does not end.
pub fn document(url: &str) -> io::Result<String> {
    let profile = tempfile::tempdir()?;
    let printed = profile.path().join("document");
    let mut browser = Command::new(program()?)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--host-resolver-rules=MAP * 127.0.0.1", "--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(File::create(&printed)?)
        .stderr(Stdio::null())
        .spawn()?;

    let until = Instant::now() + PATIENCE;
    while browser.try_wait()?.is_none() {
        if Instant::now() > until {
            browser.kill()?;
            browser.wait()?;
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::yield_now();
    }
    std::fs::read_to_string(printed)
}
