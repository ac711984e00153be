//! The latest frames, for whoever follows. The tick never waits for a reader: one that is too slow loses frames, and is
//! told how many.

use std::sync::{
    Arc, Mutex, PoisonError, TryLockError,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use super::{frame::Frame, schema::Schema};

/// At 10 Hz, 6.4 s that a reader may lag.
const FRAMES: usize = 64;

/// The latest frames with their schemas.
#[derive(Debug)]
pub struct FrameRing {
    /// Each with a lock of its own: the tick writes the oldest, readers are at the latest. Where one lags so far, or lost its
    /// core while it copied, the tick passes over that slot.
    slots: [Mutex<Slot>; FRAMES],
    /// How many frames were ever published.
    count: AtomicU64,
    published: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Slot {
    /// One more than the frames published before it; 0 while there is none.
    number: u64,
    schema: Option<Arc<Schema>>,
    frame: Frame,
}

impl Default for FrameRing {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| Mutex::default()),
            count: AtomicU64::new(0),
            published: watch::Sender::new(0),
        }
    }
}

impl FrameRing {
    /// Adds a frame over the oldest; to be called by one thread. Once every slot was used, allocates nothing.
    pub fn publish(&self, schema: &Arc<Schema>, frame: &Frame) {
        let number = self.count.load(Ordering::Relaxed) + 1;
        let slot = match self.slot(number).try_lock() {
            Ok(slot) => Some(slot),
            // What a panic left half-copied is overwritten.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            // The slot keeps its number, so that readers miss this frame and count it as lost.
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut slot) = slot {
            slot.number = number;
            slot.schema = Some(schema.clone());
            slot.frame.copy_from(frame);
        }
        self.count.store(number, Ordering::Release);
        self.published.send_replace(number);
    }

    /// How many frames were published so far.
    pub fn published(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Tells how many frames were published, at every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Copies the frame after the first `count` ones to `into`. Gives its schema and how many frames were lost before it,
    /// or nothing when it is not there yet.
    pub fn read_after(&self, count: u64, into: &mut Frame) -> Option<(Arc<Schema>, u64)> {
        let published = self.published();
        let oldest = published.saturating_sub(FRAMES as u64);
        (count.max(oldest) + 1..=published).find_map(|number| {
            let slot = self.slot(number).lock().unwrap_or_else(PoisonError::into_inner);
            if slot.number != number {
                return None;
            }
            into.copy_from(&slot.frame);
            Some((slot.schema.clone()?, number - 1 - count))
        })
    }

    fn slot(&self, number: u64) -> &Mutex<Slot> {
        &self.slots[(number % FRAMES as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_frames_in_order_and_learns_what_it_lost() {
        let ring = FrameRing::default();
        let schema = Arc::new(Schema::new(1));
        let mut frame = Frame::default();
        let mut read = Frame::default();
        assert!(ring.read_after(0, &mut read).is_none());
        for sequence in 0..100 {
            frame.reset(&schema, sequence);
            ring.publish(&schema, &frame);
        }
        let (_, lost) = ring.read_after(0, &mut read).unwrap();
        assert_eq!((lost, read.sequence), (36, 36));
        let (_, lost) = ring.read_after(99, &mut read).unwrap();
        assert_eq!((lost, read.sequence), (0, 99));
        assert!(ring.read_after(100, &mut read).is_none());
        assert_eq!(*ring.subscribe().borrow(), 100);
    }

    #[test]
    fn a_reader_that_holds_a_slot_does_not_hold_up_the_tick_and_its_frame_is_lost() {
        let ring = FrameRing::default();
        let schema = Arc::new(Schema::new(1));
        let mut frame = Frame::default();
        let held = ring.slot(2).lock().unwrap();
        for sequence in 0..3 {
            frame.reset(&schema, sequence);
            ring.publish(&schema, &frame);
        }
        drop(held);
        let mut read = Frame::default();
        let (_, lost) = ring.read_after(1, &mut read).unwrap();
        assert_eq!((lost, read.sequence), (1, 2));
    }
}
