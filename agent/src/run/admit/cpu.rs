//! What a CPU burner becomes on this host.

use std::{fs, time::Duration};

use procfs::FromRead as _;
use ssts_proto::{
    v1::{CpuBurner, CpuIsa, CpuKernel, CpuPrecision, LoadMode, MemoryLevel},
    validate::{self, Violations},
};

use super::Offer;
use crate::{
    burn::{
        cpu::{Caches, Choice, CpuLoad, InjectedError, Isa, KernelName, Level, Precision, Recipe},
        plan::Load,
        profile::LoadProfile,
    },
    host::{self, HostRoots},
};

/// Its cores and what they do; fills in what was left open.
pub(super) fn plan(
    offer: &Offer<'_>,
    field: &str,
    cpu: &mut CpuBurner,
    seed: u64,
    found: &mut Violations,
) -> Option<(Vec<u32>, Load)> {
    let (choice, kernel) = kernel(cpu);
    let isa = isa(field, cpu.isa(), choice, kernel, found)?;
    cpu.cores = offer.choose_cores(field, &cpu.cores, found)?;
    let workers = workers(field, cpu, found)?;
    let inject = inject(field, cpu, found);
    let caches = caches(offer.roots);
    let level = level(field, cpu, choice, kernel, &caches, found)?;
    let precision = match cpu.precision() {
        CpuPrecision::Unspecified | CpuPrecision::Double => Precision::Double,
        CpuPrecision::Single => Precision::Single,
    };
    let uses_memory = choice != Choice::Named || kernel == KernelName::Power;
    let memory_percent = match cpu.memory_percent {
        None if uses_memory => validate::DEFAULT_MEMORY_PERCENT,
        percent => percent.unwrap_or_default(),
    };
    let sharers = workers.len().div_ceil(cpu.cores.len().max(1)) as u32;
    let load = CpuLoad {
        profile: LoadProfile::from_message(cpu.load.as_ref()),
        choice,
        recipe: Recipe { kernel, isa, precision, memory_percent, level, caches, seed, adds: None, sharers },
        known: None,
        inject,
        proc: offer.roots.proc.clone(),
        sys: offer.roots.sys.clone(),
    };
    check_memory(offer, field, &load, workers.len(), found)?;

    cpu.set_isa(isa.into());
    if cpu.kernel() == CpuKernel::Unspecified {
        cpu.set_kernel(CpuKernel::Auto);
    }
    if choice != Choice::Named || kernel.has_precision() {
        cpu.set_precision(match precision {
            Precision::Double => CpuPrecision::Double,
            Precision::Single => CpuPrecision::Single,
        });
    }
    if uses_memory {
        cpu.memory_percent = Some(memory_percent);
    }
    if choice == Choice::Mixed || kernel == KernelName::Cache {
        cpu.set_level(match level {
            Level::L1 => MemoryLevel::L1,
            Level::L2 => MemoryLevel::L2,
            Level::L3 => MemoryLevel::L3,
            Level::Dram => MemoryLevel::Dram,
        });
    }
    Some((workers, Load::Cpu(load)))
}

/// The core of each worker: those that were asked for are dealt to the cores in turn.
fn workers(field: &str, cpu: &mut CpuBurner, found: &mut Violations) -> Option<Vec<u32>> {
    let cores = cpu.cores.len();
    let workers = cpu.workers.map_or(cores, |workers| workers as usize);
    let of_core = cpu.load.as_ref().is_some_and(|load| load.mode() == LoadMode::Core);
    if of_core && workers > cores {
        found.add(
            format!("{field}.workers"),
            format!(
                "{workers} workers on {cores} cores can't hold the cores' load: those of one core would each take the \
                 others for strangers"
            ),
            "use at most one worker a core, or the mode own",
        );
        return None;
    }
    cpu.workers = Some(workers as u32);
    Some(cpu.cores.iter().copied().cycle().take(workers).collect())
}

