//! Old events, where the provider signs no time of a request: an event's own time is in the signed body, so it is
//! what can be held against the clock. Within the window a repeat is known by its id.

#[cfg(feature = "crd")]
use super::compile::{DAY_MS, DEFAULT_DEDUPE_MS, in_range};
#[cfg(feature = "crd")]
use super::{Provider, ReplaySpec, WebhookSourceSpec};
#[cfg(feature = "crd")]
use crate::problem::Problems;

/// Whether an event may be delivered. One that does not say when it happened is outside of every window.
#[must_use]
pub fn in_window(time_ms: Option<i64>, window_secs: u32, now_secs: i64) -> bool {
    time_ms.is_some_and(|time| time.div_euclid(1000).abs_diff(now_secs) <= u64::from(window_secs))
}

/// The window, or `None` when it would not keep repeats out, or would keep all events out.
#[cfg(feature = "crd")]
pub(super) fn window_secs(spec: &ReplaySpec, source: &WebhookSourceSpec, mut problems: Problems<'_>) -> Option<u32> {
    let before = problems.errors();
    let millis = in_range(&spec.window, 1_000, 30 * DAY_MS, problems.at("window")).unwrap_or_default();
    match source.provider.preset() {
        Some(preset) if preset.signed_time.is_some() => {
            let help = format!("leave it out: {} minutes are allowed", preset.tolerance_secs / 60);
            problems.invalid("is not needed: this provider signs the time of each request", help);
        }
        Some(preset) if !preset.tells_time() => {
            let help = "leave it out: a repeat is known by its id";
            problems.invalid("would refuse every event: this provider's events carry no time", help);
        }
        None if source.event.as_ref().is_none_or(|event| event.time.is_none()) => {
            let help = "say where in event.time, or name a signed time in verification.recipe.timestamp";
            problems.invalid("would refuse every event: the source does not say where their time is", help);
        }
        Some(_) | None => {}
    }
    let dedupe = source.dedupe.as_ref().map_or(DEFAULT_DEDUPE_MS, |dedupe| dedupe.window.millis());
    if dedupe < millis.saturating_mul(2) {
        let help = format!("write dedupe.window: {}s or more, or a shorter window", millis.saturating_mul(2) / 1000);
        problems.at("window").invalid(
            "lets an event in for so long before and after its time that dedupe.window has forgotten it",
            help,
        );
    }
    if source.provider == Provider::WhatsApp && millis < 7 * DAY_MS {
        problems.at("window").warn(
            "is shorter than the 7 days for which Meta sends an event again: after a longer outage they become dead letters",
            "write 7d, and dedupe.window: 14d",
        );
    }
    (problems.errors() == before).then(|| u32::try_from(millis / 1000).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_has_two_sides_and_nothing_without_a_time_is_in_it() {
        let now = 1_800_000_000;
        let at = |offset_ms: i64| in_window(Some(now * 1000 + offset_ms), 300, now);
        assert!(at(0) && at(-300_000) && at(300_999));
        assert!(!at(-300_001) && !at(301_000));
        assert!(!in_window(None, 300, now));
        for extreme in [i64::MIN, i64::MAX] {
            assert!(!in_window(Some(extreme), u32::MAX, now) && !in_window(Some(0), 300, extreme));
        }
    }
}
