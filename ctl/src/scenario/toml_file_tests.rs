//! Of the scenario file's reader.

use ssts_proto::v1::{
    CpuBurner, CpuIsa, CpuKernel, CpuPrecision, DiskAccess, DiskBurner, InjectedError, MemoryLevel, Profile,
    Ramp, profile,
};

use super::*;

const FULL: &str = r#"
name = "full"
description = "every key"
seed = 42
shared_cores = true

[limits]
max_duration = "1m"
max_temperature = 90
min_available_memory = "512MiB"

[[phase]]
name = "warm-up"
duration = "6s"

[[phase.burner]]
kind = "cpu"
load = { from = 10, to = 90.5 }
cores = "0-1,4"
kernel = "fma"
precision = "single"
inject_error = "2@500ms"
isa = "avx2"

[[phase.burner]]
kind = "disk"
path = "/var/tmp"
size = "256MiB"
rw = "randwrite"
block = 4096
depth = 0x10
rate = 2_000

[[phase]]
name = "rest"
duration = "0.5s"
"#;

fn problems(text: &str) -> Vec<String> {
    let found = parse("s.toml", text, &[]).expect_err("it was accepted");
    found
        .into_iter()
        .map(Finding::problem)
        .map(|problem| format!("{}\n{}", problem.message, problem.mend))
        .collect()
}

/// A scenario that is good but for the lines of its one burner.
fn with_burner(lines: &str) -> String {
    format!("name = 'x'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\n{lines}\n")
}

#[test]
fn every_key_reaches_the_contract() {
    let plan = parse("s.toml", FULL, &[]).unwrap();
    let Scenario {
        name,
        description,
        phases,
        limits,
        seed,
        shared_cores,
        guards,
        thresholds,
        trends,
        wind_down,
    } = plan.scenario;
    assert_eq!((thresholds, trends, wind_down), (vec![], vec![], None));
    assert!(shared_cores);
    assert_eq!(guards, []);
    assert_eq!((name.as_str(), description.as_str(), seed), ("full", "every key", 42));
    let expected = Limits {
        max_duration_ms: Some(60_000),
        min_available_memory_bytes: Some(512 << 20),
        max_temperature_celsius: Some(90.0),
    };
    assert_eq!(limits, Some(expected));
    assert_eq!((phases[0].name.as_str(), phases[0].duration_ms), ("warm-up", 6_000));
    assert_eq!((phases[1].name.as_str(), phases[1].duration_ms), ("rest", 500));
    assert!(phases[1].burners.is_empty());
    let ramp = profile::Shape::Ramp(Ramp { from_percent: 10.0, to_percent: 90.5 });
    let cpu = CpuBurner {
        cores: vec![0, 1, 4],
        load: Some(Profile { shape: Some(ramp), ..Profile::default() }),
        kernel: CpuKernel::Fma.into(),
        isa: CpuIsa::Avx2.into(),
        precision: CpuPrecision::Single.into(),
        inject_error: Some(InjectedError { worker: 2, after_ms: 500 }),
        ..CpuBurner::default()
    };
    assert_eq!(phases[0].burners[0].kind, Some(burner::Kind::Cpu(cpu)));
    let disk = DiskBurner {
        path: "/var/tmp".into(),
        size_bytes: 256 << 20,
        access: DiskAccess::Randwrite.into(),
        block_bytes: Some(4_096),
        depth: Some(16),
        rate_per_s: Some(2_000),
        ..DiskBurner::default()
    };
    assert_eq!(phases[0].burners[1].kind, Some(burner::Kind::Disk(disk)));
}

#[test]
fn kernels_have_settings_of_their_own() {
    let cpu = |keys: &str| {
        let plan = parse("s.toml", &with_burner(&format!("kind = 'cpu'\n{keys}")), &[]).unwrap();
        let Some(burner::Kind::Cpu(cpu)) = plan.scenario.phases[0].burners[0].kind.clone() else { panic!() };
        cpu
    };
    let power = cpu("kernel = 'power'\nmemory_share = 25");
    assert_eq!((power.kernel(), power.memory_percent), (CpuKernel::Power, Some(25)));
    assert_eq!(cpu("workers = 64").workers, Some(64));
    let cache = cpu("kernel = 'cache'\nlevel = 'l3'");
    assert_eq!((cache.kernel(), cache.level()), (CpuKernel::Cache, MemoryLevel::L3));
    for (keys, wrong) in [
        ("kernel = 'cache'\nlevel = 'l9'", "there is no level 'l9'"),
        ("kernel = 'fma'\nmemory_share = 5", "no such setting"),
        ("kernel = 'power'\nmemory_share = 101", "101 %"),
        ("inject_error = 'some@1s'", "'some' is no worker"),
        ("workers = 0", "0 workers"),
        ("workers = 5_000_000_000", "workers this many"),
    ] {
        let problems = parse("s.toml", &with_burner(&format!("kind = 'cpu'\n{keys}")), &[]).unwrap_err();
        assert!(problems[0].message.contains(wrong), "{keys}: {problems:?}");
    }
}

