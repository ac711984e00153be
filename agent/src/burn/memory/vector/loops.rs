//! STREAM's loops, and reading.
//!
//! Stores are non-temporal: a line goes to memory without being read first, so that the bytes counted are the bytes moved
//! (Intel 64 and IA-32 Optimization Reference Manual, "Non-temporal stores"). The portable forms know only ordinary stores.

use crate::burn::{
    cpu::Isa,
    memory::{portable, region::Block},
};

/// `to[i] = from[i]`
pub(in crate::burn::memory) fn copy(isa: Isa, from: &[Block], to: &mut [Block]) {
    assert_eq!(from.len(), to.len());
    by_isa!(isa, copy(from, to));
}

/// `to[i] = factor * from[i]`, in double precision.
pub(in crate::burn::memory) fn scale(isa: Isa, factor: f64, from: &[Block], to: &mut [Block]) {
    assert_eq!(from.len(), to.len());
    by_isa!(isa, scale(factor, from, to));
}

/// `to[i] = a[i] + b[i]`, in double precision.
pub(in crate::burn::memory) fn add(isa: Isa, a: &[Block], b: &[Block], to: &mut [Block]) {
    assert!(a.len() == to.len() && b.len() == to.len());
    by_isa!(isa, add(a, b, to));
}

/// `to[i] = a[i] + factor * b[i]`, in double precision.
pub(in crate::burn::memory) fn triad(isa: Isa, factor: f64, a: &[Block], b: &[Block], to: &mut [Block]) {
    assert!(a.len() == to.len() && b.len() == to.len());
    by_isa!(isa, triad(factor, a, b, to));
}

/// Reads all; gives the OR of it, so that no load can be left out.
pub(in crate::burn::memory) fn read(isa: Isa, blocks: &[Block]) -> u64 {
    by_isa!(isa, read(blocks))
}

/// One register's worth after the other: each slice's register under its name, and what is stored.
#[cfg(target_arch = "x86_64")]
macro_rules! stream {
    ($load:ident, $store:ident, $to:ident; $($name:ident in $from:expr),+ => $value:expr) => {{
        let bytes = size_of_val($to);
        let to = $to.as_mut_ptr().cast::<u8>();
        let mut at = 0;
        while at < bytes {
            let mut part = 0;
            while part < 4 * STEP {
                // SAFETY: all slices have `bytes` bytes (asserted above), a multiple of four registers, and blocks are
                // aligned for the widest; `at + part` is below `bytes`.
                unsafe {
                    $(let $name = $load($from.as_ptr().cast::<u8>().add(at + part).cast());)+
                    $store(to.add(at + part).cast(), $value);
                }
                part += STEP;
            }
            at += 4 * STEP;
        }
        _mm_sfence();
    }};
}