fn kernel(cpu: &CpuBurner) -> (Choice, KernelName) {
    let named = |kernel| (Choice::Named, kernel);
    match cpu.kernel() {
        CpuKernel::Unspecified | CpuKernel::Auto => (Choice::Auto, KernelName::Power),
        CpuKernel::Mixed => (Choice::Mixed, KernelName::Power),
        CpuKernel::Fma => named(KernelName::Fma),
        CpuKernel::Power => named(KernelName::Power),
        CpuKernel::Integer => named(KernelName::Integer),
        CpuKernel::Branch => named(KernelName::Branch),
        CpuKernel::SqrtDiv => named(KernelName::SqrtDiv),
        CpuKernel::Crypto => named(KernelName::Crypto),
        CpuKernel::Matrix => named(KernelName::Matrix),
        CpuKernel::Cache => named(KernelName::Cache),
        CpuKernel::ContextSwitch => named(KernelName::ContextSwitch),
    }
}

impl From<Isa> for CpuIsa {
    fn from(isa: Isa) -> Self {
        match isa {
            Isa::Portable => Self::Portable,
            Isa::Avx2 => Self::Avx2,
            Isa::Avx512 => Self::Avx512,
        }
    }
}

/// The instructions that were asked for, or the widest; of all that this host has.
pub(super) fn choose_isa(field: &str, asked: CpuIsa, found: &mut Violations) -> Option<Isa> {
    isa(field, asked, Choice::Auto, KernelName::Power, found)
}

/// The instructions that were asked for, or the widest that the kernel has here.
fn isa(
    field: &str,
    asked: CpuIsa,
    choice: Choice,
    kernel: KernelName,
    found: &mut Violations,
) -> Option<Isa> {
    let available = if choice == Choice::Named { Isa::available_for(kernel) } else { Isa::available() };
    let wanted = match asked {
        CpuIsa::Unspecified => return available.last().copied(),
        CpuIsa::Portable => Isa::Portable,
        CpuIsa::Avx2 => Isa::Avx2,
        CpuIsa::Avx512 => Isa::Avx512,
    };
    if available.contains(&wanted) {
        return Some(wanted);
    }
    let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
    let of_kernel = if wanted.is_available() {
        format!(" that the kernel {} needs", kernel.name())
    } else {
        String::new()
    };
    found.add(
        format!("{field}.isa"),
        format!("this host has no {}{of_kernel}", wanted.name()),
        format!("choose among {}", names.join(", ")),
    );
    None
}

fn inject(field: &str, cpu: &CpuBurner, found: &mut Violations) -> Option<InjectedError> {
    let asked = cpu.inject_error?;
    let workers = cpu.workers.unwrap_or_default() as usize;
    if asked.worker as usize >= workers {
        found.add(
            format!("{field}.inject_error"),
            format!("there is no worker {}: the burner has {workers}, counted from 0", asked.worker),
            format!("use 0 to {}", workers.saturating_sub(1)),
        );
    }
    Some(InjectedError { worker: asked.worker, after: Duration::from_millis(asked.after_ms) })
}

/// The level that was asked for, where the host has it and tells its size.
fn level(
    field: &str,
    cpu: &CpuBurner,
    choice: Choice,
    kernel: KernelName,
    caches: &Caches,
    found: &mut Violations,
) -> Option<Level> {
    let level = match cpu.level() {
        MemoryLevel::L1 => Level::L1,
        MemoryLevel::Unspecified | MemoryLevel::L2 => Level::L2,
        MemoryLevel::L3 => Level::L3,
        MemoryLevel::Dram => Level::Dram,
    };
    let bytes = match level {
        Level::L1 => caches.l1_bytes,
        Level::L2 => caches.l2_bytes,
        Level::L3 => caches.l3_bytes,
        Level::Dram => return Some(level),
    };
    let chosen = cpu.level() != MemoryLevel::Unspecified;
    let matters = chosen || choice == Choice::Named && kernel == KernelName::Cache;
    if bytes == 0 && matters {
        found.add(
            format!("{field}.level"),
            format!("this host tells of no {} cache", level.name()),
            "choose another level, such as dram",
        );
        return None;
    }
    Some(level)
}

/// What core 0 sees; all cores of a host are taken for alike.
fn caches(roots: &HostRoots) -> Caches {
    let caches = host::caches(roots);
    let of_level = |level| {
        caches
            .iter()
            .filter(|cache| cache.level == level && cache.kind != "Instruction")
            .map(|cache| cache.size_bytes)
            .max()
            .unwrap_or_default()
    };
    Caches { l1_bytes: of_level(1), l2_bytes: of_level(2), l3_bytes: of_level(3) }
}

