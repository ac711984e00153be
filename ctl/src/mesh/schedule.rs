//! Who is paired with whom when: a round-robin tournament, so that no host is in two pairs at a time.

/// Rounds in which each pair of `count` hosts comes once, and no host twice in one: the circle method, in which one host keeps its
/// seat and the others move on by one. Of an odd number each rests once.
pub(crate) fn rounds(count: usize) -> Vec<Vec<(usize, usize)>> {
    let seats = count + count % 2;
    let Some(moving) = seats.checked_sub(1) else { return Vec::new() };
    let pair = |round: usize, seat: usize| match seat {
        0 => (moving, round),
        _ => ((round + seat) % moving, (round + moving - seat) % moving),
    };
    let round = |round: usize| {
        let pairs = (0..seats / 2).map(|seat| pair(round, seat));
        // Whoever is paired with the empty seat rests.
        let present = pairs.filter(|(one, other)| *one < count && *other < count);
        present.map(|(one, other)| (one.min(other), one.max(other))).collect::<Vec<_>>()
    };
    (0..moving).map(round).filter(|pairs| !pairs.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_pair_comes_once_and_no_host_is_in_two_at_a_time() {
        for count in 0..70 {
            let rounds = rounds(count);
            let mut seen = BTreeSet::new();
            for pairs in &rounds {
                let mut busy = BTreeSet::new();
                for (one, other) in pairs {
                    assert!(one < other && *other < count, "{count}: {one} {other}");
                    assert!(busy.insert(*one) && busy.insert(*other), "{count}: {pairs:?}");
                    assert!(seen.insert((*one, *other)), "{count}: {one} and {other} twice");
                }
            }
            assert_eq!(seen.len(), count * count.saturating_sub(1) / 2, "{count}");
        }
    }

    #[test]
    fn no_more_rounds_are_taken_than_are_needed() {
        for (count, needed) in [(0, 0), (1, 0), (2, 1), (3, 3), (4, 3), (7, 7), (8, 7), (1_000, 999)] {
            assert_eq!(rounds(count).len(), needed, "{count}");
        }
        assert!(rounds(8).iter().all(|pairs| pairs.len() == 4));
        assert!(rounds(7).iter().all(|pairs| pairs.len() == 3));
    }
}
