//! Old events, where the provider signs no time of a request: an event's own time is in the signed body, so it is
//! what can be held against the clock. Within the window a repeat is known by its id.

#[cfg(feature = "crd")]
use super::compile::{DAY_MS, DEFAULT_DEDUPE_MS, in_range};
use super::entry::{Entry, fingerprint};
use super::{
    ExtractIr, PartIr, Preset, Provider, RecipeIr, SignatureAlgorithm, TimePlace, TimestampIr, WebhookSourceIr,
};
#[cfg(feature = "crd")]
use super::{ReplaySpec, WebhookSourceSpec};
use crate::mode::Mode;
#[cfg(feature = "crd")]
use crate::problem::Problems;

/// Whether an event is older than all that dedupe remembers, where the source names no window of its own and the
/// signature covers the event's time (WhatsApp): a request that was recorded before that is not known as a repeat any
/// more. `entrance` verified the request. An event that does not say when it happened is not old.
#[must_use]
pub fn is_forgotten(entrance: &WebhookSourceIr, dedupe_window_secs: u64, time_ms: Option<i64>, now_secs: i64) -> bool {
    let enforced = entrance.verification.as_ref().is_some_and(|attached| attached.mode == Mode::Enforce);
    let signed = entrance.provider.preset().is_some_and(Preset::signs_event_time);
    let age_secs = time_ms.map_or(0, |time| now_secs.saturating_sub(time.div_euclid(1000)));
    enforced && signed && u64::try_from(age_secs).is_ok_and(|age| age > dedupe_window_secs)
}

/// Names the events of a request by what is signed, where neither their id nor their time is: whoever recorded a
/// request could send it again under another id and time. The type is a part of the name, since a provider sends one
/// body under several types (Shopify's topics).
pub fn identify(ir: &WebhookSourceIr, body: &[u8], entries: &mut [Entry]) {
    if !ir.names_by_signed_bytes() {
        return;
    }
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.id = fingerprint(&[body, &[0], entry.kind.as_bytes(), &[0], index.to_string().as_bytes()].concat());
    }
}

impl WebhookSourceIr {
    fn names_by_signed_bytes(&self) -> bool {
        let Some(recipe) = self.verification.as_ref().map(|attached| &attached.ir.recipe) else { return false };
        // A token signs nothing at all: who has recorded a request has the token.
        let token = recipe.algorithm == SignatureAlgorithm::Token;
        let id_is_signed = self.extraction.id.as_ref().is_some_and(|at| covers(recipe, at));
        let asked_for = self.provider != Provider::Generic || self.replay_window_secs.is_some();
        !token && asked_for && !id_is_signed && self.time_is_unsigned()
    }

    /// Returns whether events have a time that the signature does not cover.
    pub(super) fn time_is_unsigned(&self) -> bool {
        let recipe = self.verification.as_ref().map(|attached| &attached.ir.recipe);
        let time = self.extraction.time.as_ref();
        recipe.zip(time).is_some_and(|(recipe, time)| !covers(recipe, &time.at))
    }
}

/// Returns whether the signature covers a text of an event.
fn covers(recipe: &RecipeIr, at: &ExtractIr) -> bool {
    match at {
        ExtractIr::Path(_) => recipe.algorithm != SignatureAlgorithm::Token,
        ExtractIr::Header(name) => {
            let is_time = |at: &TimestampIr| at.place == TimePlace::Header(name.clone());
            recipe.signed.contains(&PartIr::Header(name.clone()))
                || (recipe.signed.contains(&PartIr::Timestamp) && recipe.timestamp.as_ref().is_some_and(is_time))
        }
        ExtractIr::First(ways) | ExtractIr::Joined(ways) => ways.iter().all(|way| covers(recipe, way)),
    }
}

/// Warns of a window that anybody can move.
#[cfg(feature = "crd")]
pub(super) fn doubts(ir: &WebhookSourceIr, mut problems: Problems<'_>) {
    if ir.replay_window_secs.is_some() && ir.time_is_unsigned() {
        problems.at("window").warn(
            "is held against a time that the signature does not cover, which whoever recorded a request can change; \
             the next version refuses it",
            "leave replay out, or have the sender sign the time: a repeat of the same bytes is known by their digest",
        );
    }
}

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