fn check_memory(
    offer: &Offer<'_>,
    field: &str,
    load: &CpuLoad,
    workers: usize,
    found: &mut Violations,
) -> Option<()> {
    let asked = load.memory_bytes(workers as u64);
    let Ok(text) = fs::File::open(offer.roots.proc("meminfo")) else { return Some(()) };
    let Ok(meminfo) = procfs::Meminfo::from_read(text) else { return Some(()) };
    let available = meminfo.mem_available.unwrap_or(meminfo.mem_free);
    let reserve = offer.limits.min_available_memory_bytes;
    let promised = offer.others.promised_memory();
    if asked <= available.saturating_sub(reserve).saturating_sub(promised.bytes) {
        return Some(());
    }
    let part = if load.recipe.kernel == KernelName::Cache { "level" } else { "memory_percent" };
    found.add(
        format!("{field}.{part}"),
        format!(
            "the kernel keeps {asked} bytes: {available} bytes are available, {reserve} of them are kept in reserve{promised}"
        ),
        "choose a nearer level, fewer workers, or a memory share of 0",
    );
    None
}

#[cfg(test)]
mod tests {
    use ssts_proto::v1::{Constant, InjectedError as Injected, Profile, Violation, profile::Shape};

    use super::*;
    use crate::{config::LimitsConfig, observe::procfs::test_tree::TestTree};

    const MEMINFO: &str = "MemTotal: 9000000 kB\nMemFree: 1 kB\nBuffers: 1 kB\nCached: 1 kB\nSwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nMemAvailable: 500000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\nSlab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\nVmallocUsed: 0 kB\nVmallocChunk: 0 kB\n";

    /// A host of 3 cores and 64 MiB of L3, which has no second cache.
    fn try_plan(cpu: &mut CpuBurner) -> (Option<(Vec<u32>, Load)>, Vec<Violation>) {
        let tree = TestTree::new(&[
            ("proc/meminfo", MEMINFO),
            ("sys/devices/system/cpu/cpu0/cache/index0/level", "1\n"),
            ("sys/devices/system/cpu/cpu0/cache/index0/type", "Data\n"),
            ("sys/devices/system/cpu/cpu0/cache/index0/size", "48K\n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/level", "3\n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/type", "Unified\n"),
            ("sys/devices/system/cpu/cpu0/cache/index3/size", "65536K\n"),
        ]);
        let (roots, limits) = (tree.roots(), LimitsConfig::default());
        let offer = Offer {
            roots: &roots,
            limits: &limits,
            policy: &crate::config::PolicyConfig::default(),
            others: &super::super::Others::default(),
            shared_cores: false,
            cores: &[0, 1, 4],
            allowed_peers: &[],
            http: &crate::config::HttpConfig::default(),
            drilled: crate::run::Drilled::Never,
            guards: &crate::run::guarding::HostGuards::new(&limits, &[], std::path::Path::new("/tmp")),
        };
        let mut found = Violations::default();
        let planned = plan(&offer, "cpu", cpu, 7, &mut found);
        (planned, found.into_vec())
    }

    fn admit(cpu: &mut CpuBurner) -> Result<CpuLoad, (String, String)> {
        let (planned, violations) = try_plan(cpu);
        match (planned, violations.first()) {
            (Some((_, Load::Cpu(load))), None) => Ok(load),
            (_, Some(violation)) => {
                assert!(!violation.mend.is_empty());
                Err((violation.field.clone(), violation.message.clone()))
            }
            (_, None) => unreachable!("a plan or a reason"),
        }
    }

    fn of(kernel: CpuKernel) -> CpuBurner {
        CpuBurner { kernel: kernel.into(), ..CpuBurner::default() }
    }

