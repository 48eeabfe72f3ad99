//! The log of a process that serves: JSON on standard error.

use tracing_subscriber::EnvFilter;

/// Starts it; `POSTERN_LOG` says what is told.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("POSTERN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // lapin logs the whole of a message that comes back, and with it what tenants' users wrote.
    let filter = "lapin::returned_messages=off".parse().map(|off| filter.clone().add_directive(off)).unwrap_or(filter);
    // A second subscriber in one process (a test) keeps the first.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
