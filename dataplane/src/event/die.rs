//! Where a kill test may end this process: with `POSTERN_DIE_AT=claimed:3` it dies when it is at `claimed` for the
//! third time, at once and with no chance to tidy up. A build without debug assertions, as every release is, has
//! none of it.

/// A place between two steps of the event path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// Numbers are claimed, nothing is sent.
    Claimed,
    /// Sent to the broker, not confirmed.
    Sent,
    /// The broker, or a shard, has it; the claim is not confirmed and nothing is answered.
    Durable,
    /// A shard has written it to disk and has told nobody.
    Committed,
    /// The broker has what a shard held, and the shard has not noted it.
    Drained,
    /// The destination has answered, and that is recorded nowhere.
    Attempted,
    /// What became of an attempt is recorded, and the broker not told.
    Recorded,
}

#[cfg(not(debug_assertions))]
#[inline(always)]
pub(super) const fn at(_point: Point) {}

#[cfg(debug_assertions)]
pub(super) fn at(point: Point) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
        let text = std::env::var("POSTERN_DIE_AT").ok()?;
        let (point, nth) = text.split_once(':').unwrap_or((&text, "1"));
        Some((point.to_owned(), AtomicU64::new(nth.parse().ok()?)))
    });
    if let Some((wanted, left)) = &*WANTED
        && wanted.eq_ignore_ascii_case(&format!("{point:?}"))
        && left.fetch_sub(1, Ordering::AcqRel) == 1
    {
        std::process::abort();
    }
}
