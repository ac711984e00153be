//! The limit: memory used by the plainest code there is, from threads pinned to the first cores.
#![expect(unsafe_code, reason = "maps memory, and streams through it with intrinsics")]

use std::{
    ptr, thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// Bytes of an array.
const ARRAY_BYTES: usize = 512 << 20;
const HUGE_BYTES: usize = 2 << 20;

/// What a loop does with its arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    /// `c = a`
    Copy,
    /// `a = b + s·c`
    Triad,
}

/// Bytes a second as STREAM counts them, all threads together; nothing without AVX-512.
pub(crate) fn stream(kind: Loop, threads: usize, time: Duration) -> Option<f64> {
    if !is_supported() {
        return None;
    }
    let rates = thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads).map(|core| scope.spawn(move || one(kind, core, time))).collect();
        spawned.into_iter().map(|thread| thread.join().expect("it does not panic")).collect::<Vec<f64>>()
    });
    Some(rates.iter().sum())
}

fn is_supported() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512f")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

fn one(kind: Loop, core: usize, time: Duration) -> f64 {
    pin(core);
    let [a, b, c] = [Array::new(1.0), Array::new(2.0), Array::new(0.0)];
    let begin = Instant::now();
    let mut bytes = 0;
    while begin.elapsed() < time {
        let arrays = match kind {
            Loop::Copy => {
                run(kind, a.0, a.0, c.0);
                2
            }
            Loop::Triad => {
                run(kind, b.0, c.0, a.0);
                3
            }
        };
        bytes += arrays * ARRAY_BYTES;
    }
    bytes as f64 / begin.elapsed().as_secs_f64()
}

fn run(kind: Loop, x: *mut f64, y: *mut f64, to: *mut f64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: arrays of ARRAY_BYTES each, aligned to a huge page, and the host has AVX-512 (looked at in `stream`).
    unsafe {
        match kind {
            Loop::Copy => copy(x, to),
            Loop::Triad => triad(x, y, to),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (kind, x, y, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn copy(from: *const f64, to: *mut f64) {
    use std::arch::x86_64::{_mm_sfence, _mm512_load_pd, _mm512_stream_pd};
    for line in (0..ARRAY_BYTES / 8).step_by(8) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_stream_pd(to.add(line), _mm512_load_pd(from.add(line))) };
    }
    _mm_sfence();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn triad(b: *const f64, c: *const f64, a: *mut f64) {
    use std::arch::x86_64::{
        _mm_sfence, _mm512_add_pd, _mm512_load_pd, _mm512_mul_pd, _mm512_set1_pd, _mm512_stream_pd,
    };
    let factor = _mm512_set1_pd(3.0);
    for line in (0..ARRAY_BYTES / 8).step_by(8) {
        // SAFETY: the caller's promise.
        unsafe {
            let scaled = _mm512_mul_pd(factor, _mm512_load_pd(c.add(line)));
            _mm512_stream_pd(a.add(line), _mm512_add_pd(_mm512_load_pd(b.add(line)), scaled));
        }
    }
    _mm_sfence();
}

/// The time to make so much resident, in huge pages, by `MADV_POPULATE_WRITE` in one call.
pub(crate) fn populate(bytes: usize) -> Duration {
    let begin = Instant::now();
    let mapping = Mapping::new(bytes);
    let took = begin.elapsed();
    drop(mapping);
    took
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    // A core that can't be had makes the limit a little less exact.
    let _best_effort = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
}

struct Mapping {
    base: *mut libc::c_void,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> Self {
        let bytes = bytes + HUGE_BYTES;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        assert!(base != libc::MAP_FAILED, "no memory for the limit");
        for advice in [libc::MADV_HUGEPAGE, libc::MADV_POPULATE_WRITE] {
            // SAFETY: of the mapping just made.
            unsafe { libc::madvise(base, bytes, advice) };
        }
        Self { base, bytes }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped.
        unsafe { libc::munmap(self.base, self.bytes) };
    }
}

/// Aligned to a huge page.
struct Array(*mut f64, #[expect(dead_code, reason = "unmaps when dropped")] Mapping);

impl Array {
    fn new(value: f64) -> Self {
        let mapping = Mapping::new(ARRAY_BYTES);
        let base = mapping.base.cast::<u8>();
        // SAFETY: the mapping is a huge page longer than the array.
        let start = unsafe { base.add(base.align_offset(HUGE_BYTES)) }.cast::<f64>();
        for index in 0..ARRAY_BYTES / 8 {
            // SAFETY: inside the array.
            unsafe { start.add(index).write(value) };
        }
        Self(start, mapping)
    }
}
