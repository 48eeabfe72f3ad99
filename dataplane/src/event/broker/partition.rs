//! Which partition a conversation is in.

use std::num::NonZeroU16;

use super::super::Key;

/// The partition of a conversation: the first eight bytes of its key, read as a big-endian number, modulo
/// the number of partitions. The key is a SHA-256, so any eight bytes of it are spread evenly. This never
/// changes: what is in the queues was placed by it.
#[must_use]
pub fn partition_of(conversation: &Key, partitions: NonZeroU16) -> u16 {
    let [a, b, c, d, e, f, g, h, ..] = *conversation;
    let spread = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    u16::try_from(spread % u64::from(partitions.get())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::claim::digest;
    use super::*;

    #[test]
    fn the_place_of_a_conversation_never_changes() {
        let key = digest([b"conversation", b"acme", b"15550001111"]);
        let places: Vec<u16> = [1, 2, 8, 64, 1000].map(|n| partition_of(&key, NonZeroU16::new(n).unwrap())).to_vec();
        assert_eq!(places, PLACES);
        assert_eq!(partition_of(&[0, 0, 0, 0, 0, 0, 1, 3, 9, 9, 9, 9, 9, 9, 9, 9], NonZeroU16::new(256).unwrap()), 3);
    }

    /// Computed by another implementation; a change of these moves conversations between queues.
    const PLACES: [u16; 5] = [0, 1, 7, 55, 151];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        // 4,000 conversations a partition: the fullest and the emptiest stay within six standard deviations.
        #[test]
        fn conversations_spread_evenly(tenant in "[a-z]{1,12}", partitions in 1u16..=64) {
            let partitions = NonZeroU16::new(partitions).unwrap();
            let expected = 4000_u32;
            let mut counts = vec![0_u32; usize::from(partitions.get())];
            for n in 0..expected * u32::from(partitions.get()) {
                let key = digest([tenant.as_bytes(), &n.to_be_bytes()]);
                counts[usize::from(partition_of(&key, partitions))] += 1;
            }
            let bound = 6.0 * f64::from(expected).sqrt();
            for count in counts {
                prop_assert!((f64::from(count) - f64::from(expected)).abs() < bound, "{count} of {expected}");
            }
        }
    }
}
