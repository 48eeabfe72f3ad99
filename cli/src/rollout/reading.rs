//! What a gateway's metrics say of its requests, and how much came since the first look.

use std::ops::Add;
use std::time::Duration;

const REQUESTS: &str = "postern_requests_total{";
const DURATION: &str = "postern_request_duration_seconds_";

/// Requests that were answered, how many of them with 5xx, and how many slower than p99 may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) slow: u64,
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let Self { requests, errors, slow } = other;
        Self { requests: self.requests + requests, errors: self.errors + errors, slow: self.slow + slow }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share in percent")]
fn percent(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 * 100.0 / all as f64 }
}

impl Counts {
    pub(super) fn error_rate(self) -> f64 {
        percent(self.errors, self.requests)
    }

    pub(super) fn slow_rate(self) -> f64 {
        percent(self.slow, self.requests)
    }
}

/// The counts in a page of metrics. What took longer than `max_p99` is what no bucket up to it holds; between two bounds
/// the next higher one counts.
pub(super) fn counts(page: &str, max_p99: Duration) -> Counts {
    let mut counts = Counts::default();
    let (mut all, mut buckets): (u64, Vec<(f64, u64)>) = (0, Vec::new());
    for line in page.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<u64>() else { continue };
        if series.starts_with(REQUESTS) {
            counts.requests += value;
            counts.errors += if series.contains("status=\"5xx\"") { value } else { 0 };
        } else if let Some(rest) = series.strip_prefix(DURATION) {
            all += if rest.starts_with("count{") { value } else { 0 };
            let bound = rest.strip_prefix("bucket{").and_then(|labels| labels.split("le=\"").nth(1)?.split('"').next());
            // `+Inf` is what `count` says, too.
            let bound = bound.and_then(|bound| bound.parse::<f64>().ok()).filter(|bound| bound.is_finite());
            buckets.extend(bound.map(|bound| (bound, value)));
        }
    }
    let bound = buckets.iter().map(|(bound, _)| *bound).filter(|bound| *bound >= max_p99.as_secs_f64());
    if let Some(least) = bound.reduce(f64::min) {
        let within: u64 = buckets.iter().filter(|(bound, _)| bound.total_cmp(&least).is_eq()).map(|(_, n)| n).sum();
        counts.slow = all.saturating_sub(within);
    }
    counts
}

/// What one pod counted since it was first looked at, over restarts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    last: Option<Counts>,
    sum: Counts,
}

impl Tally {
    /// Another look. A process that began anew counts from nothing.
    pub(super) fn read(&mut self, now: Counts) {
        if let Some(last) = self.last.replace(now) {
            let from = if now.requests < last.requests { Counts::default() } else { last };
            let more = Counts {
                requests: now.requests.saturating_sub(from.requests),
                errors: now.errors.saturating_sub(from.errors),
                slow: now.slow.saturating_sub(from.slow),
            };
            self.sum = self.sum + more;
        }
    }

    pub(super) fn increase(&self) -> Counts {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP postern_requests_total Requests answered
postern_requests_total{status=\"2xx\",tenant=\"acme\",traffic=\"api\"} 90
postern_requests_total{status=\"5xx\",tenant=\"acme\",traffic=\"api\"} 7
postern_requests_total{status=\"2xx\",tenant=\"globex\",traffic=\"webhook\"} 3
postern_request_duration_seconds_bucket{tenant=\"acme\",traffic=\"api\",le=\"1\"} 80
postern_request_duration_seconds_bucket{tenant=\"acme\",traffic=\"api\",le=\"2.5\"} 95
postern_request_duration_seconds_bucket{tenant=\"acme\",traffic=\"api\",le=\"+Inf\"} 97
postern_request_duration_seconds_count{tenant=\"acme\",traffic=\"api\"} 97
postern_request_duration_seconds_bucket{tenant=\"globex\",traffic=\"webhook\",le=\"1\"} 3
postern_request_duration_seconds_bucket{tenant=\"globex\",traffic=\"webhook\",le=\"2.5\"} 3
postern_request_duration_seconds_count{tenant=\"globex\",traffic=\"webhook\"} 3
other 5";

    #[test]
    fn all_tenants_are_counted_and_slow_is_what_no_bucket_holds() {
        let of = |secs| counts(PAGE, Duration::from_secs_f64(secs));
        assert_eq!(of(2.0), Counts { requests: 100, errors: 7, slow: 2 });
        assert_eq!(of(1.0).slow, 17);
        assert_eq!(of(60.0).slow, 0, "no bucket says so");
        assert_eq!(counts("", Duration::from_secs(1)), Counts::default());
    }

    #[test]
    fn what_was_before_the_first_look_does_not_count_and_a_restart_begins_anew() {
        let of = |requests, errors| Counts { requests, errors, slow: 0 };
        let mut tally = Tally::default();
        for now in [of(1000, 900), of(1010, 901), of(5, 2)] {
            tally.read(now);
        }
        assert_eq!(tally.increase(), of(15, 3));
    }
}
