//! A hundred scenarios that are wrong, each told where it is and what was probably meant; and texts that nobody wrote, which are
//! read or refused in good time and never end the program.

use std::time::{Duration, Instant};

use super::{Finding, toml_file::parse};
use crate::error::Problem;

/// What stands before the lines of a case, so that these begin in line 1, 5 or 7.
const NOTHING: &str = "";
const PHASE: &str = "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n";
const CPU: &str = "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'cpu'\n";
const DISK: &str = "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'disk'\npath = '/tmp'\nsize = '1MiB'\n";
const MEMORY: &str =
    "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'memory'\nsize = '64MiB'\n";
const NETWORK: &str =
    "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'network'\npeer = 'h'\n";
const HTTP: &str = "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'http'\nurl = 'http://h/'\n";

/// What comes before, the lines that are wrong, where that is told, and a part of what is told.
pub(super) const CASES: &[(&str, &str, &str, &str)] = &[
    // The text itself.
    (NOTHING, "name = ", "1:", "syntax"),
    (NOTHING, "name 'x'", "1:", "syntax"),
    (NOTHING, "name = 'x", "1:", "syntax"),
    (NOTHING, "name = \"\\q\"", "1:", "syntax"),
    (NOTHING, "[[phase]", "1:", "syntax"),
    (NOTHING, "[phase\nname = 'a'", "1:", "syntax"),
    (NOTHING, "name = 'x'\nname = 'y'", "2:1", "duplicate"),
    (NOTHING, "name = 'x'\nseed = 1_", "2:", "syntax"),
    (NOTHING, "name = 'x'\nseed = 01", "2:", "syntax"),
    (NOTHING, "name = 'x' description = 'y'", "1:", "syntax"),
    (NOTHING, "name = { a = 1", "1:", "syntax"),
    (NOTHING, "= 1", "1:", "syntax"),
    // The scenario.
    (PHASE, "[limit]\nmax_duration = '1h'", "5:2", "did you mean 'limits'"),
    (PHASE, "[limits]\nmax_duraton = '1h'", "6:1", "did you mean 'max_duration'"),
    (PHASE, "[limits]\nmax_duration = 3600", "6:16", "a duration in quotes"),
    (PHASE, "[limits]\nmax_duration = '5parsecs'", "6:16", "no unit 'parsecs'"),
    (PHASE, "[limits]\nmax_temperature = 'hot'", "6:19", "a number"),
    (PHASE, "[limits]\nmax_temperature = 500", "6:19", "1 to 150"),
    (PHASE, "[limits]\nmin_available_memory = '5lots'", "6:24", "MiB"),
    (PHASE, "[limits]\nmin_available_memory = 99999999999999999999", "6:24", "out of range"),
    (NOTHING, "nam = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'", "1:1", "did you mean 'name'"),
    (NOTHING, "name = 3\n[[phase]]\nname = 'a'\nduration = '1s'", "1:8", "a string in quotes"),
    (NOTHING, "name = 'Not A Name'\n[[phase]]\nname = 'a'\nduration = '1s'", "1:8", "a-z, 0-9"),
    (NOTHING, "name = 'x'\nseed = -1\n[[phase]]\nname = 'a'\nduration = '1s'", "2:8", "0 or more"),
    (NOTHING, "name = 'x'\nseed = 'lucky'\n[[phase]]\nname = 'a'\nduration = '1s'", "2:8", "a whole number"),
    (
        NOTHING,
        "name = 'x'\nseed = 99999999999999999999\n[[phase]]\nname = 'a'\nduration = '1s'",
        "2:8",
        "out of range",
    ),
    (
        NOTHING,
        "name = 'x'\nshared_cores = 'yes'\n[[phase]]\nname = 'a'\nduration = '1s'",
        "2:16",
        "true or false",
    ),
    (NOTHING, "name = 'x'\n[phase]\nname = 'a'\nduration = '1s'", "2:", "[[…phase]]"),
    (NOTHING, "name = 'x'\nphase = 3", "2:9", "the number 3"),
    (NOTHING, "name = 'x'\nphase = [1]", "2:10", "the number 1"),
    (NOTHING, "name = 'x'\nlimits = 3\n[[phase]]\nname = 'a'\nduration = '1s'", "2:10", "a table"),
    (NOTHING, "name = 'x'\n[[phases]]\nname = 'a'\nduration = '1s'", "2:3", "did you mean 'phase'"),
    // Phases.
    (NOTHING, "name = 'x'\n[[phase]]\nduration = '1s'", "2:1", "needs the key 'name'"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'", "2:1", "needs the key 'duration'"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = 10", "4:12", "a duration in quotes"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = '10'", "4:12", "it has no unit"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = '0s'", "4:12", "the least is 1 ms"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = '-1s'", "4:12", "negative"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = '400d'", "4:12", "366 d"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s1h'", "4:12", "longest to the shortest"),
    (
        NOTHING,
        "name = 'x'\n[[phase]]\nname = 'a'\nduration = '99999999999999999999999999999999999999999999h'",
        "4:12",
        "steps",
    ),
    (PHASE, "[[phase]]\nname = 'a'\nduration = '1s'", "6:8", "a second phase named 'a'"),
    (PHASE, "durration = '1s'", "5:1", "did you mean 'duration'"),
    (PHASE, "[[phase.burners]]\nkind = 'cpu'", "5:9", "did you mean 'burner'"),
    (PHASE, "burner = 'cpu'", "5:10", "[[…burner]]"),
    // Burners.
    (PHASE, "[[phase.burner]]\nload = 50", "5:1", "needs the key 'kind'"),
    (PHASE, "[[phase.burner]]\nkind = 'cpus'", "6:8", "did you mean 'cpu'"),
    (PHASE, "[[phase.burner]]\nkind = 'gpu'", "6:8", "cpu, memory, disk"),
    (PHASE, "[[phase.burner]]\nkind = 3", "6:8", "a string in quotes"),
    (CPU, "laod = 50", "7:1", "did you mean 'load'"),
    (CPU, "load = 0", "7:8", "1 to 100"),
    (CPU, "load = 101", "7:8", "1 to 100"),
    (CPU, "load = nan", "7:8", "NaN"),
    (CPU, "load = true", "7:8", "the boolean true"),
    (CPU, "load = 'half'", "7:8", "'half' is not a load"),
    (CPU, "load = 'sin:1..2/1s'", "7:8", "there is no load 'sin'"),
    (CPU, "load = 'sine:10..90'", "7:8", "is not a load"),
    (CPU, "load = { from = 10 }", "7:8", "needs the key 'to'"),
    (CPU, "load = { from = 10, to = 90, by = 3 }", "7:30", "has no key 'by'"),
    (CPU, "load = 'trace:/no/such.csv'", "7:8", "/no/such.csv"),
    (CPU, "cores = '3-1'", "7:9", "goes down"),
    (CPU, "cores = '0,0'", "7:9", "named twice"),
    (CPU, "cores = '99999'", "7:9", "no Linux host"),
    (CPU, "cores = []", "7:9", "a list of cores"),
    (CPU, "cores = [-1]", "7:9", "out of range"),
    (CPU, "kernel = 'powr'", "7:10", "did you mean 'power'"),
    (CPU, "isa = 'avx-512'", "7:7", "did you mean 'avx512'"),
    (CPU, "mode = 'owned'", "7:8", "did you mean 'own'"),
    (CPU, "precision = 'quad'", "7:13", "double, single"),
    (CPU, "tolerance = 'loose'", "7:13", "a number"),
    (CPU, "in_step = 'yes'", "7:11", "true or false"),
    (CPU, "workers = 0", "7:11", "0 workers"),
    (CPU, "workers = 5000000000", "7:11", "1 to 1024"),
    (CPU, "inject_error = '1@soon'", "7:16", "not a duration"),
    (DISK, "sise = '1MiB'", "9:1", "did you mean 'size'"),
    (DISK, "rw = 'ranread'", "9:6", "did you mean 'randread'"),
    (DISK, "block = '4KiB,8KiB'", "9:9", "has no share"),
    (DISK, "block = '5 parsecs'", "9:9", "no unit 'parsecs'"),
    (DISK, "depth = 0", "9:9", "a depth of 0"),
    (DISK, "depth = 1.5", "9:9", "a whole number"),
    (DISK, "rate = '2k'", "9:8", "a whole number"),
    (DISK, "bandwidth = '1parsec'", "9:13", "no unit"),
    (DISK, "jobs = 257", "9:8", "257 jobs"),
    (DISK, "engine = 'uring'", "9:10", "io-uring"),
    (DISK, "reads = '70 apples'", "9:9", "percent"),
    (DISK, "verify = 1", "9:10", "true or false"),
    (DISK, "remount = '1s'", "9:11", "verify"),
    (MEMORY, "method = 'verfy'", "8:10", "did you mean 'verify'"),
    (MEMORY, "pages = 'large'", "8:9", "small"),
    (MEMORY, "patterns = 'random'", "8:12", "an array"),
    (MEMORY, "method = 'verify'\npatterns = ['stripes']", "9:12", "no pattern 'stripes'"),
    (MEMORY, "numa_node = -1", "8:13", "out of range"),
    (NETWORK, "protocol = 'tpc'", "8:12", "did you mean 'tcp'"),
    (NETWORK, "streams = 9999999999", "8:11", "1 to 1024"),
    (NETWORK, "rate = 'fast'", "8:8", "not a rate"),
    (NETWORK, "zerocopy = 'maybe'", "8:12", "sendfile"),
    (HTTP, "method = 'GTE'", "8:10", "did you mean 'GET'"),
    (HTTP, "expect = '9xx'", "8:10", "no status"),
    (HTTP, "headers = 'Accept: x'", "8:11", "a list of headers"),
    (HTTP, "timeout = '5 s'", "8:11", "not a duration"),
    (HTTP, "connetions = 4", "8:1", "did you mean 'connections'"),
    // Guards and thresholds.
    (
        PHASE,
        "[[guards]]\nname = 'g'\nmetric = 'host.temprature'\nabove = 80\nreaction = 'stop'",
        "7:10",
        "did you mean 'host.temperature'",
    ),
    (
        PHASE,
        "[[guards]]\nname = 'g'\nmetric = 'host.temperature'\nabove = '80 F'\nreaction = 'stop'",
        "8:9",
        "'F' is no unit",
    ),
    (
        PHASE,
        "[[guards]]\nname = 'g'\nmetric = 'host.temperature'\nabove = 80\nreaction = 'stpo'",
        "9:12",
        "did you mean 'stop'",
    ),
    (PHASE, "[[threshold]]\nthat = 'host.temperature.mxa < 80'", "6:26", "did you mean 'max'"),
    (PHASE, "[[threshold]]\nthat = 'host.temperature.max ~ 80'", "6:9", "compares nothing"),
    (PHASE, "[[threshold]]\nthat = 'disk.read.latency.p99 < 20ms'", "6:8", "no burner of kind disk"),
    (CPU, "[[phase.threshold]]\nthat = 'cpu.load.mised == 0'", "8:9", "did you mean 'cpu.load.missed'"),
    (
        CPU,
        "[[phase.threshold]]\nthat = 'host.temperature.max < 80'\nfor = '5parsecs'",
        "9:7",
        "no unit 'parsecs'",
    ),
    (CPU, "[[phase.threshold]]\nthat = 80", "8:8", "a string in quotes"),
    // Decisions between phases.
    (PHASE, "require = 3", "5:11", "a table"),
    (PHASE, "[phase.requires]\nerrors = 0", "5:8", "did you mean 'require'"),
    (PHASE, "[phase.require]", "5:1", "nothing is required"),
    (PHASE, "[phase.require]\nerors = 0", "6:1", "did you mean 'errors'"),
    (PHASE, "[phase.require]\nerrors = -1", "6:10", "0 or more"),
    (PHASE, "[phase.require]\nsensors = 'fesh'", "6:11", "did you mean 'fresh'"),
    (PHASE, "[phase.require]\nmemory = '2 lots'", "6:10", "MiB"),
    (PHASE, "[phase.require]\ndisk = '10GiB'", "6:8", "a table, such as"),
    (PHASE, "[phase.require]\ndisk = { path = '/tmp' }", "6:8", "needs the key 'free'"),
    (PHASE, "[phase.require]\ndisk = { path = 'tmp', free = '1GiB' }", "6:17", "absolute"),
    (PHASE, "[phase.require]\ntemperature_below = 600", "6:21", "1 to 150"),
    (PHASE, "[phase.require]\nerrors = 0\nwait = 120", "7:8", "a duration in quotes"),
    (PHASE, "[phase.require]\nerrors = 0\nwindow = '1ms'", "7:10", "100 ms"),
    (PHASE, "[phase.require]\nerrors = 0\notherwise = 'sip'", "7:13", "did you mean 'skip'"),
    (
        PHASE,
        "[phase.require]\nthat = ['host.cpu.runable.mean < 4']",
        "6:10",
        "did you mean 'host.cpu.runnable'",
    ),
    (PHASE, "[phase.require]\nthat = 'host.cpu.runnable.mean within 20 of phase:a'", "6:39", "no share"),
    (PHASE, "[phase.require]\nthat = 'host.cpu.runnable.mean within 20% of phase:b'", "6:8", "no phase 'b'"),
    (PHASE, "[phase.require]\nthat = 'cpu.operations.mean > 1'", "6:8", "nothing burns"),
    (PHASE, "[phase.require]\nthat = [3]", "6:9", "a condition in quotes"),
    (CPU, "[phase.then]\nrepeat = 3", "7:1", "needs the key 'on_fail'"),
    (CPU, "[phase.then]\non_fail = 'repat'\nrepeat = 3", "8:11", "did you mean 'repeat'"),
    (CPU, "[phase.then]\non_fail = 'repeat'", "7:1", "how often"),
    (CPU, "[phase.then]\non_fail = 'repeat'\nrepeat = 0", "9:10", "1 to 100"),
    (CPU, "[phase.then]\non_fail = 'continue'\nrepeat = 2", "9:10", "nothing is repeated"),
    (CPU, "[phase.then]\non_fail = 'skip'", "8:11", "no phase follows"),
    (PHASE, "[phase.then]\non_fail = 'wind-down'", "5:1", "it can't fail"),
    (PHASE, "[wind_down]\nduration = 10", "6:12", "a duration in quotes"),
    (PHASE, "[wind_down]\nramp = '1s'", "5:1", "needs the key 'duration'"),
    (PHASE, "baseline = 'yes'", "5:12", "true or false"),
    (PHASE, "ramp = '2s'", "5:8", "at most the phase's duration"),
    (
        CPU,
        "[[phase.threshold]]\nthat = 'cpu.operations.mean within 20% of phase:a'",
        "8:8",
        "not over by then",
    ),
    // Searches and kills.
    (CPU, "[phase.search]\nto = 90", "7:1", "needs the key 'objective'"),
    (
        CPU,
        "[phase.search]\nobjective = 'host.temprature.max < 85'",
        "8:14",
        "did you mean 'host.temperature'",
    ),
    (CPU, "[phase.search]\nobjective = 'host.temperature.p99 < 85'", "8:13", "no such statistic"),
    (CPU, "[phase.search]\nobjective = 'http.request.latency.p99 < 1ms'", "8:13", "no burner of kind http"),
    (
        CPU,
        "[phase.search]\nobjective = 'host.temperature.max < 85'\nfrom = 90\nto = 10",
        "9:8",
        "less than `to`",
    ),
    (CPU, "[phase.search]\nobjective = 'host.temperature.max < 85'\nhold = '10'", "9:8", "it has no unit"),
    (
        CPU,
        "[phase.search]\nobjective = 'host.temperature.max < 85'\nprecison = 1",
        "9:1",
        "did you mean 'precision'",
    ),
    (CPU, "load = 50\n[phase.search]\nobjective = 'host.temperature.max < 85'", "7:8", "a load of its own"),
    (PHASE, "[phase.search]\nobjective = 'host.temperature.max < 85'", "5:1", "no burner whose load"),
    (PHASE, "search = 'knee'", "5:10", "a table"),
    (CPU, "[[phase.kill]]\nat = '0.5s'", "7:1", "restart = true"),
    (PHASE, "restart = 'yes'", "5:11", "true or false"),
    (PHASE, "restart = true", "5:11", "the phase has no burner"),
    (PHASE, "restart = true\n[[phase.kill]]\nat = '0.5s'\nsignal = 'KIL'", "8:10", "did you mean 'KILL'"),
    (PHASE, "restart = true\n[[phase.kill]]\nat = '0.5s'\nsignal = 'TERM'", "8:10", "KILL, SEGV or ILL"),
    (PHASE, "restart = true\n[[phase.kill]]\nat = '0.5s'", "7:6", "3s to come back"),
    (PHASE, "restart = true\n[[phase.kill]]\nsignal = 'KILL'", "6:1", "at no time"),
    (PHASE, "restart = true\n[[phase.kill]]\nat = 5", "7:6", "a duration in quotes"),
    (PHASE, "settles_like = 'a'", "5:16", "no earlier phase 'a'"),
    (PHASE, "settles_like = 3", "5:16", "a string in quotes"),
    // Includes, variables, the matrix.
    (NOTHING, "include = 'no-such-file.toml'\nname = 'x'", "1:11", "no-such-file.toml"),
    (NOTHING, "include = [3]\nname = 'x'", "1:12", "the number 3"),
    (PHASE, "[variables.a]\ntype = 'byte'\ndefault = 1", "6:8", "did you mean 'bytes'"),
    (PHASE, "[variables.a]\ntype = 'bytes'\ndefault = '5parsecs'", "7:11", "no unit 'parsecs'"),
    (CPU, "load = '${peek}'\n[variables.peak]\ntype = 'percent'\ndefault = 5", "7:8", "did you mean 'peak'"),
    (PHASE, "[matrix]\nsize = 3", "6:8", "a list"),
    // Durations times numbers, shares of the host's memory, rates over time, burners left out.
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = '5m * half'", "4:12", "'half' is no number"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = '5m * 0'", "4:12", "the least is 1 ms"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = '5m * -2'", "4:12", "negative"),
    (NOTHING, "name = 'x'\n[[phase]]\nname = 'a'\nduration = '300d * 2'", "4:12", "366 d"),
    (CPU, "load = 'sine:10..90/10s * slow'", "7:8", "'slow' is no number"),
    (PHASE, "[[phase.burner]]\nkind = 'memory'\nmethod = 'occupy'", "5:1", "no share"),
    (MEMORY, "method = 'occupy'\nused = 40", "7:8", "the method occupy does not have this setting"),
    (MEMORY, "used = 40", "8:8", "choose the method occupy"),
    (PHASE, "[[phase.burner]]\nkind = 'memory'\nmethod = 'ocupy'", "7:10", "did you mean 'occupy'"),
    (PHASE, "[[phase.burner]]\nkind = 'memory'\nmethod = 'occupy'\nused = '140%'", "8:8", "140"),
    (DISK, "load = 50", "9:8", "no rate"),
    (DISK, "rate = 100\nload = 'wlk:10..90/5/1s'", "10:8", "there is no load 'wlk'"),
    (NETWORK, "load = 50", "8:8", "no rate"),
    (NETWORK, "protocol = 'udp'\nrate = '1M'\nload = 50", "10:8", "the protocol tcp"),
    (CPU, "when = 3", "7:8", "a text"),
    // The fleet.
    (PHASE, "[fleet]\nwave = 1", "6:1", "did you mean 'waves'"),
    (PHASE, "[fleet]\nwaves = true", "6:9", "a number of hosts"),
    (PHASE, "[fleet]\nmax_per = 2", "6:11", "{ rack = 2 }"),
    (PHASE, "[[fleet.threshold]]\nlabels = { sensor = 'x' }", "5:1", "needs the key 'that'"),
    (PHASE, "[[fleet.threshold]]\nthat = 'hosts fialed < 1'", "6:15", "did you mean 'failed'"),
];
/// Each case: what a person sees at once.
const AT_ONCE: Duration = Duration::from_millis(100);

#[test]
fn a_hundred_scenarios_are_refused_at_the_place_with_what_was_meant() {
    assert!(CASES.len() >= 100, "{}", CASES.len());
    let mut missed = Vec::new();
    for (before, lines, place, part) in CASES {
        let text = format!("{before}{lines}\n");
        let begin = Instant::now();
        let Err(found) = parse("s.toml", &text, &[]) else { panic!("it was accepted:\n{text}") };
        // Others may have had the core: the best of some tries is what it takes.
        let again = || {
            let begin = Instant::now();
            parse("s.toml", &text, &[]).is_err() && begin.elapsed() < AT_ONCE
        };
        let is_quick = begin.elapsed() < AT_ONCE || (0..10).any(|_| again());
        assert!(is_quick, "it took longer than {AT_ONCE:?}:\n{text}");
        let told: Vec<Problem> = found.into_iter().map(Finding::problem).collect();
        let place = format!("s.toml:{place}");
        let fits = |problem: &Problem| {
            let words = format!("{}\n{}", problem.message, problem.mend).to_lowercase();
            let is_syntax = *part == "syntax" && problem.mend.contains("toml.io");
            problem.message.starts_with(&place)
                && (is_syntax || words.contains(&part.to_lowercase()))
                && problem.message.contains('^')
                && !problem.mend.is_empty()
        };
        if !told.iter().any(fits) {
            missed.push(format!("{text}\nnot told: {place} {part}\n{told:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// What is large, or deep, is refused as quickly as what is small. The times are far above what it takes.
#[test]
fn what_is_out_of_all_measure_is_refused_in_good_time() {
    let unknown: String = (0..100_000).map(|n| format!("key{n} = {n}\n")).collect();
    let bad_phases: String =
        (0..20_000).map(|n| format!("[[phase]]\nname = 'p{n}'\nduration = '5parsecs'\n")).collect();
    for (what, text) in [
        ("deep arrays", format!("x = {}1{}", "[".repeat(100_000), "]".repeat(100_000))),
        ("deep tables", format!("x = {}1{}", "{a = ".repeat(100_000), "}".repeat(100_000))),
        ("deep keys", format!("x{} = 1", ".x".repeat(1_000_000))),
        ("a deep header", format!("[x{}]", ".x".repeat(1_000_000))),
        ("deep keys within", format!("x = {{ a{} = 1 }}", ".x".repeat(1_000_000))),
        ("unknown keys", unknown),
        ("bad phases", bad_phases),
        ("a long line", format!("name = '{}'", "x".repeat(1_000_000))),
        ("errors without end", "= = = = =\n".repeat(50_000)),
        ("a number", format!("seed = {}", "9".repeat(100_000))),
    ] {
        let begin = Instant::now();
        let found = parse("s.toml", &text, &[]).expect_err(what);
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: {:?}", begin.elapsed());
        assert!(!found.is_empty() && found.len() <= 101, "{what}: {}", found.len());
        assert!(found.iter().all(|one| one.message.len() < 2_000), "{what}: {}", found[0].message);
    }
}

/// SplitMix64: https://prng.di.unimi.it/splitmix64.c
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A text with some of its characters changed, moved, doubled or taken away.
pub(super) fn mutated(text: &str, state: &mut u64) -> String {
    const SPICE: [&str; 24] = [
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "=",
        ".",
        ",",
        "\n",
        "${",
        "}",
        "-1",
        "1e999",
        "\u{f6}",
        "'''",
        "\\",
        "#",
        "[[",
        "]]",
        "99999999999999999999",
        "include = 's.toml'\n",
        "[matrix]\n",
        "\u{0}",
    ];
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..1 + next(state) % 6 {
        let at = (next(state) % (characters.len() as u64 + 1)) as usize;
        let length = (next(state) % 12) as usize;
        let end = (at + length).min(characters.len());
        match next(state) % 4 {
            0 => drop(characters.drain(at..end)),
            1 => {
                let copy: Vec<char> = characters[at..end].to_vec();
                let to = (next(state) % (characters.len() as u64 + 1)) as usize;
                characters.splice(to..to, copy);
            }
            2 => {
                let spice = SPICE[(next(state) % SPICE.len() as u64) as usize];
                characters.splice(at..at, spice.chars());
            }
            _ => {
                if let Some(character) = characters.get_mut(at) {
                    *character = char::from((next(state) % 128) as u8);
                }
            }
        }
    }
    characters.into_iter().collect()
}

pub(super) const SEEDS: [&str; 4] = [
    include_str!("../../scenarios/quick.toml"),
    "name = 'v'\n[variables.soak]\ntype = 'duration'\ndefault = '10s'\n[variables.sizes]\ntype = 'list'\ndefault = ['4KiB', '8KiB']\n\
     [matrix]\nsize = '${sizes}'\ndepth = [1, 2]\n[limits]\nmax_duration = '1h'\n[[guards]]\nname = 'hot'\nmetric = 'host.temperature'\n\
     above = '80 °C'\nreaction = 'stop'\n[[threshold]]\nthat = 'host.temperature.max < 85'\nfor = '5s'\n[[phase]]\nname = 'a'\n\
     duration = '${soak}'\n[[phase.burner]]\nkind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nblock = '${size}'\ndepth = '${depth}'\n\
     [[phase.threshold]]\nthat = 'disk.read.latency.p99 < 20ms'\n",
    "name = 'w'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'memory'\nsize = '50%'\nmethod = 'verify'\n\
     patterns = ['random', 'address']\n[[phase.burner]]\nkind = 'http'\nurl = 'http://127.0.0.1/'\nheaders = ['Accept: x']\n\
     [[phase.burner]]\nkind = 'network'\npeer = 'h:1'\nrate = '2.5G'\n[[phase.burner]]\nkind = 'cpu'\nload = { from = 1, to = 90 }\n",
    "name = 'f'\n[fleet]\nwaves = [1, '10%', '100%']\nmax_per = { rack = 1 }\nmax_watts = '12kW'\nmax_failures = '5%'\n\
     [[fleet.threshold]]\nthat = 'p95 across hosts of host.temperature.max < 85'\nlabels = { sensor = 'hwmon0/*' }\n\
     [[fleet.threshold]]\nthat = 'hosts failed <= 1%'\n[[phase]]\nname = 'a'\nduration = '1s'\n",
];

/// Every mutation of a good scenario is read, and then says the same when it is shown, or refused with words.
fn mutate(rounds: u64, seed: u64) {
    for round in 0..rounds {
        let mut state = seed.wrapping_add(round);
        let text = mutated(SEEDS[(round % SEEDS.len() as u64) as usize], &mut state);
        match parse("s.toml", &text, &[]) {
            Ok(plan) => {
                let again = parse("s.toml", &plan.toml, &[])
                    .unwrap_or_else(|found| panic!("round {round}: {text}\n{}\n{found:#?}", plan.toml));
                assert_eq!(again.scenario, plan.scenario, "round {round}: {text}\n{}", plan.toml);
                assert_eq!(again.fleet, plan.fleet, "round {round}: {text}\n{}", plan.toml);
            }
            Err(found) => {
                assert!(
                    !found.is_empty() && found.iter().all(|one| !one.mend.is_empty()),
                    "round {round}: {text}\n{found:#?}"
                );
            }
        }
    }
}

#[test]
fn mutations_are_read_or_refused() {
    mutate(3_000, 1);
}

#[test]
#[ignore = "it takes minutes: run it after changes to the reader"]
fn a_million_mutations_are_read_or_refused() {
    mutate(1_000_000, 1 << 32);
}
