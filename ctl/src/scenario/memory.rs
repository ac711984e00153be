//! The memory burner as users write it.

use ssts_proto::v1::{
    CpuIsa, MemoryBurner, MemoryLoop, MemoryMethod, MemoryPages, MemoryPattern, burner,
    memory_burner::{Size, Target},
};
use toml::de::DeValue;

use super::{
    Plan,
    cpu::isa,
    flags::single,
    keys::{Findings, Keys, whole, wrong_type},
    load::{of_shape, profile, shape_of},
    values::{cores, duration, one_of, percent, size},
};
use crate::{cli::BurnMemory, error::Problem, quantity};

/// `burn memory`.
pub(crate) fn burn_memory(flags: &BurnMemory) -> Plan {
    let stalled = flags.stalled.map(Target::StalledPercent);
    let memory = MemoryBurner {
        cores: flags.cores.as_ref().map(|cores| cores.0.clone()).unwrap_or_default(),
        size: flags.size,
        method: MemoryMethod::from(flags.method).into(),
        load: flags.load.profile(),
        pages: MemoryPages::from(flags.pages).into(),
        numa_node: flags.numa_node,
        fill_bytes_per_s: flags.fill_rate,
        isa: CpuIsa::from(flags.isa).into(),
        loops: flags.loops.iter().map(|kind| MemoryLoop::from(*kind).into()).collect(),
        patterns: flags.patterns.iter().map(|pattern| MemoryPattern::from(*pattern).into()).collect(),
        delay_ms: flags.delay,
        target: stalled.or(flags.reclaim.map(Target::ReclaimedBytesPerS)),
        inject_error_worker: flags.inject_error,
        used: flags.used.clone().map(of_shape),
    };
    let places = [
        ("cores", "--cores"),
        ("size_bytes", "--size"),
        ("size_percent", "--size"),
        ("method", "--method"),
        ("load", "--load"),
        ("pages", "--pages"),
        ("numa_node", "--numa-node"),
        ("fill_bytes_per_s", "--fill-rate"),
        ("isa", "--isa"),
        ("loops", "--loops"),
        ("patterns", "--patterns"),
        ("delay_ms", "--delay"),
        ("stalled_percent", "--stalled"),
        ("reclaimed_bytes_per_s", "--reclaim"),
        ("inject_error_worker", "--inject-error"),
        ("used", "--used"),
    ];
    single("burn-memory", flags.duration, burner::Kind::Memory(memory), &places)
}

/// Its keys in a scenario file.
pub(super) fn from_keys(keys: &mut Keys<'_, '_>, found: &mut Findings) -> MemoryBurner {
    let cores = keys.read("cores", "cores", found, cores).unwrap_or_default();
    let kind = keys.read("method", "method", found, method);
    let size_of = if kind == Some(MemoryMethod::Occupy) {
        keys.read("size", "size_bytes", found, size_or_percent)
    } else {
        keys.need("size", "size_bytes", found, size_or_percent, "\"1GiB\"")
    };
    if matches!(size_of, Some(Size::SizePercent(_))) {
        // The place where a violation of the other form would be.
        let _same = keys.value("size", "size_percent", found);
    }
    let stalled = keys.read("stalled", "stalled_percent", found, percent).map(Target::StalledPercent);
    let reclaimed =
        keys.read("reclaim", "reclaimed_bytes_per_s", found, size).map(Target::ReclaimedBytesPerS);
    MemoryBurner {
        cores,
        size: size_of,
        method: kind.map_or(0, i32::from),
        load: profile(keys, found),
        pages: keys.read("pages", "pages", found, pages).map_or(0, i32::from),
        numa_node: keys.read("numa_node", "numa_node", found, |value| small(value, "node")),
        fill_bytes_per_s: keys.read("fill_rate", "fill_bytes_per_s", found, size),
        isa: keys.read("isa", "isa", found, isa).map_or(0, i32::from),
        loops: keys.read("loops", "loops", found, |value| list(value, "loop", &LOOPS)).unwrap_or_default(),
        patterns: keys
            .read("patterns", "patterns", found, |value| list(value, "pattern", &PATTERNS))
            .unwrap_or_default(),
        delay_ms: keys.read("delay", "delay_ms", found, duration),
        target: stalled.or(reclaimed),
        inject_error_worker: keys
            .read("inject_error", "inject_error_worker", found, |value| small(value, "worker")),
        used: shape_of("used", keys, found),
    }
}

const LOOPS: [(&str, MemoryLoop); 4] = [
    ("copy", MemoryLoop::Copy),
    ("scale", MemoryLoop::Scale),
    ("add", MemoryLoop::Add),
    ("triad", MemoryLoop::Triad),
];
const PATTERNS: [(&str, MemoryPattern); 5] = [
    ("walking", MemoryPattern::Walking),
    ("checkerboard", MemoryPattern::Checkerboard),
    ("inversions", MemoryPattern::Inversions),
    ("random", MemoryPattern::Random),
    ("address", MemoryPattern::Address),
];

fn size_or_percent(value: &DeValue<'_>) -> Result<Size, Problem> {
    match value {
        DeValue::String(text) => quantity::size_or_percent(text),
        other => size(other).map(Size::SizeBytes),
    }
}