#[test]
fn what_is_left_out_is_left_to_the_agent() {
    let plan = parse("s.toml", &with_burner("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'"), &[]).unwrap();
    let Some(burner::Kind::Disk(disk)) = &plan.scenario.phases[0].burners[0].kind else { panic!() };
    assert_eq!((disk.block_bytes, disk.depth, disk.rate_per_s), (None, None, None));
    assert_eq!(disk.access, i32::from(DiskAccess::Randread));
    assert!(!plan.seed_is_given);
    assert_eq!(plan.scenario.limits, None);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_known_ones() {
    let found = problems(&with_burner("kind = 'cpu'\nlod = 50"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("s.toml:7:1: a cpu burner has no key 'lod'\n 7 | lod = 50\n   | ^^^\n"),
        "{}",
        found[0]
    );
    assert!(
        found[0]
            .contains("did you mean 'load'? use kind, cores, load, mode, tolerance, in_step, kernel, isa"),
        "{}",
        found[0]
    );
    for (text, place) in [("nam = 1", "s.toml:1:1"), ("name = 'x'\n[limit]\nx = 1", "s.toml:2:2")] {
        assert!(problems(text).iter().any(|problem| problem.starts_with(place)), "{:?}", problems(text));
    }
}

#[test]
fn each_bad_value_is_reported_at_its_place_and_only_once() {
    for (line, message) in [
        ("kind = 'cpu'\nload = 0", "7:8: a load of 0 %"),
        ("kind = 'cpu'\nload = 101", "7:8: a load of 101 %"),
        ("kind = 'cpu'\nload = nan", "7:8: a load of NaN %"),
        ("kind = 'cpu'\nload = 'half'", "7:8: 'half' is not a load"),
        ("kind = 'cpu'\nload = { from = -1, to = 50 }", "7:17: a load of -1 %"),
        ("kind = 'cpu'\nload = 'sine:90..10/5s'", "7:8: loads between 90 and 10 %"),
        ("kind = 'cpu'\nload = 'trace:none.csv'", "7:8: the trace 'none.csv'"),
        ("kind = 'cpu'\nmode = 'ours'", "7:8: there is no mode 'ours'"),
        ("kind = 'cpu'\ntolerance = 0", "7:13: a tolerance of 0 points"),
        ("kind = 'cpu'\nin_step = 1", "7:11: the number 1 stands here"),
        ("kind = 'cpu'\nload = { from = 5 }", "7:8: a ramp needs the key 'to'"),
        ("kind = 'cpu'\ncores = '3-1'", "7:9: '3-1' is not a list of cores"),
        ("kind = 'cpu'\ncores = [0, 0]", "7:9: core 0 is named twice"),
        ("kind = 'cpu'\nkernel = 'magic'", "7:10: there is no kernel 'magic'"),
        ("kind = 'cpu'\nisa = 'sse'", "7:7: there is no instruction set 'sse'"),
        ("kind = 'gpu'\nlevel = 3", "6:8: there is no burner of kind 'gpu'"),
        ("load = 50", "5:1: a burner needs the key 'kind'"),
        ("kind = 3", "6:8: the number 3 stands here"),
        ("kind = 'disk'\nsize = '1MiB'", "5:1: a disk burner needs the key 'path'"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '5 parsecs'", "8:8: '5 parsecs' is not a size"),
        ("kind = 'disk'\npath = 'tmp'\nsize = '1MiB'", "7:8: 'tmp' is not an absolute path"),
        ("kind = 'disk'\npath = '/tmp'\nsize = 5000", "8:8: a size of 5000 bytes"),
        ("kind = 'disk'\npath = '/tmp'\nsize = -1", "8:8: -1 is out of range"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\ndepth = 0", "9:9: a depth of 0"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nrate = 0", "9:8: a rate of 0"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nrate = '2k'", "9:8: the string '2k' stands here"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nrw = 'both'", "9:6: there is no access 'both'"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1GiB'\nblock = '32MiB'", "9:9: a block of 33554432 bytes"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nblock = '4KiB:70,8KiB'", "9:9: '8KiB' has no share"),
        (
            "kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nblock = '4KiB:70,8KiB:20'",
            "9:9: shares that make 90 %",
        ),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nreads = 70", "9:9: a share of reads without"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nverify = 1", "9:10: the number 1 stands here"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\njobs = 257", "9:8: 257 jobs"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nfsync = 9", "9:9: there are no writes"),
        ("kind = 'disk'\npath = '/tmp'\nrw = 'fill'\nfill = 101", "9:8: filling to 101 %"),
        ("kind = 'disk'\npath = '/tmp'\nsize = '1MiB'\nrw = 'fill'\nfill = 90", "8:8: it means nothing"),
    ] {
        let found = problems(&with_burner(line));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with(&format!("s.toml:{message}")), "{line}: {}", found[0]);
        assert!(!found[0].ends_with('\n'), "{line} has no mend");
    }
}

#[test]
fn a_scenario_without_phases_is_refused() {
    let found = problems("name = 'empty'");
    assert_eq!(found, ["s.toml: the scenario has no phase\ngive it at least one phase"]);
    assert_eq!(problems("").len(), 2);
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let text = "name = 'Bad Name'\nx = 1\n[limits]\nmax_temperature = 500\n[[phase]]\nname = 'a'\nduration = '0s'\n\
                [[phase]]\nname = 'a'\nduration = 10\n[[phase.burner]]\nkind = 'cpu'\nload = 0";
    let found = problems(text);
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[test]
fn broken_toml_is_reported_with_line_and_column() {
    let found = problems("name = 'x'\n[[phase]\n");
    assert!(found[0].starts_with("s.toml:2:"), "{found:?}");
    assert!(problems("name = 'x'\nname = 'y'\n")[0].starts_with("s.toml:2:1"), "duplicate keys");
}

#[test]
fn tables_in_the_wrong_shape_are_refused() {
    for text in [
        "phase = 3\nname = 'x'",
        "name = 'x'\nphase = [1]",
        "name = 'x'\nlimits = 3\n[[phase]]\nname='a'\nduration='1s'",
    ] {
        let found = problems(text);
        assert!(found[0].contains("stands here"), "{found:?}");
    }
    let single = problems("name = 'x'\n[phase]\nname = 'a'\nduration = '1s'");
    assert!(single[0].contains("[[…phase]]"), "{single:?}");
}
