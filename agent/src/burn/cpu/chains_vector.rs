//! The chains of `chains` in vector registers. Kept apart because intrinsics are `unsafe`.
#![expect(unsafe_code, reason = "calls functions that need instruction sets, and loads and stores registers")]

use std::hint::black_box;

use super::{
    Isa,
    chains::{A, B, C, FMA_CHAINS, Shape, WIDE_CHAINS},
    recipe::{Level, Precision},
    sweep::{LINE_WORDS, Line, ORDER, Sweep},
};

/// Steps every chain from `start` and leaves its end in `end`. A shape with memory needs a sweep.
///
/// # Panics
/// When a slice is not as long as the chains are.
pub(super) fn compute(shape: &Shape, start: &[u64], end: &mut [u64], sweep: Option<&mut Sweep>) {
    let words = shape.chains * shape.words();
    assert!(start.len() == words && end.len() == words);
    // Hidden from the optimiser, or it would compute a constant once.
    let start = black_box(start);
    match (shape.chains, shape.adds) {
        (FMA_CHAINS, false) => of_mix::<false, false>(shape, start, end, sweep),
        (FMA_CHAINS, true) => of_mix::<false, true>(shape, start, end, sweep),
        (WIDE_CHAINS, false) => of_mix::<true, false>(shape, start, end, sweep),
        (WIDE_CHAINS, true) => of_mix::<true, true>(shape, start, end, sweep),
        _ => unreachable!("shapes have 12 or 24 chains"),
    }
}

