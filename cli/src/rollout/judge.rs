//! Whether a canary set is worse than the stable one.

use std::fmt;

use super::reading::Counts;

/// What was seen of a set of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) counts: Counts,
    pub(super) pods: usize,
    pub(super) ready: usize,
    /// Containers that ended by themselves and were started again.
    pub(super) restarts: i64,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { requests, .. } = self.counts;
        let (errors, slow) = (self.counts.error_rate(), self.counts.slow_rate());
        write!(f, "{}/{} ready, {requests} requests, {errors:.1} % 5xx, {slow:.1} % slow", self.ready, self.pods)
    }
}

/// What a canary set may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) min_requests: u64,
    pub(super) max_error_rate: f64,
}

/// Percent of answers that may take longer than p99 may be.
const MAX_SLOW: f64 = 1.0;

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is watched on.
    Goes,
    /// It is no worse.
    Good,
    /// It is worse, because of this.
    Bad(String),
    /// The time is over, and there was not enough to judge by.
    Undecided,
}

/// `over`: no more time is given. What the stable set suffers too is not the canary's fault.
pub(super) fn judge(canary: &Seen, stable: &Seen, limits: &Limits, over: bool) -> Verdict {
    if canary.restarts > 0 {
        return Verdict::Bad(format!("its containers ended by themselves {} times", canary.restarts));
    }
    if over && canary.ready < canary.pods {
        return Verdict::Bad(format!("{} of its {} pods are not ready", canary.pods - canary.ready, canary.pods));
    }
    let (of_canary, of_stable) = (canary.counts, stable.counts);
    if of_canary.requests < limits.min_requests {
        return if over { Verdict::Undecided } else { Verdict::Goes };
    }
    let most = limits.max_error_rate;
    if of_canary.error_rate() > most && of_stable.error_rate() <= most {
        let (canary, stable) = (of_canary.error_rate(), of_stable.error_rate());
        return Verdict::Bad(format!("{canary:.1} % of its answers are 5xx, more than {most} (stable {stable:.1} %)"));
    }
    if of_canary.slow_rate() > MAX_SLOW && of_stable.slow_rate() <= MAX_SLOW {
        let (canary, stable) = (of_canary.slow_rate(), of_stable.slow_rate());
        return Verdict::Bad(format!("{canary:.1} % of its answers take longer than p99 may (stable {stable:.1} %)"));
    }
    if over { Verdict::Good } else { Verdict::Goes }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { min_requests: 100, max_error_rate: 5.0 };

    fn seen(requests: u64, errors: u64, slow: u64) -> Seen {
        Seen { counts: Counts { requests, errors, slow }, pods: 1, ready: 1, restarts: 0 }
    }

    fn bad(canary: &Seen, stable: &Seen, over: bool) -> bool {
        matches!(judge(canary, stable, &LIMITS, over), Verdict::Bad(_))
    }

    #[test]
    fn errors_count_when_the_stable_set_has_none_of_them() {
        assert!(bad(&seen(100, 6, 0), &seen(100, 0, 0), false));
        assert!(!bad(&seen(100, 5, 0), &seen(100, 0, 0), false), "the limit itself is allowed");
        assert!(!bad(&seen(100, 60, 0), &seen(100, 60, 0), true), "an upstream that is broken for both");
        assert!(!bad(&seen(99, 99, 0), &seen(100, 0, 0), false), "too few to say so");
    }

    #[test]
    fn slow_answers_count_beyond_one_in_a_hundred() {
        assert!(bad(&seen(200, 0, 3), &seen(200, 0, 2), false));
        assert!(!bad(&seen(200, 0, 2), &seen(200, 0, 0), false));
        assert!(!bad(&seen(200, 0, 3), &seen(200, 0, 3), false));
    }

    #[test]
    fn a_canary_that_ends_or_is_never_ready_is_bad_without_a_request() {
        assert!(bad(&Seen { restarts: 1, ..seen(0, 0, 0) }, &seen(0, 0, 0), false));
        let unready = Seen { ready: 0, ..seen(0, 0, 0) };
        assert!(!bad(&unready, &seen(0, 0, 0), false) && bad(&unready, &seen(0, 0, 0), true));
    }

    #[test]
    fn it_is_good_only_at_the_end_and_with_enough_requests() {
        let stable = seen(1000, 0, 0);
        assert_eq!(judge(&seen(100, 0, 0), &stable, &LIMITS, false), Verdict::Goes);
        assert_eq!(judge(&seen(100, 0, 0), &stable, &LIMITS, true), Verdict::Good);
        assert_eq!(judge(&seen(99, 0, 0), &stable, &LIMITS, true), Verdict::Undecided);
    }
}
