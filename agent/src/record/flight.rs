//! The flight recorder: the latest frames at full rate, packed, in a bounded amount of memory.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Frames of about a second, packed as an item of a record.
#[derive(Debug, Clone)]
pub struct FlightBlock {
    /// When its first frame began, CLOCK_MONOTONIC.
    pub begin: Duration,
    /// When its last one ended.
    pub end: Duration,
    /// The item that names its columns.
    pub schema: Arc<[u8]>,
    /// The item with the frames.
    pub block: Arc<[u8]>,
}

/// The latest blocks.
#[derive(Debug)]
pub struct Flight {
    blocks: Mutex<Blocks>,
    max_bytes: usize,
    reach: Duration,
}

#[derive(Debug, Default)]
struct Blocks {
    blocks: VecDeque<FlightBlock>,
    bytes: usize,
}

impl Flight {
    /// Keeps what was `reach` ago at most, in `max_bytes` at most.
    pub fn new(max_bytes: usize, reach: Duration) -> Self {
        Self { blocks: Mutex::default(), max_bytes, reach }
    }

    /// Adds the latest block; the oldest make room for it.
    pub fn push(&self, block: FlightBlock) {
        let mut kept = self.lock();
        let oldest = block.end.saturating_sub(self.reach);
        kept.bytes += bytes(&block);
        kept.blocks.push_back(block);
        while kept.blocks.len() > 1
            && kept.blocks.front().is_some_and(|first| first.end < oldest || kept.bytes > self.max_bytes)
        {
            let gone = kept.blocks.pop_front();
            kept.bytes -= gone.as_ref().map_or(0, bytes);
        }
    }

    /// The blocks that end at `from` (CLOCK_MONOTONIC) or later, oldest first.
    pub fn since(&self, from: Duration) -> Vec<FlightBlock> {
        self.lock().blocks.iter().filter(|block| block.end >= from).cloned().collect()
    }

    /// How many bytes it takes, and how far back from the latest block it reaches.
    pub fn extent(&self) -> (usize, Duration) {
        let kept = self.lock();
        let reach = kept.blocks.front().zip(kept.blocks.back());
        let reach = reach.map_or(Duration::ZERO, |(first, last)| last.end.saturating_sub(first.begin));
        (kept.bytes, reach)
    }

    fn lock(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Schemas are shared by neighbours, and the same for minutes: they are left out.
fn bytes(block: &FlightBlock) -> usize {
    block.block.len() + size_of::<FlightBlock>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(second: u64, bytes: usize) -> FlightBlock {
        FlightBlock {
            begin: Duration::from_secs(second),
            end: Duration::from_secs(second + 1),
            schema: Arc::from([]),
            block: vec![0; bytes].into(),
        }
    }

    #[test]
    fn it_reaches_back_so_far_and_no_further() {
        let flight = Flight::new(usize::MAX, Duration::from_secs(10));
        for second in 0..100 {
            flight.push(block(second, 100));
        }
        let all = flight.since(Duration::ZERO);
        assert_eq!((all.len(), all[0].end), (11, Duration::from_secs(90)));
        assert_eq!(flight.since(Duration::from_secs(98)).len(), 3);
    }

    #[test]
    fn its_memory_is_bounded_whatever_comes() {
        let flight = Flight::new(10_000, Duration::from_secs(600));
        for second in 0..100 {
            flight.push(block(second, 1_000));
            assert!(flight.lock().bytes <= 10_000 || flight.since(Duration::ZERO).len() == 1);
        }
        flight.push(block(100, 50_000));
        assert_eq!(flight.since(Duration::ZERO).len(), 1, "the latest is always there");
    }
}
