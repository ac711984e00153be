//! The micro-kernel of `matrix` in vector registers. Kept apart because intrinsics are `unsafe`.
#![expect(unsafe_code, reason = "calls functions that need instruction sets, and loads and stores registers")]

use std::hint::black_box;

use super::{
    Isa,
    matrix::{COLUMN_WORDS, Cut, Factors, ROWS, cut},
    recipe::Precision,
    sweep::LINE_WORDS,
};

/// The whole product, in the order of tiles.
///
/// # Panics
/// When a slice is not as long as its panels are, or the host lacks the instructions.
pub(super) fn compute(isa: Isa, precision: Precision, factors: &Factors, c: &mut [u64]) {
    let Cut { depth, tile_rows, tile_words } = cut(isa);
    assert!(isa.is_available() && c.len() == ROWS * COLUMN_WORDS);
    assert!(factors.a.len() == ROWS * depth && factors.b.len() == depth * COLUMN_WORDS);
    let factors = black_box(factors);
    let a_panels = factors.a.chunks_exact(depth * tile_rows);
    let mut tiles = c.chunks_exact_mut(tile_rows * tile_words);
    for a in a_panels {
        for b in factors.b.chunks_exact(depth * tile_words) {
            let Some(c) = tiles.next() else { return };
            match (isa, precision) {
                (Isa::Portable, Precision::Double) => portable_f64(a, b, c),
                (Isa::Portable, Precision::Single) => portable_f32(a, b, c),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the host has the instructions, and panels and tile are whole, as just checked.
                (Isa::Avx2, Precision::Double) => unsafe { avx2_f64(a, b, c) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                (Isa::Avx2, Precision::Single) => unsafe { avx2_f32(a, b, c) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                (Isa::Avx512, Precision::Double) => unsafe { avx512_f64(a, b, c) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                (Isa::Avx512, Precision::Single) => unsafe { avx512_f32(a, b, c) },
                #[cfg(not(target_arch = "x86_64"))]
                (Isa::Avx2 | Isa::Avx512, _) => unreachable!("admission lets through what the host has"),
            }
        }
    }
}

fn portable_f64(a: &[u64], b: &[u64], c: &mut [u64]) {
    let mut tile = [[0.0; 4]; 4];
    for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
        for (row, a) in tile.iter_mut().zip(a) {
            let a = f64::from_bits(*a);
            for (sum, b) in row.iter_mut().zip(b) {
                *sum += a * f64::from_bits(*b);
            }
        }
    }
    for (word, sum) in c.iter_mut().zip(tile.as_flattened()) {
        *word = sum.to_bits();
    }
}

fn portable_f32(a: &[u64], b: &[u64], c: &mut [u64]) {
    let mut tile = [[[0.0; 2]; 4]; 4];
    for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
        for (row, a) in tile.iter_mut().zip(a) {
            let a = f32::from_bits(*a as u32);
            for (sums, b) in row.iter_mut().zip(b) {
                sums[0] += a * f32::from_bits(*b as u32);
                sums[1] += a * f32::from_bits((*b >> 32) as u32);
            }
        }
    }
    for (word, sums) in c.iter_mut().zip(tile.as_flattened()) {
        *word = u64::from(sums[0].to_bits()) | u64::from(sums[1].to_bits()) << 32;
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! form {
    (
        $name:ident, $features:literal, $words:literal, $rows:literal, $number:ty, $bits:ty,
        $load:ident, $store:ident, $all:ident, $zero:ident, $fma:ident
    ) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(a: &[u64], b: &[u64], c: &mut [u64]) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch, $all, $fma, $load, $store, $zero};

            const REGISTERS: usize = 3;
            // Rows of B, columns of A: some 12 cycles each, and the second cache is some 15 away. Panels are longer than the first
            // cache, and a core's own prefetchers come too late for a line every four cycles.
            const AHEAD: usize = 12;
            let mut tile = [[$zero(); REGISTERS]; $rows];
            for (a, b) in a.as_chunks::<$rows>().0.iter().zip(b.as_chunks::<{ REGISTERS * $words }>().0) {
                // Hints: an address beyond a panel's end does no harm.
                _mm_prefetch::<_MM_HINT_T0>(a.as_ptr().wrapping_add(AHEAD * $rows).cast());
                for word in (0..REGISTERS * $words).step_by(LINE_WORDS) {
                    let coming = b.as_ptr().wrapping_add(AHEAD * REGISTERS * $words + word);
                    _mm_prefetch::<_MM_HINT_T0>(coming.cast());
                }
                let b: [_; REGISTERS] = std::array::from_fn(|at| {
                    // SAFETY: three registers' worth of words.
                    unsafe { $load(b.as_ptr().add(at * $words).cast()) }
                });
                for (row, a) in tile.iter_mut().zip(a) {
                    let a = $all(<$number>::from_bits(*a as $bits));
                    for (sum, b) in row.iter_mut().zip(b) {
                        *sum = $fma(a, b, *sum);
                    }
                }
            }
            for (at, sum) in tile.as_flattened().iter().enumerate() {
                // SAFETY: the caller's: the slice holds a tile.
                unsafe { $store(c.as_mut_ptr().add(at * $words).cast(), *sum) };
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
form!(
    avx2_f64,
    "avx2,fma",
    4,
    4,
    f64,
    u64,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_set1_pd,
    _mm256_setzero_pd,
    _mm256_fmadd_pd
);
#[cfg(target_arch = "x86_64")]
form!(
    avx2_f32,
    "avx2,fma",
    4,
    4,
    f32,
    u32,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_set1_ps,
    _mm256_setzero_ps,
    _mm256_fmadd_ps
);
#[cfg(target_arch = "x86_64")]
form!(
    avx512_f64,
    "avx512f",
    8,
    8,
    f64,
    u64,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_set1_pd,
    _mm512_setzero_pd,
    _mm512_fmadd_pd
);
#[cfg(target_arch = "x86_64")]
form!(
    avx512_f32,
    "avx512f",
    8,
    8,
    f32,
    u32,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_setzero_ps,
    _mm512_fmadd_ps
);
