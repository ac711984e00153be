//! Context switches: the worker and a partner on the same core hand a token to and fro through two pipes. Each changes it, so that a
//! lost or doubled turn shows; the worker's widest registers hold a pattern across every switch, so that state the kernel
//! did not save or restore shows, too.

use std::{
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::fd::AsRawFd as _,
    sync::Arc,
    thread,
};

use nix::{time::ClockId, unistd::gettid};

use super::{
    Isa,
    kernel::{Kernel, Work},
    switch_vector::{self, PATTERN_WORDS},
};
use crate::burn::{BurnError, random::split_mix};

/// Of a unit: some 50 µs.
const ROUND_TRIPS: usize = 8;
/// Odd: a multiplication by it loses nothing.
const FACTOR: u64 = 0x5851_f42d_4c95_7f2d;

/// The `context-switch` kernel.
#[derive(Debug)]
pub(super) struct Switch {
    isa: Isa,
    seed: u64,
    pattern: Arc<[u64; PATTERN_WORDS]>,
    partner: Option<Partner>,
    expected: Arc<[u64]>,
    /// The token, then the registers.
    got: Vec<u64>,
}

/// Ends when its pipe does.
#[derive(Debug)]
struct Partner {
    to: PipeWriter,
    from: PipeReader,
    tid: i32,
}

impl Partner {
    /// A thread with the affinity of this one.
    fn start() -> io::Result<Self> {
        let (mut theirs, to) = io::pipe()?;
        let (mut from, mut back) = io::pipe()?;
        let body = move || {
            let mut token = i64::from(gettid().as_raw()).cast_unsigned().to_ne_bytes();
            // An error is the end of the worker.
            while back.write_all(&token).is_ok() && theirs.read_exact(&mut token).is_ok() {
                token = answer(u64::from_ne_bytes(token)).to_ne_bytes();
            }
        };
        thread::Builder::new().name("burn-partner".into()).spawn(body)?;
        let mut tid = [0; 8];
        from.read_exact(&mut tid)?;
        Ok(Self { to, from, tid: u64::from_ne_bytes(tid) as i32 })
    }
}

/// What the partner makes of a token.
fn answer(token: u64) -> u64 {
    token.wrapping_mul(FACTOR).rotate_left(23)
}

impl Switch {
    pub(super) fn new(isa: Isa, seed: u64) -> Result<Self, BurnError> {
        let mut state = seed;
        let pattern = Arc::new(std::array::from_fn(|_| split_mix(&mut state)));
        Ok(Self {
            isa,
            seed,
            pattern,
            partner: None,
            expected: Arc::new([]),
            got: vec![0; 1 + PATTERN_WORDS],
        })
    }

    fn lost(error: io::Error) -> BurnError {
        BurnError::Partner(error)
    }
}

impl Kernel for Switch {
    fn work(&self) -> Work {
        // To the partner and back.
        Work { operations: 2 * ROUND_TRIPS as u64, bytes: 0, flops: 0 }
    }

    fn fork(&self) -> Result<Box<dyn Kernel>, BurnError> {
        Ok(Box::new(Self {
            isa: self.isa,
            seed: self.seed,
            pattern: self.pattern.clone(),
            partner: Some(Partner::start().map_err(Self::lost)?),
            expected: self.expected.clone(),
            got: vec![0; self.got.len()],
        }))
    }

    fn learn(&mut self) {
        // The partner's steps in one: a rotation is a multiplication modulo 2^64 - 1, so no shortcut; but here all stay on one
        // core, in one thread.
        let token = (0..ROUND_TRIPS).fold(self.seed, |token, _| answer(token.wrapping_add(1)));
        self.expected = std::iter::once(token).chain(*self.pattern).collect();
    }

    fn compute(&mut self) -> Result<(), BurnError> {
        let Some(partner) = &mut self.partner else { return Ok(()) };
        let mut token = self.seed;
        self.got[1..].copy_from_slice(&*self.pattern);
        for _ in 0..ROUND_TRIPS {
            let mut message = token.wrapping_add(1);
            let fds = (partner.to.as_raw_fd(), partner.from.as_raw_fd());
            switch_vector::cross(self.isa, fds, &mut message, &mut self.got[1..]).map_err(Self::lost)?;
            token = message;
        }
        self.got[0] = token;
        Ok(())
    }

    fn outcome(&mut self) -> (&mut [u64], &[u64]) {
        (&mut self.got, &self.expected)
    }

    fn partner(&self) -> Option<ClockId> {
        // A thread's CPU clock: MAKE_THREAD_CPUCLOCK of include/linux/posix-timers_types.h, CPUCLOCK_SCHED.
        self.partner.as_ref().map(|partner| ClockId::from_raw(!partner.tid << 3 | 4 | 2))
    }
}
