//! The chase of `cache`: one hop, one whole line. Kept apart because intrinsics are `unsafe`.
#![expect(unsafe_code, reason = "calls functions that need instruction sets, and loads registers")]

use super::{
    Isa,
    sweep::{LINE_WORDS, Line},
};

/// Follows the chain from a line for some hops: the sum of all lines on the way, word by word, and the line that is next.
pub(super) fn compute(isa: Isa, lines: &[Line], from: usize, hops: u64) -> ([u64; LINE_WORDS], usize) {
    assert!(isa.is_available());
    match isa {
        Isa::Portable => portable(lines, from, hops),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the host has the instructions, as just checked.
        Isa::Avx2 => unsafe { avx2(lines, from, hops) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512(lines, from, hops) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 => unreachable!("admission lets through what the host has"),
    }
}

/// The line after this one; one outside of the area leads to its first, and the sums will tell.
#[inline(always)]
fn next(lines: &[Line], line: &Line) -> usize {
    let next = line.0[0] as usize;
    if next < lines.len() { next } else { 0 }
}

fn portable(lines: &[Line], mut at: usize, hops: u64) -> ([u64; LINE_WORDS], usize) {
    let mut sums = [0u64; LINE_WORDS];
    for _ in 0..hops {
        let line = &lines[at];
        for (sum, word) in sums.iter_mut().zip(line.0) {
            *sum = sum.wrapping_add(word);
        }
        at = next(lines, line);
    }
    (sums, at)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(lines: &[Line], mut at: usize, hops: u64) -> ([u64; LINE_WORDS], usize) {
    use std::arch::x86_64::{_mm256_add_epi64, _mm256_load_si256, _mm256_setzero_si256, _mm256_storeu_si256};

    let mut halves = [_mm256_setzero_si256(); 2];
    for _ in 0..hops {
        let line = &lines[at];
        for (half, sum) in halves.iter_mut().enumerate() {
            // SAFETY: half a line, which is aligned to 64 bytes.
            let words = unsafe { _mm256_load_si256(line.0.as_ptr().add(4 * half).cast()) };
            *sum = _mm256_add_epi64(*sum, words);
        }
        at = next(lines, line);
    }
    let mut sums = [0; LINE_WORDS];
    for (half, sum) in halves.into_iter().enumerate() {
        // SAFETY: half of the sums.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().add(4 * half).cast(), sum) };
    }
    (sums, at)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(lines: &[Line], mut at: usize, hops: u64) -> ([u64; LINE_WORDS], usize) {
    use std::arch::x86_64::{_mm512_add_epi64, _mm512_load_si512, _mm512_setzero_si512, _mm512_storeu_si512};

    let mut sum = _mm512_setzero_si512();
    for _ in 0..hops {
        let line = &lines[at];
        // SAFETY: a line, aligned to 64 bytes.
        sum = _mm512_add_epi64(sum, unsafe { _mm512_load_si512(line.0.as_ptr().cast()) });
        at = next(lines, line);
    }
    let mut sums = [0; LINE_WORDS];
    // SAFETY: all of the sums.
    unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), sum) };
    (sums, at)
}