fn method(value: &DeValue<'_>) -> Result<MemoryMethod, Problem> {
    let known = [
        ("fill", MemoryMethod::Fill),
        ("stream", MemoryMethod::Stream),
        ("read", MemoryMethod::Read),
        ("write", MemoryMethod::Write),
        ("latency", MemoryMethod::Latency),
        ("verify", MemoryMethod::Verify),
        ("fault", MemoryMethod::Fault),
        ("pressure", MemoryMethod::Pressure),
        ("occupy", MemoryMethod::Occupy),
    ];
    one_of(value, "method", &known)
}

fn pages(value: &DeValue<'_>) -> Result<MemoryPages, Problem> {
    let known = [
        ("auto", MemoryPages::Unspecified),
        ("small", MemoryPages::Small),
        ("transparent", MemoryPages::Transparent),
        ("huge", MemoryPages::Huge),
    ];
    one_of(value, "kind of pages", &known)
}

fn small(value: &DeValue<'_>, what: &str) -> Result<u32, Problem> {
    u32::try_from(whole(value)?)
        .map_err(|_| Problem::new(format!("no {what} has this number"), "use a smaller one"))
}

/// An array of names.
fn list<T: Copy + Into<i32>>(
    value: &DeValue<'_>,
    what: &str,
    known: &[(&str, T)],
) -> Result<Vec<i32>, Problem> {
    let DeValue::Array(items) = value else {
        return Err(wrong_type(value, &format!("an array, such as [\"{}\"]", known[0].0)));
    };
    items.iter().map(|item| one_of(item.get_ref(), what, known).map(Into::into)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Burn, Cli, Command},
        error::Exit,
    };

    fn memory(arguments: &str) -> Plan {
        let line = format!("sstsctl burn memory {arguments}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Burn(Burn::Memory(flags)) => burn_memory(&flags),
            other => panic!("{other:?}"),
        }
    }

    fn burner(plan: &Plan) -> &MemoryBurner {
        match &plan.scenario.phases[0].burners[0].kind {
            Some(burner::Kind::Memory(memory)) => memory,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sizes_are_bytes_or_a_percentage() {
        assert_eq!(burner(&memory("--size 64MiB --duration 1s")).size, Some(Size::SizeBytes(64 << 20)));
        assert_eq!(burner(&memory("--size 62.5% --duration 1s")).size, Some(Size::SizePercent(62.5)));
    }

    #[test]
    fn violations_name_the_flag() {
        for (arguments, flag) in [
            ("--size 1k", "--size"),
            ("--size 1MiB --loops copy", "--loops"),
            ("--size 1MiB --method pressure", "--stalled"),
            ("--size 1MiB --method fill --inject-error 0", "--inject-error"),
            ("--size 1MiB --fill-rate 5", "--fill-rate"),
            ("--size 1MiB --method fault --load 50", "--load"),
            ("--size 1MiB --used 40", "--used"),
            ("--method occupy --used 40 --size 1MiB", "--size"),
        ] {
            let failure = memory(&format!("{arguments} --duration 1s")).validate().unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.problems[0].message.starts_with(&format!("{flag}: ")), "{failure}");
        }
    }

    #[test]
    fn a_file_says_the_same_as_the_flags() {
        let toml = |keys: &str| {
            let text = format!(
                "name = 'one'\n[[phase]]\nname = 'a'\nduration = '1s'\n[[phase.burner]]\nkind = 'memory'\n{keys}"
            );
            Plan::from_toml("x.toml", &text)
        };
        let keys = "size = '50%'\nmethod = 'verify'\ncores = '0-1'\nload = 50\npages = 'small'\nnuma_node = 0\n\
                    fill_rate = '100MiB'\nisa = 'avx2'\npatterns = ['random', 'address']\ndelay = '1s'\n\
                    inject_error = 1";
        let flags = "--size 50% --method verify --cores 0-1 --load 50 --pages small --numa-node 0 --fill-rate 100MiB \
                     --isa avx2 --patterns random,address --delay 1s --inject-error 1 --duration 1s";
        assert_eq!(burner(&toml(keys).unwrap()), burner(&memory(flags)));
        let keys = "size = 3145728\nmethod = 'stream'\nloops = ['copy', 'triad']";
        assert_eq!(
            burner(&toml(keys).unwrap()).loops,
            burner(&memory("--size 3MiB --method stream --loops copy,triad --duration 1s")).loops
        );
        let keys = "method = 'occupy'\nused = 'walk:20..80/5/1s'";
        let flags = "--method occupy --used walk:20..80/5/1s --duration 1s";
        assert_eq!(burner(&toml(keys).unwrap()), burner(&memory(flags)));
        let keys = "size = '1GiB'\nmethod = 'pressure'\nreclaim = '64MiB'";
        assert_eq!(burner(&toml(keys).unwrap()).target, Some(Target::ReclaimedBytesPerS(64 << 20)));
        for (keys, part) in [
            ("size = '101%'", "101"),
            ("size = 'much'", "much"),
            ("method = 'fill'", "'size'"),
            ("size = '1MiB'\nmethod = 'verify'\npatterns = ['stripes']", "stripes"),
            ("method = 'occupy'", "no share"),
            ("method = 'occupy'\nused = '101%'", "101"),
            ("method = 'occupy'\nused = 40\nsize = '1MiB'", "does not have this setting"),
            ("size = '1MiB'\nmethod = 'verify'\npatterns = 'random'", "array"),
        ] {
            let text = toml(keys).unwrap_err().to_string();
            assert!(text.contains(part), "{keys}: {text}");
        }
    }
}
