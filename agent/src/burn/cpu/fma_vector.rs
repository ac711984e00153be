//! The same recurrence in vector registers. Kept apart because intrinsics are `unsafe`.
#![expect(unsafe_code, reason = "calls functions that need instruction sets")]

use std::hint::black_box;

use super::{
    Isa,
    fma::{A, B, CHAINS, LANES, Lanes, STEPS},
};

/// Steps every lane that `isa` computes [`STEPS`] times. Lanes it does not compute keep their start.
///
/// The caller has made sure that the host has the instructions: `fma::Answer` can't be made without.
pub(super) fn compute(isa: Isa, start: &Lanes) -> Lanes {
    debug_assert!(isa.is_available());
    // Hidden from the optimiser, or it would compute a constant once.
    let start = black_box(start);
    match isa {
        Isa::Portable => portable(start),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Answer` with this ISA exists only where the host has AVX2 and FMA (checked in `Answer::new`).
        Isa::Avx2 => unsafe { avx2(start) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, AVX-512 F.
        Isa::Avx512 => unsafe { avx512(start) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 => unreachable!("an Answer can't be made without the instructions"),
    }
}

fn portable(start: &Lanes) -> Lanes {
    let mut lanes = *start;
    for _ in 0..STEPS {
        for chain in &mut lanes {
            for x in &mut chain[..LANES / 2] {
                *x = *x * A + B;
            }
        }
    }
    lanes
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(start: &Lanes) -> Lanes {
    use std::arch::x86_64::{_mm256_fmadd_pd, _mm256_loadu_pd, _mm256_set1_pd, _mm256_storeu_pd};

    let (a, b) = (_mm256_set1_pd(A), _mm256_set1_pd(B));
    // SAFETY: each chain has at least 4 doubles.
    let mut x: [_; CHAINS] = std::array::from_fn(|chain| unsafe { _mm256_loadu_pd(start[chain].as_ptr()) });
    for _ in 0..STEPS {
        for chain in &mut x {
            *chain = _mm256_fmadd_pd(*chain, a, b);
        }
    }
    let mut end = *start;
    for (chain, x) in end.iter_mut().zip(x) {
        // SAFETY: as above.
        unsafe { _mm256_storeu_pd(chain.as_mut_ptr(), x) };
    }
    end
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(start: &Lanes) -> Lanes {
    use std::arch::x86_64::{_mm512_fmadd_pd, _mm512_loadu_pd, _mm512_set1_pd, _mm512_storeu_pd};

    let (a, b) = (_mm512_set1_pd(A), _mm512_set1_pd(B));
    // SAFETY: each chain has 8 doubles.
    let mut x: [_; CHAINS] = std::array::from_fn(|chain| unsafe { _mm512_loadu_pd(start[chain].as_ptr()) });
    for _ in 0..STEPS {
        for chain in &mut x {
            *chain = _mm512_fmadd_pd(*chain, a, b);
        }
    }
    let mut end = *start;
    for (chain, x) in end.iter_mut().zip(x) {
        // SAFETY: as above.
        unsafe { _mm512_storeu_pd(chain.as_mut_ptr(), x) };
    }
    end
}
