//! What a receiver makes of the numbers and times in datagrams: loss, reordering, duplicates and jitter.

/// How far back a late datagram is told from one that came twice; a power of two.
const WINDOW: u64 = 1 << 16;
/// No outage is so long: what jumps further is no number of a burner's, and would count as so many lost.
const MOST_JUMP: u64 = 1 << 32;

/// Follows one stream.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// One above the highest number seen.
    next: u64,
    /// A bit for each of the last [`WINDOW`] numbers: it has come.
    seen: Box<[u64]>,
    pub(crate) received: u64,
    pub(crate) reordered: u64,
    pub(crate) duplicates: u64,
    jitter: Jitter,
}

impl Default for Sequence {
    fn default() -> Self {
        Self {
            next: 0,
            seen: vec![0; (WINDOW / 64) as usize].into(),
            received: 0,
            reordered: 0,
            duplicates: 0,
            jitter: Jitter::default(),
        }
    }
}

impl Sequence {
    /// A datagram came.
    pub(crate) fn arrived(&mut self, sequence: u64) {
        if sequence >= self.next {
            if sequence - self.next > MOST_JUMP {
                return;
            }
            if sequence == self.next {
                self.clear(sequence);
            } else {
                // Beyond the window all bits are cleared once, however far it jumps.
                let first = self.next.max(sequence.saturating_sub(WINDOW - 1));
                (first..=sequence).for_each(|number| self.clear(number));
            }
            self.next = sequence.saturating_add(1);
        } else if self.next - sequence > WINDOW || !self.has_seen(sequence) {
            // Too late to tell whether it is the first: taken for late, which is far more common.
            self.reordered += 1;
        } else {
            self.duplicates += 1;
            return;
        }
        self.received += 1;
        let (word, bit) = place(sequence);
        self.seen[word] |= bit;
    }

    /// Times of a datagram: when it came by one clock, when it was sent by another.
    pub(crate) fn timed(&mut self, arrived_ns: u64, sent_ns: u64) {
        self.jitter.add(arrived_ns, sent_ns);
    }

    /// Datagrams that have not come, of as many as are known to have been sent.
    pub(crate) fn lost(&self, sent: Option<u64>) -> u64 {
        sent.unwrap_or(0).max(self.next).saturating_sub(self.received)
    }

    /// As RFC 3550 has it.
    pub(crate) fn jitter_ns(&self) -> u64 {
        self.jitter.mean_ns as u64
    }

    fn has_seen(&self, sequence: u64) -> bool {
        let (word, bit) = place(sequence);
        self.seen[word] & bit != 0
    }

    fn clear(&mut self, sequence: u64) {
        let (word, bit) = place(sequence);
        self.seen[word] &= !bit;
    }
}

fn place(sequence: u64) -> (usize, u64) {
    let at = sequence % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

/// Interarrival jitter: RFC 3550, section 6.4.1. D is how much later a datagram came after the previous one than it was
/// sent after it; J moves by a sixteenth towards each |D|. The clocks' difference falls out.
#[derive(Debug, Default)]
struct Jitter {
    last_transit_ns: Option<i64>,
    last_sent_ns: Option<u64>,
    mean_ns: f64,
}

impl Jitter {
    fn add(&mut self, arrived_ns: u64, sent_ns: u64) {
        // Those of one burst were sent at one instant, and come as the path spaces them.
        if self.last_sent_ns.replace(sent_ns) == Some(sent_ns) {
            return;
        }
        let transit = arrived_ns.wrapping_sub(sent_ns).cast_signed();
        if let Some(last) = self.last_transit_ns.replace(transit) {
            let difference = transit.wrapping_sub(last).unsigned_abs() as f64;
            self.mean_ns += (difference - self.mean_ns) / 16.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(numbers: &[u64]) -> (u64, u64, u64, u64) {
        let mut sequence = Sequence::default();
        numbers.iter().for_each(|number| sequence.arrived(*number));
        (sequence.received, sequence.lost(None), sequence.reordered, sequence.duplicates)
    }

    #[test]
    fn each_kind_of_trouble_is_counted_for_itself() {
        assert_eq!(follow(&[0, 1, 2, 3]), (4, 0, 0, 0));
        assert_eq!(follow(&[0, 3]), (2, 2, 0, 0));
        assert_eq!(follow(&[0, 2, 1, 3]), (4, 0, 1, 0));
        assert_eq!(follow(&[0, 1, 1, 0, 2]), (3, 0, 0, 2));
        assert_eq!(follow(&[3, 2, 1, 0]), (4, 0, 3, 0));
        assert_eq!(follow(&[2, 1, 1]), (2, 1, 1, 1));
    }

    #[test]
    fn what_never_came_at_the_end_is_lost_too() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.lost(Some(5)), 5);
        sequence.arrived(0);
        assert_eq!((sequence.lost(None), sequence.lost(Some(5))), (0, 4));
    }

    #[test]
    fn gaps_larger_than_the_window_leave_no_trace_of_what_was_there() {
        let mut sequence = Sequence::default();
        (0..WINDOW).for_each(|number| sequence.arrived(number));
        sequence.arrived(3 * WINDOW + 7);
        assert_eq!(sequence.lost(None), 2 * WINDOW + 7);
        // Same place in the window as numbers that came: not taken for duplicates.
        sequence.arrived(2 * WINDOW + 9);
        assert_eq!((sequence.reordered, sequence.duplicates), (1, 0));
        sequence.arrived(2 * WINDOW + 9);
        assert_eq!((sequence.reordered, sequence.duplicates), (1, 1));
    }

    #[test]
    fn a_number_that_no_burner_can_have_reached_is_not_followed() {
        assert_eq!(follow(&[0, u64::MAX, 2 * MOST_JUMP, 1]), (2, 0, 0, 0));
    }

    #[test]
    fn jitter_moves_by_a_sixteenth() {
        let mut sequence = Sequence::default();
        sequence.timed(1_000_000, 0);
        sequence.timed(1_001_000, 1_000);
        assert_eq!(sequence.jitter_ns(), 0, "a constant delay is none");
        sequence.timed(1_002_000 + 1_600, 2_000);
        assert_eq!(sequence.jitter_ns(), 100);
        sequence.timed(1_900_000, 2_000);
        assert_eq!(sequence.jitter_ns(), 100, "the rest of a burst tells nothing");
    }
}
