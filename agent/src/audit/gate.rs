//! How many refusals are noted: a flood of them must not fill the disk.

use std::time::{Duration, Instant};

/// At once.
const BURST: u32 = 50;
/// And then one in so long.
const EACH: Duration = Duration::from_secs(1);

/// Lets some through and counts the others.
#[derive(Debug)]
pub(super) struct Gate {
    room: u32,
    at: Instant,
    left_out: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self { room: BURST, at: Instant::now(), left_out: 0 }
    }
}

impl Gate {
    /// With how many were left out before it; nothing where this one is left out, too.
    pub(super) fn pass(&mut self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&mut self, now: Instant) -> Option<u64> {
        let since = now.saturating_duration_since(self.at);
        let more = u32::try_from(since.as_millis() / EACH.as_millis()).unwrap_or(u32::MAX);
        if more > 0 {
            self.at = now;
            self.room = self.room.saturating_add(more).min(BURST);
        }
        if self.room == 0 {
            self.left_out += 1;
            return None;
        }
        self.room -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_the_count_comes_with_the_next_one() {
        let mut gate = Gate::default();
        let begin = gate.at;
        let passed = (0..1_000).filter(|_| gate.pass_at(begin).is_some()).count();
        assert_eq!(passed, 50);
        assert_eq!(gate.pass_at(begin + EACH), Some(950));
        assert_eq!(gate.pass_at(begin + EACH), None);
        assert_eq!(gate.pass_at(begin + 3 * EACH), Some(1));
    }
}
