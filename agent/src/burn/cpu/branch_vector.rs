//! The bits of `branch` in vector registers, and its branches. Kept apart because intrinsics are `unsafe`.
#![expect(
    unsafe_code,
    reason = "calls functions that need instruction sets; an empty asm block keeps a branch a branch"
)]

use std::{arch::asm, hint::black_box};

use super::{
    Isa,
    branch::{BRANCHES, Sequences, one, xorshift, zero},
};

/// Branches on the bits of one unit's sequences.
///
/// # Panics
/// When the host lacks the instructions.
pub(super) fn compute(isa: Isa, start: &Sequences) -> u64 {
    assert!(isa.is_available());
    let start = black_box(start);
    match isa {
        Isa::Portable => portable(*start),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the host has the instructions, as just checked.
        Isa::Avx2 => unsafe { avx2(start) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512(start) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 => unreachable!("admission lets through what the host has"),
    }
}

/// A branch on each of the lowest bits, lowest first.
#[inline(always)]
fn branch(mut x: u64, bits: u32, lanes: usize) -> u64 {
    for lane in 0..lanes {
        if bits >> lane & 1 == 1 {
            // SAFETY: it is empty. What may have effects can't be executed for both arms, so no conditional move is made.
            unsafe { asm!("", options(nomem, nostack, preserves_flags)) };
            x = one(x);
        } else {
            x = zero(x);
        }
    }
    x
}

fn portable(mut sequences: Sequences) -> u64 {
    let mut x = 1;
    for _ in 0..BRANCHES / 8 {
        let mut bits = 0;
        for (lane, sequence) in sequences[..8].iter_mut().enumerate() {
            *sequence = xorshift(*sequence);
            bits |= *sequence >> 31 << lane;
        }
        x = branch(x, bits, 8);
    }
    x
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(start: &Sequences) -> u64 {
    use std::arch::x86_64::{
        _mm256_castsi256_ps, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_slli_epi32, _mm256_srli_epi32,
        _mm256_xor_si256,
    };

    // SAFETY: 8 of 16 lanes.
    let mut sequences = unsafe { _mm256_loadu_si256(start.as_ptr().cast()) };
    let mut x = 1;
    for _ in 0..BRANCHES / 8 {
        sequences = _mm256_xor_si256(sequences, _mm256_slli_epi32(sequences, 13));
        sequences = _mm256_xor_si256(sequences, _mm256_srli_epi32(sequences, 17));
        sequences = _mm256_xor_si256(sequences, _mm256_slli_epi32(sequences, 5));
        x = branch(x, _mm256_movemask_ps(_mm256_castsi256_ps(sequences)).cast_unsigned(), 8);
    }
    x
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(start: &Sequences) -> u64 {
    use std::arch::x86_64::{
        _mm512_cmplt_epi32_mask, _mm512_loadu_si512, _mm512_setzero_si512, _mm512_slli_epi32,
        _mm512_srli_epi32, _mm512_xor_si512,
    };

    // SAFETY: 16 lanes.
    let mut sequences = unsafe { _mm512_loadu_si512(start.as_ptr().cast()) };
    let mut x = 1;
    for _ in 0..BRANCHES / 16 {
        sequences = _mm512_xor_si512(sequences, _mm512_slli_epi32(sequences, 13));
        sequences = _mm512_xor_si512(sequences, _mm512_srli_epi32(sequences, 17));
        sequences = _mm512_xor_si512(sequences, _mm512_slli_epi32(sequences, 5));
        x = branch(x, u32::from(_mm512_cmplt_epi32_mask(sequences, _mm512_setzero_si512())), 16);
    }
    x
}