/// The vector forms; the intrinsics are the same ones in two widths.
#[cfg(target_arch = "x86_64")]
macro_rules! vector_forms {
    (
        $name:ident, $features:literal, $bytes:literal, $load:ident, $zero:ident, $or:ident,
        $load_pd:ident, $stream_pd:ident, $set1_pd:ident, $mul_pd:ident, $add_pd:ident
    ) => {
        mod $name {
            use std::arch::x86_64::*;

            use crate::burn::memory::region::{BLOCK_BYTES, Block};

            /// Bytes of a register.
            const STEP: usize = $bytes;
            const _: () = assert!(BLOCK_BYTES.is_multiple_of(4 * STEP));

            #[target_feature(enable = $features)]
            pub(super) fn copy(from: &[Block], to: &mut [Block]) {
                stream!($load_pd, $stream_pd, to; x in from => x);
            }

            #[target_feature(enable = $features)]
            pub(super) fn scale(factor: f64, from: &[Block], to: &mut [Block]) {
                let factor = $set1_pd(factor);
                stream!($load_pd, $stream_pd, to; x in from => $mul_pd(factor, x));
            }

            #[target_feature(enable = $features)]
            pub(super) fn add(a: &[Block], b: &[Block], to: &mut [Block]) {
                stream!($load_pd, $stream_pd, to; x in a, y in b => $add_pd(x, y));
            }

            #[target_feature(enable = $features)]
            pub(super) fn triad(factor: f64, a: &[Block], b: &[Block], to: &mut [Block]) {
                let factor = $set1_pd(factor);
                stream!($load_pd, $stream_pd, to; x in a, y in b => $add_pd(x, $mul_pd(factor, y)));
            }

            #[target_feature(enable = $features)]
            pub(super) fn read(blocks: &[Block]) -> u64 {
                let mut or = [$zero(); 4];
                let (from, bytes) = (blocks.as_ptr().cast::<u8>(), size_of_val(blocks));
                let mut at = 0;
                while at < bytes {
                    for (part, or) in or.iter_mut().enumerate() {
                        // SAFETY: `bytes` is a multiple of four registers, and blocks are aligned for the widest.
                        *or = $or(*or, unsafe { $load(from.add(at + part * STEP).cast()) });
                    }
                    at += 4 * STEP;
                }
                let all = $or($or(or[0], or[1]), $or(or[2], or[3]));
                let mut words = [0u64; STEP / 8];
                // SAFETY: the array has as many bytes as the register; no alignment is asked for.
                unsafe { std::ptr::write_unaligned(words.as_mut_ptr().cast(), all) };
                words.iter().fold(0, |or, word| or | word)
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector_forms!(
    avx2,
    "avx2,fma",
    32,
    _mm256_load_si256,
    _mm256_setzero_si256,
    _mm256_or_si256,
    _mm256_load_pd,
    _mm256_stream_pd,
    _mm256_set1_pd,
    _mm256_mul_pd,
    _mm256_add_pd
);
#[cfg(target_arch = "x86_64")]
vector_forms!(
    avx512,
    "avx512f",
    64,
    _mm512_load_si512,
    _mm512_setzero_si512,
    _mm512_or_si512,
    _mm512_load_pd,
    _mm512_stream_pd,
    _mm512_set1_pd,
    _mm512_mul_pd,
    _mm512_add_pd
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burn::random::split_mix;

    fn random_blocks(count: usize, seed: u64) -> Vec<Block> {
        let mut state = seed;
        (0..count).map(|_| Block(std::array::from_fn(|_| (split_mix(&mut state) >> 40).max(1)))).collect()
    }

    fn numbers(count: usize, seed: u64) -> Vec<Block> {
        let mut blocks = random_blocks(count, seed);
        blocks.iter_mut().flat_map(|block| &mut block.0).for_each(|word| *word = (*word as f64).to_bits());
        blocks
    }

    fn words(blocks: &[Block]) -> impl Iterator<Item = u64> {
        blocks.iter().flat_map(|block| block.0)
    }

    #[test]
    fn every_form_of_the_streaming_loops_computes_the_same() {
        let (a, b) = (numbers(3, 1), numbers(3, 2));
        let pairs = || words(&a).map(f64::from_bits).zip(words(&b).map(f64::from_bits));
        for isa in Isa::available() {
            let mut to = vec![Block::ZERO; 3];
            copy(isa, &a, &mut to);
            assert!(words(&to).eq(words(&a)), "{isa:?}");
            scale(isa, 3.0, &a, &mut to);
            assert!(words(&to).eq(pairs().map(|(a, _)| (3.0 * a).to_bits())), "{isa:?}");
            add(isa, &a, &b, &mut to);
            assert!(words(&to).eq(pairs().map(|(a, b)| (a + b).to_bits())), "{isa:?}");
            triad(isa, 3.0, &a, &b, &mut to);
            assert!(words(&to).eq(pairs().map(|(a, b)| (a + 3.0 * b).to_bits())), "{isa:?}");
            assert_eq!(read(isa, &a), words(&a).fold(0, |or, word| or | word), "{isa:?}");
        }
    }
}
