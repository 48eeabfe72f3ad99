//! One origin of time for what the cores share.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// An instant as breakers and budgets take it: since the first call in this process.
#[must_use]
pub fn since_origin(now: Instant) -> Duration {
    now.saturating_duration_since(*ORIGIN.get_or_init(|| now))
}
