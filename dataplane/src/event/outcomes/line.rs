//! Log lines of outcomes. Dead, refused, replayed and dropped events always have one; deliveries and retries are
//! sampled above a rate, so that a busy gateway writes a bounded log.

use super::{EventOutcome, OutcomeKind};

/// Lines of deliveries, and lines of retries, in one second.
const LINES_PER_SECOND: u32 = 10;

/// How many lines of a kind were written in this second.
#[derive(Debug, Default)]
struct Sampled {
    second: i64,
    written: u32,
    /// Since the last line.
    unlogged: u64,
}

impl Sampled {
    /// Returns how many outcomes went without a line before this one; none when this one goes without, too.
    fn next(&mut self, at_ms: i64) -> Option<u64> {
        let second = at_ms.div_euclid(1000);
        if second != self.second {
            (self.second, self.written) = (second, 0);
        }
        if self.written == LINES_PER_SECOND {
            self.unlogged += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// The sampled kinds.
#[derive(Debug, Default)]
pub(super) struct LineBudget {
    delivered: Sampled,
    retried: Sampled,
}

macro_rules! line {
    ($level:ident, $outcome:expr, $unlogged:expr, $text:literal) => {{
        let outcome: &EventOutcome = $outcome;
        tracing::$level!(
            outcome = outcome.kind.word(),
            tenant = outcome.tenant.as_str(),
            source = &*outcome.source,
            id = &*outcome.id,
            r#type = &*outcome.r#type,
            request_id = outcome.request_id.as_deref(),
            reason = outcome.reason.as_deref(),
            attempts = outcome.attempts,
            status = outcome.status,
            unlogged = $unlogged,
            $text
        )
    }};
}

impl LineBudget {
    pub(super) fn write(&mut self, outcome: &EventOutcome) {
        const NONE: Option<u64> = None;
        match outcome.kind {
            OutcomeKind::Delivered => {
                if let Some(unlogged) = self.delivered.next(outcome.at_ms) {
                    line!(info, outcome, Some(unlogged).filter(|n| *n > 0), "event delivered");
                }
            }
            OutcomeKind::Retried => {
                if let Some(unlogged) = self.retried.next(outcome.at_ms) {
                    line!(warn, outcome, Some(unlogged).filter(|n| *n > 0), "attempt failed, event is retried");
                }
            }
            OutcomeKind::Parked => line!(debug, outcome, NONE, "event parked"),
            OutcomeKind::Dead => line!(error, outcome, NONE, "event dead-lettered"),
            OutcomeKind::Refused => line!(warn, outcome, NONE, "entry refused and left out"),
            OutcomeKind::Replayed => line!(info, outcome, NONE, "dead letter replayed"),
            OutcomeKind::Dropped => line!(info, outcome, NONE, "event dropped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampled_lines_are_bounded_per_second_and_the_next_line_counts_what_went_without() {
        let mut sampled = Sampled::default();
        let written = (0..25).filter(|_| sampled.next(5_100).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!((sampled.next(6_000), sampled.next(6_001)), (Some(15), Some(0)));
    }
}
