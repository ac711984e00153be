//! Pseudo-random numbers that depend on nothing but a seed, so that a run can be repeated.

/// The next number of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below `bound`, all equally likely to within 2^-64 times `bound` (Lemire: Fast random integer generation in an
/// interval, 2019, without the rejection step).
pub(crate) fn below(state: &mut u64, bound: u64) -> u64 {
    ((u128::from(split_mix(state)) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // First outputs for seed 0 of the reference implementation (prng.di.unimi.it/splitmix64.c).
        let mut state = 0;
        assert_eq!(split_mix(&mut state), 0xe220_a839_7b1d_cdaf);
        assert_eq!(split_mix(&mut state), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn every_block_is_reached() {
        let mut state = 1;
        let mut seen = [false; 10];
        for _ in 0..1_000 {
            seen[below(&mut state, 10) as usize] = true;
        }
        assert!(seen.iter().all(|seen| *seen));
    }
}