    #[test]
    fn what_was_left_open_is_told() {
        let mut cpu = of(CpuKernel::Unspecified);
        let load = admit(&mut cpu).unwrap();
        assert_eq!(
            (load.choice, load.recipe.seed, load.recipe.precision),
            (Choice::Auto, 7, Precision::Double)
        );
        assert_eq!(cpu.kernel(), CpuKernel::Auto);
        assert_eq!((cpu.precision(), cpu.memory_percent), (CpuPrecision::Double, Some(10)));
        assert_eq!(load.recipe.caches, Caches { l1_bytes: 48 << 10, l2_bytes: 0, l3_bytes: 64 << 20 });
        let mut cpu = of(CpuKernel::Integer);
        admit(&mut cpu).unwrap();
        // What the kernel does not have stays open.
        assert_eq!((cpu.precision(), cpu.memory_percent), (CpuPrecision::Unspecified, None));
        assert_eq!(cpu.level(), MemoryLevel::Unspecified);
    }

    #[test]
    fn a_worker_that_is_not_there_can_not_fail() {
        let error = |worker| Some(Injected { worker, after_ms: 5 });
        let mut cpu = CpuBurner { inject_error: error(3), ..of(CpuKernel::Fma) };
        let (field, message) = admit(&mut cpu).unwrap_err();
        assert!(field == "cpu.inject_error" && message.contains("worker 3") && message.contains("has 3"));
        cpu.inject_error = error(2);
        let injected = admit(&mut cpu).unwrap().inject.unwrap();
        assert_eq!(injected, InjectedError { worker: 2, after: Duration::from_millis(5) });
    }

    #[test]
    fn workers_are_dealt_to_the_cores_in_turn() {
        let dealt = |workers| {
            let mut cpu = CpuBurner { workers, ..of(CpuKernel::Fma) };
            let (planned, found) = try_plan(&mut cpu);
            assert!(found.is_empty(), "{found:?}");
            (planned.unwrap().0, cpu.workers)
        };
        assert_eq!(dealt(None), (vec![0, 1, 4], Some(3)));
        assert_eq!(dealt(Some(2)), (vec![0, 1], Some(2)));
        assert_eq!(dealt(Some(7)), (vec![0, 1, 4, 0, 1, 4, 0], Some(7)));
        // The sixth one is there now.
        let inject_error = Some(Injected { worker: 5, after_ms: 0 });
        admit(&mut CpuBurner { workers: Some(6), inject_error, ..of(CpuKernel::Fma) }).unwrap();
    }

    #[test]
    fn workers_that_share_a_core_can_not_hold_its_load() {
        let of_core = |workers| {
            let mut load = Profile {
                shape: Some(Shape::Constant(Constant { load_percent: 50.0 })),
                ..Profile::default()
            };
            load.set_mode(LoadMode::Core);
            CpuBurner { workers: Some(workers), load: Some(load), ..of(CpuKernel::Fma) }
        };
        admit(&mut of_core(3)).unwrap();
        let (field, message) = admit(&mut of_core(4)).unwrap_err();
        assert!(field == "cpu.workers" && message.contains("4 workers on 3 cores"), "{message}");
    }

    #[test]
    fn memory_is_counted_by_worker() {
        // Some 2 MiB a worker by itself on its core, and never less than half of one; 232 MiB are free to be used.
        let mut cpu = CpuBurner { workers: Some(3), ..of(CpuKernel::Power) };
        admit(&mut cpu).unwrap();
        let (field, message) = admit(&mut CpuBurner { workers: Some(1_000), ..cpu }).unwrap_err();
        assert!(field == "cpu.memory_percent" && message.contains("are available"), "{message}");
    }

    #[test]
    fn a_level_that_the_host_does_not_tell_of_is_refused() {
        let level = |level: MemoryLevel| CpuBurner { level: level.into(), ..of(CpuKernel::Cache) };
        let (field, message) = admit(&mut level(MemoryLevel::L2)).unwrap_err();
        assert!(field == "cpu.level" && message.contains("no l2 cache"), "{message}");
        assert_eq!(admit(&mut level(MemoryLevel::L1)).unwrap().recipe.level, Level::L1);
        // 256 MiB of lines, and 488 MiB less the reserve of 256 MiB are there.
        let (field, message) = admit(&mut level(MemoryLevel::Dram)).unwrap_err();
        assert!(field == "cpu.level" && message.contains("512000000 bytes are available"), "{message}");
    }
}
