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
        $load:expr, $store:expr, $pass:expr, $all:expr, $fma:expr, $add:expr
    ) => {
        $(#[$attribute])*
        fn $name<const WIDE: bool, const ADDS: bool>(
            shape: &Shape,
            start: &[u64],
            end: &mut [u64],
            sweep: Option<&mut Sweep>,
        ) {
            let (a, b, c) = ($all(A as $number), $all(B as $number), $all(C as $number));
            // By number and in no loop, here and wherever chains are named: each is to stay in a register of its own. What is
            // indexed by a variable anywhere is memory everywhere, and half of them would go there and back at each access.
            let load_chain = |chain: usize| {
                // SAFETY: the caller made sure that the slice holds all chains.
                unsafe { $load(start.as_ptr().add(chain * $words).cast()) }
            };
            macro_rules! load_chains {
                ($from:expr) => {
                    [
                        load_chain($from),
                        load_chain($from + 1),
                        load_chain($from + 2),
                        load_chain($from + 3),
                        load_chain($from + 4),
                        load_chain($from + 5),
                        load_chain($from + 6),
                        load_chain($from + 7),
                        load_chain($from + 8),
                        load_chain($from + 9),
                        load_chain($from + 10),
                        load_chain($from + 11),
                    ]
                };
            }
            let mut lower: [_; FMA_CHAINS] = load_chains!(0);
            let mut upper: [_; FMA_CHAINS] = load_chains!(if WIDE { FMA_CHAINS } else { 0 });
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
                let mut sweep = sweep.pass();
                // Each by its number: which level it goes to is known, and costs no branch to be guessed.
                macro_rules! access {
                    ($access:literal) => {
                        for _ in 1..shape.gap {
                            step!(b, b);
                        }
                        let level = const { ORDER[$access] };
                        // What is in L1 is there at once.
                        if !matches!(level, Level::L1) {
                            let (from, to) = sweep.coming(level);
                            prefetch(from);
                            if !matches!(level, Level::Dram) {
                                prefetch(to);
                            }
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
                    };
                }
                for _ in 0..shape.lines() / ORDER.len() {
                    access!(0);
                    access!(1);
                    access!(2);
                    access!(3);
                    access!(4);
                    access!(5);
                    access!(6);
                    access!(7);
                    access!(8);
                    access!(9);
                    access!(10);
                    access!(11);
                    access!(12);
                    access!(13);
                    access!(14);
                    access!(15);
                }
            } else {
                for _ in 0..shape.steps {
                    step!(b, b);
                }
            }
            macro_rules! store_chain {
                ($chain:literal) => {
                    // SAFETY: as for the start.
                    unsafe { $store(end.as_mut_ptr().add($chain * $words).cast(), lower[$chain]) };
                    if WIDE {
                        // SAFETY: as for the start.
                        unsafe {
                            $store(end.as_mut_ptr().add((FMA_CHAINS + $chain) * $words).cast(), upper[$chain]);
                        }
                    }
                };
            }
            store_chain!(0);
            store_chain!(1);
            store_chain!(2);
            store_chain!(3);
            store_chain!(4);
            store_chain!(5);
            store_chain!(6);
            store_chain!(7);
            store_chain!(8);
            store_chain!(9);
            store_chain!(10);
            store_chain!(11);
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

/// Stores that pass the caches are in no order with others before a fence. One has to come before anything else touches what
/// they wrote: when an area of the sweep comes round, and not after each unit, for it waits for memory.
pub(super) fn settle_stores() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is in the architecture's base.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

array_operations!(of_f64, f64, 4);
array_operations!(of_f32, f32, 8);

form!(
    portable_f64, , 4, f64,
    of_f64::load, of_f64::store, of_f64::store, of_f64::all, of_f64::multiply_add, of_f64::add
);
form!(
    portable_f32, , 4, f32,
    of_f32::load, of_f32::store, of_f32::store, of_f32::all, of_f32::multiply_add, of_f32::add
);

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm256_add_pd, _mm256_add_ps, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_loadu_pd, _mm256_loadu_ps,
    _mm256_set1_pd, _mm256_set1_ps, _mm256_storeu_pd, _mm256_storeu_ps, _mm256_stream_pd, _mm256_stream_ps,
    _mm512_add_pd, _mm512_add_ps, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_loadu_pd, _mm512_loadu_ps,
    _mm512_set1_pd, _mm512_set1_ps, _mm512_storeu_pd, _mm512_storeu_ps, _mm512_stream_pd, _mm512_stream_ps,
};

#[cfg(target_arch = "x86_64")]
form!(
    avx2_f64, #[target_feature(enable = "avx2,fma")], 4, f64,
    _mm256_loadu_pd, _mm256_storeu_pd,
    _mm256_stream_pd, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_add_pd
);
#[cfg(target_arch = "x86_64")]
form!(
    avx2_f32, #[target_feature(enable = "avx2,fma")], 4, f32,
    _mm256_loadu_ps, _mm256_storeu_ps,
    _mm256_stream_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps
);
#[cfg(target_arch = "x86_64")]
form!(
    avx512_f64, #[target_feature(enable = "avx512f")], 8, f64,
    _mm512_loadu_pd, _mm512_storeu_pd,
    _mm512_stream_pd, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_add_pd
);
#[cfg(target_arch = "x86_64")]
form!(
    avx512_f32, #[target_feature(enable = "avx512f")], 8, f32,
    _mm512_loadu_ps, _mm512_storeu_ps,
    _mm512_stream_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps
);
