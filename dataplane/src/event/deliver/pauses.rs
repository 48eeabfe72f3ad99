//! How long something rests that cannot go now: longer each time, never beyond a bound, and not for all alike.

use std::collections::HashMap;
use std::time::Duration;

use crate::event::Key;

/// The first pause and the longest.
pub(super) type Bounds = (Duration, Duration);

/// How often each conversation has rested in a row. Bounded by the conversations in the store: one that goes on is
/// forgotten.
#[derive(Default)]
pub(super) struct Rests(HashMap<Key, u32>);

impl Rests {
    /// It rests again, for so long.
    pub(super) fn again(&mut self, key: Key, bounds: Bounds) -> Duration {
        let times = self.0.entry(key).or_default();
        let pause = pause(bounds, *times);
        *times = times.saturating_add(1);
        pause
    }

    /// It went on.
    pub(super) fn over(&mut self, key: &Key) {
        self.0.remove(key);
    }
}

/// Between half of the pause and all of it; the pause doubles each time, from the first to the longest.
pub(super) fn pause((first, longest): Bounds, times: u32) -> Duration {
    let most = first.saturating_mul(1 << times.min(16)).min(longest);
    most.mul_f64(0.5 + f64::from(jitter()) / f64::from(u32::MAX) / 2.0)
}

/// Uniform over `u32`: the random part of a version 7 id.
pub(super) fn jitter() -> u32 {
    uuid::Uuid::now_v7().as_fields().3.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_to_its_bound_and_no_further() {
        let bounds = (Duration::from_secs(1), Duration::from_secs(60));
        assert!(pause(bounds, 0) <= Duration::from_secs(1) && pause(bounds, 0) >= Duration::from_millis(500));
        assert!(pause(bounds, 3) >= Duration::from_secs(4) && pause(bounds, 3) <= Duration::from_secs(8));
        assert!(pause(bounds, u32::MAX) >= Duration::from_secs(30) && pause(bounds, u32::MAX) <= bounds.1);
    }

    #[test]
    fn a_conversation_rests_longer_each_time_until_it_goes_on() {
        let (mut rests, bounds) = (Rests::default(), (Duration::from_secs(1), Duration::from_secs(60)));
        let pauses: Vec<_> = (0..8).map(|_| rests.again([1; 16], bounds)).collect();
        assert!(pauses.last().unwrap() >= &Duration::from_secs(30));
        assert!(rests.again([2; 16], bounds) <= Duration::from_secs(1), "another one has its own");
        rests.over(&[1; 16]);
        assert!(rests.again([1; 16], bounds) <= Duration::from_secs(1));
    }
}