fn of_mix<const WIDE: bool, const ADDS: bool>(
    shape: &Shape,
    start: &[u64],
    end: &mut [u64],
    sweep: Option<&mut Sweep>,
) {
    debug_assert!(shape.isa.is_available());
    match (shape.isa, shape.precision) {
        (Isa::Portable, Precision::Double) => portable_f64::<WIDE, ADDS>(shape, start, end, sweep),
        (Isa::Portable, Precision::Single) => portable_f32::<WIDE, ADDS>(shape, start, end, sweep),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `Recipe::build` makes chains only where the host has AVX2 and FMA; the slices hold all chains.
        (Isa::Avx2, Precision::Double) => unsafe { avx2_f64::<WIDE, ADDS>(shape, start, end, sweep) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        (Isa::Avx2, Precision::Single) => unsafe { avx2_f32::<WIDE, ADDS>(shape, start, end, sweep) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, AVX-512 F.
        (Isa::Avx512, Precision::Double) => unsafe { avx512_f64::<WIDE, ADDS>(shape, start, end, sweep) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, AVX-512 F.
        (Isa::Avx512, Precision::Single) => unsafe { avx512_f32::<WIDE, ADDS>(shape, start, end, sweep) },
        #[cfg(not(target_arch = "x86_64"))]
        (Isa::Avx2 | Isa::Avx512, _) => unreachable!("admission lets through what the host has"),
    }
}

/// One form: `$words` 64-bit words a register, and what loads, stores and computes with them.
macro_rules! form {
    (
        $name:ident, $(#[$attribute:meta])*, $words:literal, $number:ty,
        $load:expr, $store:expr, $pass:expr, $all:expr, $fma:expr, $add:expr, $fence:expr
    ) => {
        $(#[$attribute])*
        fn $name<const WIDE: bool, const ADDS: bool>(
            shape: &Shape,
            start: &[u64],
            end: &mut [u64],
            sweep: Option<&mut Sweep>,
        ) {
            let (a, b, c) = ($all(A as $number), $all(B as $number), $all(C as $number));
            // By number and not in a loop: each is to stay in a register of its own, whatever the optimiser unrolls.
            let load_chains = |from: usize| -> [_; FMA_CHAINS] {
                std::array::from_fn(|chain| {
                    // SAFETY: the caller made sure that the slice holds all chains.
                    unsafe { $load(start.as_ptr().add((from + chain) * $words).cast()) }
                })
            };
            let mut lower = load_chains(0);
            let mut upper = load_chains(if WIDE { FMA_CHAINS } else { 0 });
            macro_rules! chain {
                ($chain:literal, $addend:expr) => {
                    lower[$chain] = if ADDS && !WIDE && $chain % 2 == 1 {
                        $add(lower[$chain], c)
                    } else {
                        $fma(lower[$chain], a, $addend)
                    };
                    if WIDE {
                        upper[$chain] =
                            if ADDS { $add(upper[$chain], c) } else { $fma(upper[$chain], a, b) };
                    }
                };
            }
            macro_rules! step {
                ($first:expr, $third:expr) => {
                    chain!(0, $first);
                    chain!(1, b);
                    chain!(2, $third);
                    chain!(3, b);
                    chain!(4, b);
                    chain!(5, b);
                    chain!(6, b);
                    chain!(7, b);
                    chain!(8, b);
                    chain!(9, b);
                    chain!(10, b);
                    chain!(11, b);
                };
            }
            if let (Some(sweep), 1..) = (sweep, shape.gap) {
                for access in 0..shape.lines() {
                    for _ in 1..shape.gap {
                        step!(b, b);
                    }
                    let level = ORDER[access % ORDER.len()];
                    let (from, to) = sweep.coming(level);
                    prefetch(from);
                    if !matches!(level, Level::Dram) {
                        prefetch(to);
                    }
                    let (from, to) = sweep.next(level);
                    let from: *const Line = from;
                    let to: *mut Line = to;
                    let (from, to): (*const u64, *mut u64) = (from.cast(), to.cast());
                    // SAFETY: a line holds LINE_WORDS words: one or two registers; it is aligned to 64 bytes.
                    let (first, third) = unsafe {
                        let first = $load(from.cast());
                        let third = if $words < LINE_WORDS { $load(from.add(LINE_WORDS - $words).cast()) } else { b };
                        (first, third)
                    };
                    // SAFETY: as above.
                    unsafe {
                        if matches!(level, Level::Dram) {
                            $pass(to.cast(), first);
                            if $words < LINE_WORDS {
                                $pass(to.add(LINE_WORDS - $words).cast(), third);
                            }
                        } else {
                            $store(to.cast(), first);
                            if $words < LINE_WORDS {
                                $store(to.add(LINE_WORDS - $words).cast(), third);
                            }
                        }
                    }
                    step!(first, third);
                }
                // Stores that pass the caches become visible in order with what follows.
                $fence();
            } else {
                for _ in 0..shape.steps {
                    step!(b, b);
                }
            }
            let upper = if WIDE { &upper[..] } else { &[] };
            for (chain, x) in lower.iter().chain(upper).enumerate() {
                // SAFETY: as for the start.
                unsafe { $store(end.as_mut_ptr().add(chain * $words).cast(), *x) };
            }
        }
    };
}

/// Registers that a compiler makes of arrays.
macro_rules! array_operations {
    ($module:ident, $number:ty, $lanes:literal) => {
        mod $module {
            pub(super) type Array = [$number; $lanes];

            pub(super) unsafe fn load(from: *const u64) -> Array {
                // SAFETY: the caller's.
                unsafe { from.cast::<Array>().read_unaligned() }
            }
            pub(super) unsafe fn store(to: *mut u64, array: Array) {
                // SAFETY: the caller's.
                unsafe { to.cast::<Array>().write_unaligned(array) };
            }
            pub(super) fn all(number: $number) -> Array {
                [number; $lanes]
            }
            #[inline(always)]
            pub(super) fn multiply_add(x: Array, a: Array, b: Array) -> Array {
                std::array::from_fn(|lane| x[lane] * a[lane] + b[lane])
            }
            #[inline(always)]
            pub(super) fn add(x: Array, c: Array) -> Array {
                std::array::from_fn(|lane| x[lane] + c[lane])
            }
        }
    };
}

/// Brings a line near before it is needed.
#[inline(always)]
fn prefetch(line: Option<&Line>) {
    #[cfg(target_arch = "x86_64")]
    if let Some(line) = line {
        let line: *const Line = line;
        // SAFETY: a hint, of an address that is there; SSE is in the architecture's base.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Ordinary stores need none.
fn no_fence() {}

array_operations!(of_f64, f64, 4);
array_operations!(of_f32, f32, 8);

form!(
    portable_f64, , 4, f64,
    of_f64::load, of_f64::store, of_f64::store, of_f64::all, of_f64::multiply_add, of_f64::add, no_fence
);
form!(
    portable_f32, , 4, f32,
    of_f32::load, of_f32::store, of_f32::store, of_f32::all, of_f32::multiply_add, of_f32::add, no_fence
);

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm_sfence, _mm256_add_pd, _mm256_add_ps, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_loadu_pd,
    _mm256_loadu_ps, _mm256_set1_pd, _mm256_set1_ps, _mm256_storeu_pd, _mm256_storeu_ps, _mm256_stream_pd,
    _mm256_stream_ps, _mm512_add_pd, _mm512_add_ps, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_loadu_pd,
    _mm512_loadu_ps, _mm512_set1_pd, _mm512_set1_ps, _mm512_storeu_pd, _mm512_storeu_ps, _mm512_stream_pd,
    _mm512_stream_ps,
};

#[cfg(target_arch = "x86_64")]
form!(
    avx2_f64, #[target_feature(enable = "avx2,fma")], 4, f64,
    _mm256_loadu_pd, _mm256_storeu_pd,
    _mm256_stream_pd, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_add_pd, _mm_sfence
);
#[cfg(target_arch = "x86_64")]
form!(
    avx2_f32, #[target_feature(enable = "avx2,fma")], 4, f32,
    _mm256_loadu_ps, _mm256_storeu_ps,
    _mm256_stream_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm_sfence
);
#[cfg(target_arch = "x86_64")]
form!(
    avx512_f64, #[target_feature(enable = "avx512f")], 8, f64,
    _mm512_loadu_pd, _mm512_storeu_pd,
    _mm512_stream_pd, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_add_pd, _mm_sfence
);
#[cfg(target_arch = "x86_64")]
form!(
    avx512_f32, #[target_feature(enable = "avx512f")], 8, f32,
    _mm512_loadu_ps, _mm512_storeu_ps,
    _mm512_stream_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm_sfence
);
