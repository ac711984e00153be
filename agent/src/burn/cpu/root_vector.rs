//! The roots and quotients of `root` in vector registers. Kept apart because intrinsics are `unsafe`.
#![expect(unsafe_code, reason = "calls functions that need instruction sets, and loads and stores registers")]

use std::hint::black_box;

use super::{
    Isa,
    recipe::Precision,
    root::{CHAINS, DIVIDENDS, STEPS, words},
};

/// Steps every chain from `start` and leaves its end in the first half of `end`, the exclusive or of all steps in the second.
///
/// # Panics
/// When a slice is not as long as the chains are.
pub(super) fn compute(
    isa: Isa,
    precision: Precision,
    dividends: &[f64; DIVIDENDS],
    start: &[u64],
    end: &mut [u64],
) {
    let len = CHAINS * words(isa);
    assert!(start.len() == len && end.len() == 2 * len && isa.is_available());
    let start = black_box(start);
    match (isa, precision) {
        (Isa::Portable, Precision::Double) => portable_f64(dividends, start, end),
        (Isa::Portable, Precision::Single) => portable_f32(dividends, start, end),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the host has the instructions, and the slices hold all chains, as just checked.
        (Isa::Avx2, Precision::Double) => unsafe { avx2_f64(dividends, start, end) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::Avx2, Precision::Single) => unsafe { avx2_f32(dividends, start, end) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::Avx512, Precision::Double) => unsafe { avx512_f64(dividends, start, end) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::Avx512, Precision::Single) => unsafe { avx512_f32(dividends, start, end) },
        #[cfg(not(target_arch = "x86_64"))]
        (Isa::Avx2 | Isa::Avx512, _) => unreachable!("admission lets through what the host has"),
    }
}

fn portable_f64(dividends: &[f64; DIVIDENDS], start: &[u64], end: &mut [u64]) {
    portable(dividends, start, end, |bits, dividend| {
        let x = f64::from_bits(bits);
        (x + dividend / x).sqrt().to_bits()
    });
}

fn portable_f32(dividends: &[f64; DIVIDENDS], start: &[u64], end: &mut [u64]) {
    let next = |bits: u64, dividend: f64| {
        let x = f32::from_bits(bits as u32);
        u64::from((x + dividend as f32 / x).sqrt().to_bits())
    };
    portable(dividends, start, end, |bits, dividend| next(bits, dividend) | next(bits >> 32, dividend) << 32);
}

fn portable(dividends: &[f64; DIVIDENDS], start: &[u64], end: &mut [u64], next: impl Fn(u64, f64) -> u64) {
    let (last, all) = end.split_at_mut(start.len());
    last.copy_from_slice(start);
    all.fill(0);
    for step in 0..STEPS {
        for (x, all) in last.iter_mut().zip(all.iter_mut()) {
            *x = next(*x, dividends[step % DIVIDENDS]);
            *all ^= *x;
        }
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! form {
    (
        $name:ident, $features:literal, $words:literal, $number:ty,
        $load:ident, $store:ident, $all:ident, $sqrt:ident, $divide:ident, $add:ident,
        $bits:ident, $xor:ident, $zero:ident, $store_bits:ident
    ) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(dividends: &[f64; DIVIDENDS], start: &[u64], end: &mut [u64]) {
            use std::arch::x86_64::{
                $add, $all, $bits, $divide, $load, $sqrt, $store, $store_bits, $xor, $zero,
            };

            let mut x: [_; CHAINS] = std::array::from_fn(|chain| {
                // SAFETY: the caller's: the slice holds CHAINS registers.
                unsafe { $load(start.as_ptr().add(chain * $words).cast()) }
            });
            let mut all = [$zero(); CHAINS];
            for step in 0..STEPS {
                let dividend = $all(dividends[step % DIVIDENDS] as $number);
                for (x, all) in x.iter_mut().zip(&mut all) {
                    *x = $sqrt($add(*x, $divide(dividend, *x)));
                    *all = $xor(*all, $bits(*x));
                }
            }
            for (chain, (x, all)) in x.into_iter().zip(all).enumerate() {
                // SAFETY: as above; `end` holds twice as many.
                unsafe {
                    $store(end.as_mut_ptr().add(chain * $words).cast(), x);
                    $store_bits(end.as_mut_ptr().add((CHAINS + chain) * $words).cast(), all);
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
form!(
    avx2_f64,
    "avx2",
    4,
    f64,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_set1_pd,
    _mm256_sqrt_pd,
    _mm256_div_pd,
    _mm256_add_pd,
    _mm256_castpd_si256,
    _mm256_xor_si256,
    _mm256_setzero_si256,
    _mm256_storeu_si256
);
#[cfg(target_arch = "x86_64")]
form!(
    avx2_f32,
    "avx2",
    4,
    f32,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_sqrt_ps,
    _mm256_div_ps,
    _mm256_add_ps,
    _mm256_castps_si256,
    _mm256_xor_si256,
    _mm256_setzero_si256,
    _mm256_storeu_si256
);
#[cfg(target_arch = "x86_64")]
form!(
    avx512_f64,
    "avx512f",
    8,
    f64,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_set1_pd,
    _mm512_sqrt_pd,
    _mm512_div_pd,
    _mm512_add_pd,
    _mm512_castpd_si512,
    _mm512_xor_si512,
    _mm512_setzero_si512,
    _mm512_storeu_si512
);
#[cfg(target_arch = "x86_64")]
form!(
    avx512_f32,
    "avx512f",
    8,
    f32,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_sqrt_ps,
    _mm512_div_ps,
    _mm512_add_ps,
    _mm512_castps_si512,
    _mm512_xor_si512,
    _mm512_setzero_si512,
    _mm512_storeu_si512
);
