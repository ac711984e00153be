//! Leaks that were planted into real processes of this host: what /proc says of them is sampled and binned as a run's record is, and
//! judged by the same test.

use std::{
    env, fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Leak, LeakTest, measured::autoregressive};
use crate::page::{Bins, Values};

const MEBIBYTE: f64 = 1_048_576.0;
const BLOCK: usize = 64 << 10;
/// As often as an agent looks.
const TICK: Duration = Duration::from_millis(100);
/// Says to a process what it is to do: seed, bytes a minute, seconds, and seconds between two values of its noise.
const ORDER: &str = "SSTS_PLANTED_LEAK";
/// Of the noise: what it strays by, and how alike neighbours are.
const SIGMA: f64 = 0.5 * MEBIBYTE;
const ALIKE: f64 = 0.95;
/// What each process has from the start.
const BASE: f64 = 8.0 * MEBIBYTE;

/// One soak.
#[derive(Debug, Clone, Copy)]
struct Soak {
    lasts: Duration,
    /// Of the processes that leak.
    bytes_a_minute: f64,
    noise_step_s: f64,
    test: LeakTest,
}

/// A process that grows. Killed when dropped.
struct Grower(Child);

impl Grower {
    fn start(soak: Soak, seed: u64, bytes_a_minute: f64) -> Self {
        let order = format!("{seed} {bytes_a_minute} {} {}", soak.lasts.as_secs() + 30, soak.noise_step_s);
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "stats::planted::a_process_that_grows", "--ignored", "--test-threads", "1"])
            .env(ORDER, order)
            // What is freed is given back at once, whatever was freed before: mallopt(3).
            .env("MALLOC_MMAP_THRESHOLD_", "32768")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Bytes: proc_pid_statm(5).
    fn resident(&self) -> f64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.0.id())).unwrap();
        let pages: f64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
        pages * nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap() as f64
    }
}

impl Drop for Grower {
    fn drop(&mut self) {
        let _best_effort = self.0.kill();
        let _best_effort = self.0.wait();
    }
}

/// Not a test: what the processes of the tests below do.
#[test]
#[ignore = "is what the tests beside it start"]
fn a_process_that_grows() {
    let Ok(order) = env::var(ORDER) else { return };
    let numbers: Vec<f64> = order.split(' ').map(|number| number.parse().unwrap()).collect();
    let [seed, bytes_a_minute, seconds, step_s] = numbers[..] else { panic!("{order}") };
    let noise = autoregressive(seed as u64, (seconds / step_s) as usize + 1, ALIKE, SIGMA);
    let begin = Instant::now();
    let (mut leaked, mut others) = (Vec::new(), Vec::new());
    loop {
        let second = begin.elapsed().as_secs_f64();
        let Some(stray) = noise.get((second / step_s) as usize) else { return };
        grow_to(&mut leaked, bytes_a_minute / 60.0 * second);
        grow_to(&mut others, BASE + stray);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Blocks, every byte of which was written.
fn grow_to(blocks: &mut Vec<Vec<u8>>, bytes: f64) {
    let count = (bytes.max(0.0) / BLOCK as f64) as usize;
    while blocks.len() < count {
        blocks.push(vec![1; BLOCK]);
    }
    blocks.truncate(count);
}

/// How many of so many processes that leak, and of as many that do not, are found to leak.
fn found(soak: Soak, count: u64) -> (usize, usize) {
    let start = |leak: f64| -> Vec<_> { (0..count).map(|seed| Grower::start(soak, seed, leak)).collect() };
    let (leaking, clean) = (start(soak.bytes_a_minute), start(0.0));
    // They are what they will be once they have their first memory.
    let has_begun = |grower: &Grower| grower.resident() >= BASE - 5.0 * SIGMA;
    let patience = Instant::now();
    while !leaking.iter().chain(&clean).all(has_begun) {
        assert!(patience.elapsed() < Duration::from_secs(60), "they do not begin");
        thread::sleep(TICK);
    }
    let mut bins: Vec<Bins<Values>> = leaking.iter().chain(&clean).map(|_| Bins::default()).collect();
    let begin = Instant::now();
    while begin.elapsed() < soak.lasts {
        for (grower, bins) in leaking.iter().chain(&clean).zip(&mut bins) {
            if let Some(bin) = bins.at(begin.elapsed().as_secs_f64()) {
                bin.add(grower.resident());
            }
        }
        thread::sleep(TICK);
    }
    let is_leaking = |bins: &Bins<Values>| {
        let points: Vec<_> = bins
            .iter()
            .filter_map(|(begin, end, bin)| Some((f64::midpoint(begin, end), bin.mean()?)))
            .collect();
        let finding = soak.test.judge(&points);
        let slope = finding.slope.map(|(slope, _)| slope * 60.0 / MEBIBYTE);
        eprintln!("{:?}, {:.3} MiB a minute: {}", finding.leak, slope.unwrap_or(f64::NAN), finding.why);
        finding.leak == Leak::Leaking
    };
    let (of_leaking, of_clean) = bins.split_at(leaking.len());
    let count = |bins: &[Bins<Values>]| bins.iter().filter(|bins| is_leaking(bins)).count();
    (count(of_leaking), count(of_clean))
}

/// Twenty times as fast as a soak: what is tolerated is as much more, and so is the noise quicker.
#[test]
fn a_leak_of_a_real_process_is_found_and_none_is_not() {
    let default = LeakTest::default();
    let test = LeakTest { tolerated_per_s: default.tolerated_per_s * 20.0, shortest_s: 40.0, ..default };
    let soak =
        Soak { lasts: Duration::from_secs(60), bytes_a_minute: 20.0 * MEBIBYTE, noise_step_s: 0.05, test };
    assert_eq!(found(soak, 3), (3, 0));
}

#[test]
#[ignore = "takes 20 minutes: cargo test -p ssts-ctl --bins planted -- --ignored --nocapture"]
fn a_leak_of_1_mebibyte_a_minute_is_found_in_10_of_10_soaks_and_none_in_0_of_10() {
    let soak = Soak {
        lasts: Duration::from_secs(20 * 60),
        bytes_a_minute: MEBIBYTE,
        noise_step_s: 1.0,
        test: LeakTest::default(),
    };
    assert_eq!(found(soak, 10), (10, 0));
}
