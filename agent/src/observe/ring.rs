//! The latest frames, for whoever follows. The tick never waits for a reader: one that is too slow loses frames, and is
//! told how many.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{frame::Frame, schema::Schema};

/// At 10 Hz, 6.4 s that a reader may lag.
const FRAMES: usize = 64;

/// The latest frames with their schemas.
#[derive(Debug)]
pub struct FrameRing {
    slots: Mutex<Slots>,
    /// How many frames were ever published.
    published: watch::Sender<u64>,
}

#[derive(Debug)]
struct Slots {
    schemas: Vec<Arc<Schema>>,
    frames: Vec<Frame>,
    published: u64,
}

impl Default for FrameRing {
    fn default() -> Self {
        let slots =
            Slots { schemas: Vec::with_capacity(FRAMES), frames: Vec::with_capacity(FRAMES), published: 0 };
        Self { slots: Mutex::new(slots), published: watch::Sender::new(0) }
    }
}

impl FrameRing {
    /// Adds a frame over the oldest. Once every slot was used, allocates nothing.
    pub fn publish(&self, schema: &Arc<Schema>, frame: &Frame) {
        let published = {
            let mut slots = self.lock();
            if slots.frames.len() < FRAMES {
                slots.frames.push(frame.clone());
                slots.schemas.push(schema.clone());
            } else {
                let at = (slots.published % FRAMES as u64) as usize;
                slots.frames[at].copy_from(frame);
                slots.schemas[at] = schema.clone();
            }
            slots.published += 1;
            slots.published
        };
        self.published.send_replace(published);
    }

    /// Tells how many frames were published, at every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Copies the frame after the first `count` ones to `into`. Gives its schema and how many frames were lost before it,
    /// or nothing when it is not there yet.
    pub fn read_after(&self, count: u64, into: &mut Frame) -> Option<(Arc<Schema>, u64)> {
        let slots = self.lock();
        if count >= slots.published {
            return None;
        }
        let oldest = slots.published - slots.frames.len() as u64;
        let lost = oldest.saturating_sub(count);
        let at = ((count + lost) % FRAMES as u64) as usize;
        into.copy_from(&slots.frames[at]);
        Some((slots.schemas[at].clone(), lost))
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // The worst a panic can leave is one frame half-copied.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
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
}
