//! Work on blocks at the speed of memory, in the widest registers there are. Kept apart because intrinsics are `unsafe`.
#![expect(unsafe_code, reason = "intrinsics, and functions that need instruction sets")]

/// Calls the form of a loop for the chosen instructions.
macro_rules! by_isa {
    ($isa:expr, $function:ident($($argument:expr),*)) => {
        match $isa {
            Isa::Portable => portable::$function($($argument),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Isa` is chosen among those that the host has (`Isa::available`, at admission).
            Isa::Avx2 => unsafe { avx2::$function($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512 => unsafe { avx512::$function($($argument),*) },
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => unreachable!("not available on this architecture"),
        }
    };
}

mod loops;
mod patterns;

pub(super) use loops::{add, copy, read, scale, triad};
pub(super) use patterns::{check_steps, crcs, write_salted, write_steps};

use super::{data::LINE_WORDS, region::Block};

/// How a loop stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    /// Through the caches: for lines that are there already.
    Cached,
    /// Past them.
    NonTemporal,
}

/// To be called after non-temporal stores, before another core may look at what was stored.
pub(super) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has SSE.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Takes a block out of this core's caches, so that the next look at it is one at memory.
pub(super) fn flush(block: &Block) {
    #[cfg(target_arch = "x86_64")]
    {
        for line in block.0.chunks_exact(LINE_WORDS) {
            // SAFETY: every x86-64 has SSE2; the line is valid memory.
            unsafe { std::arch::x86_64::_mm_clflush(line.as_ptr().cast()) };
        }
        // Loads may pass a store fence, and so be served from the lines that are about to leave.
        // SAFETY: as above.
        unsafe { std::arch::x86_64::_mm_mfence() };
    }
    let _ = block;
}

#[cfg(test)]
mod tests {
    use std::{
        cell::UnsafeCell,
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;
    use crate::burn::{cpu::Isa, memory::data::Data};

    /// Handed from one thread to the other and back by a flag.
    struct Shared(UnsafeCell<[Block; 8]>);

    // SAFETY: the flag tells whose turn it is.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn blocks(&self) -> *mut [Block; 8] {
            self.0.get()
        }
    }

    /// Non-temporal stores may be seen after ordinary ones that come later in the program. A check by another core after the
    /// flag would find old words now and then, were there no fence before it.
    #[test]
    fn what_was_stored_past_the_caches_is_there_for_another_core_after_the_fence() {
        const ROUNDS: u64 = 3_000;
        for isa in Isa::available() {
            let (shared, turn) = (Shared(UnsafeCell::new([Block::ZERO; 8])), AtomicU64::new(0));
            let await_turn = |number: u64| {
                while turn.load(Ordering::Acquire) < number {
                    thread::yield_now();
                }
            };
            thread::scope(|scope| {
                scope.spawn(|| {
                    for round in 0..ROUNDS {
                        await_turn(2 * round);
                        // SAFETY: it is this thread's turn.
                        let blocks = unsafe { &mut *shared.blocks() };
                        let steps = Data::Constant(round + 1).steps(0);
                        for block in blocks {
                            write_steps(isa, block, &steps, Store::NonTemporal);
                        }
                        fence();
                        turn.store(2 * round + 1, Ordering::Release);
                    }
                });
                for round in 0..ROUNDS {
                    await_turn(2 * round + 1);
                    // SAFETY: it is this thread's turn.
                    let blocks = unsafe { &*shared.blocks() };
                    // Stored last, looked at first.
                    let stale =
                        blocks.iter().rev().flat_map(|block| block.0).filter(|word| *word != round + 1);
                    assert_eq!(stale.count(), 0, "{isa:?}, round {round}");
                    turn.store(2 * round + 2, Ordering::Release);
                }
            });
        }
    }

    #[test]
    fn a_flushed_block_keeps_what_was_stored() {
        for isa in Isa::available() {
            let mut block = Block::ZERO;
            let steps = Data::Constant(7).steps(0);
            write_steps(isa, &mut block, &steps, Store::Cached);
            flush(&block);
            assert!(block.0.iter().all(|word| *std::hint::black_box(word) == 7), "{isa:?}");
        }
    }
}
