//! What a core's floating-point pipes can do at most: bare loops of a known length, nothing stored, nothing compared.
#![expect(unsafe_code, reason = "calls functions that need instruction sets")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::{hint::black_box, thread};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

/// Of one look; some 10 ms.
const STEPS: usize = 1_000_000;
/// The best one counts.
const LOOKS: usize = 100;

/// Numbers of 64 or 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    Double,
    Single,
}

/// What a loop is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// 12 chains of fused multiply-adds.
    MultiplyAdds,
    /// 12 chains of them, and 12 of additions.
    WithAdditions,
}

/// Operations a second of CPU time on these cores at once, all added up, in billions. None without AVX-512 and AVX2.
pub(crate) fn gflops(cores: &[usize], precision: Precision, mix: Mix) -> Option<f64> {
    let (kernel, flops_per_step) = kernel(precision, mix)?;
    let on_core = |core: usize| -> f64 {
        let mut set = CpuSet::new();
        set.set(core).expect("the core's number is small");
        sched_setaffinity(Pid::from_raw(0), &set).expect("the core is ours");
        let mut total = 0.0;
        let begin = cpu_s();
        for _ in 0..LOOKS {
            // SAFETY: `kernel` gives loops that the host has the instructions for.
            unsafe { kernel(black_box(STEPS)) };
            total += flops_per_step * STEPS as f64;
        }
        total / (cpu_s() - begin) / 1e9
    };
    thread::scope(|scope| {
        let threads: Vec<_> = cores.iter().map(|core| scope.spawn(move || on_core(*core))).collect();
        threads.into_iter().map(|thread| thread.join().ok()).sum()
    })
}

fn cpu_s() -> f64 {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has it");
    std::time::Duration::from(now).as_secs_f64()
}

/// A loop, and its floating-point operations a step. It may be called where `kernel` gave it.
type Kernel = (unsafe fn(usize), f64);

#[cfg(not(target_arch = "x86_64"))]
fn kernel(_precision: Precision, _mix: Mix) -> Option<Kernel> {
    None
}

#[cfg(target_arch = "x86_64")]
fn kernel(precision: Precision, mix: Mix) -> Option<Kernel> {
    let of_chains = match mix {
        Mix::MultiplyAdds => 2.0 * 12.0,
        Mix::WithAdditions => 3.0 * 12.0,
    };
    let wide = is_x86_feature_detected!("avx512f");
    let narrow = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    if !(wide || narrow) {
        return None;
    }
    let (bare, lanes): (unsafe fn(usize), f64) = match (wide, precision, mix) {
        (true, Precision::Double, Mix::MultiplyAdds) => (wide_double::<false>, 8.0),
        (true, Precision::Double, Mix::WithAdditions) => (wide_double::<true>, 8.0),
        (true, Precision::Single, Mix::MultiplyAdds) => (wide_single::<false>, 16.0),
        (true, Precision::Single, Mix::WithAdditions) => (wide_single::<true>, 16.0),
        (false, Precision::Double, Mix::MultiplyAdds) => (double::<false>, 4.0),
        (false, Precision::Double, Mix::WithAdditions) => (double::<true>, 4.0),
        (false, Precision::Single, Mix::MultiplyAdds) => (single::<false>, 8.0),
        (false, Precision::Single, Mix::WithAdditions) => (single::<true>, 8.0),
    };
    Some((bare, of_chains * lanes))
}

#[cfg(target_arch = "x86_64")]
macro_rules! bare {
    ($name:ident, $features:literal, $all:ident, $fma:ident, $add:ident) => {
        #[target_feature(enable = $features)]
        fn $name<const ADDS: bool>(steps: usize) {
            let (a, b) = ($all(black_box(0.999_9)), $all(black_box(0.000_1)));
            let mut multiplied = [$all(1.5); 12];
            let mut added = [$all(1.5); 12];
            for _ in 0..steps {
                for chain in 0..12 {
                    multiplied[chain] = $fma(multiplied[chain], a, b);
                    if ADDS {
                        added[chain] = $add(added[chain], b);
                    }
                }
            }
            black_box((multiplied, added));
        }
    };
}

#[cfg(target_arch = "x86_64")]
bare!(wide_double, "avx512f", _mm512_set1_pd, _mm512_fmadd_pd, _mm512_add_pd);
#[cfg(target_arch = "x86_64")]
bare!(wide_single, "avx512f", _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps);
#[cfg(target_arch = "x86_64")]
bare!(double, "avx2,fma", _mm256_set1_pd, _mm256_fmadd_pd, _mm256_add_pd);
#[cfg(target_arch = "x86_64")]
bare!(single, "avx2,fma", _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps);
