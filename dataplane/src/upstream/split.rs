//! Picks one of several by weight.

/// The index that a random number falls on, in proportion to the weights; nothing when all are 0. `random`
/// is spread over all of `u64`.
pub fn pick(weights: impl Iterator<Item = u32> + Clone, random: u64) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    let mut at = u64::try_from((u128::from(random) * u128::from(total)) >> 64).ok()?;
    for (index, weight) in weights.enumerate() {
        match at.checked_sub(u64::from(weight)) {
            Some(left) => at = left,
            None => return Some(index),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(weights: &[u32]) -> Vec<usize> {
        let mut counts = vec![0; weights.len()];
        for n in 0..1000 {
            counts[pick(weights.iter().copied(), n * (u64::MAX / 1000)).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn each_gets_its_share_and_a_weight_of_0_gets_nothing() {
        let counts = shares(&[90, 0, 10]);
        assert!((895..=905).contains(&counts[0]), "{counts:?}");
        assert_eq!(counts[1], 0);
        assert_eq!(pick([0, 0].into_iter(), 7), None);
        assert_eq!(pick([].into_iter(), 7), None);
        assert_eq!(pick([0, 3].into_iter(), u64::MAX), Some(1));
        assert_eq!(pick([3, 0].into_iter(), u64::MAX), Some(0));
    }
}
