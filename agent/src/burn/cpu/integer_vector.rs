//! The arithmetic of `integer` in vector registers. Kept apart because intrinsics are `unsafe`.
#![expect(unsafe_code, reason = "calls functions that need instruction sets, and loads and stores registers")]

use std::hint::black_box;

use super::{
    Isa,
    integer::{CHAINS, D, K, M, STEPS, words},
};

/// Steps every chain from `start` and leaves its end in `end`.
///
/// # Panics
/// When a slice is not as long as the chains are.
pub(super) fn compute(isa: Isa, start: &[u64], end: &mut [u64]) {
    let len = CHAINS * words(isa);
    assert!(start.len() == len && end.len() == len && isa.is_available());
    let start = black_box(start);
    match isa {
        Isa::Portable => portable(start, end),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the host has the instructions, and the slices hold all chains, as just checked.
        Isa::Avx2 => unsafe { avx2(start, end) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx512 => unsafe { avx512(start, end) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 => unreachable!("admission lets through what the host has"),
    }
}

fn portable(start: &[u64], end: &mut [u64]) {
    for (start, end) in start.iter().zip(end) {
        let mut lanes = [*start as u32, (start >> 32) as u32];
        for _ in 0..STEPS {
            for x in &mut lanes {
                *x = x.wrapping_mul(M).wrapping_add(D).rotate_left(7) ^ K;
            }
        }
        *end = u64::from(lanes[0]) | u64::from(lanes[1]) << 32;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(start: &[u64], end: &mut [u64]) {
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_loadu_si256, _mm256_mullo_epi32, _mm256_or_si256, _mm256_set1_epi32,
        _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_si256, _mm256_xor_si256,
    };

    let all = |number: u32| _mm256_set1_epi32(number.cast_signed());
    let (m, d, k) = (all(M), all(D), all(K));
    let mut x: [_; CHAINS] = std::array::from_fn(|chain| {
        // SAFETY: the slice holds CHAINS registers of 4 words.
        unsafe { _mm256_loadu_si256(start.as_ptr().add(chain * 4).cast()) }
    });
    for _ in 0..STEPS {
        for x in &mut x {
            let sum = _mm256_add_epi32(_mm256_mullo_epi32(*x, m), d);
            let turned = _mm256_or_si256(_mm256_slli_epi32(sum, 7), _mm256_srli_epi32(sum, 25));
            *x = _mm256_xor_si256(turned, k);
        }
    }
    for (chain, x) in x.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { _mm256_storeu_si256(end.as_mut_ptr().add(chain * 4).cast(), x) };
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(start: &[u64], end: &mut [u64]) {
    use std::arch::x86_64::{
        _mm512_add_epi32, _mm512_loadu_si512, _mm512_mullo_epi32, _mm512_rol_epi32, _mm512_set1_epi32,
        _mm512_storeu_si512, _mm512_xor_si512,
    };

    let all = |number: u32| _mm512_set1_epi32(number.cast_signed());
    let (m, d, k) = (all(M), all(D), all(K));
    let mut x: [_; CHAINS] = std::array::from_fn(|chain| {
        // SAFETY: the slice holds CHAINS registers of 8 words.
        unsafe { _mm512_loadu_si512(start.as_ptr().add(chain * 8).cast()) }
    });
    for _ in 0..STEPS {
        for x in &mut x {
            let sum = _mm512_add_epi32(_mm512_mullo_epi32(*x, m), d);
            *x = _mm512_xor_si512(_mm512_rol_epi32::<7>(sum), k);
        }
    }
    for (chain, x) in x.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { _mm512_storeu_si512(end.as_mut_ptr().add(chain * 8).cast(), x) };
    }
}
