//! The hottest kernel of this host: by the packages' energy counters where there are some, else by floating-point operations.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{CpuLoad, kernel::Kernel, recipe::Recipe};
use crate::{burn::BurnError, clock};

/// For each kernel: the counters move once a millisecond.
const WINDOW: Duration = Duration::from_millis(60);
/// For each kernel without counters; the best one counts.
const LOOKS: usize = 30;
/// What another kernel must have on the one before, for clocks and counters are not exact. The hottest on most stands first.
const MARGIN: f64 = 1.05;

/// The recipe that is hottest on these cores.
///
/// # Errors
/// When a kernel can't be had.
pub(super) fn hottest(load: &CpuLoad, cores: &[u32]) -> Result<Recipe, BurnError> {
    let packages = packages(&load.sys);
    let mut best: Option<(f64, Recipe)> = None;
    for recipe in load.recipes() {
        let mut kernel = recipe.build()?;
        let heat = match power(&packages, &*kernel, cores)? {
            Some(watts) => watts,
            None => flops_per_s(&mut *kernel)?,
        };
        if best.as_ref().is_none_or(|(hottest, _)| heat > hottest * MARGIN) {
            best = Some((heat, Recipe { adds: kernel.adds(), ..recipe }));
        }
    }
    Ok(best.map_or_else(|| load.recipe.clone(), |(_, recipe)| recipe))
}

/// Counters of microjoules, one a package: Documentation/power/powercap/powercap.rst.
fn packages(sys: &Path) -> Vec<PathBuf> {
    let zones = fs::read_dir(sys.join("class/powercap")).into_iter().flatten().flatten();
    zones
        .map(|zone| zone.path())
        .filter(|zone| fs::read_to_string(zone.join("name")).is_ok_and(|name| name.starts_with("package")))
        .map(|zone| zone.join("energy_uj"))
        .collect()
}

fn energy_uj(packages: &[PathBuf]) -> Option<u64> {
    let read = |counter: &PathBuf| fs::read_to_string(counter).ok()?.trim().parse::<u64>().ok();
    packages.iter().map(read).sum::<Option<u64>>().filter(|_| !packages.is_empty())
}

/// Watts while all cores compute it. None without a counter that moves, or when one began anew meanwhile.
fn power(packages: &[PathBuf], prototype: &dyn Kernel, cores: &[u32]) -> Result<Option<f64>, BurnError> {
    if energy_uj(packages).is_none() {
        return Ok(None);
    }
    let end = clock::boottime() + WINDOW;
    let burn = move |core: u32| -> Result<(), BurnError> {
        core_affinity::set_for_current(core_affinity::CoreId { id: core as usize });
        let mut kernel = prototype.fork()?;
        while clock::boottime() < end {
            kernel.compute()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = cores
            .iter()
            .map(|core| {
                let body = move || burn(*core);
                thread::Builder::new().spawn_scoped(scope, body).map_err(BurnError::Thread)
            })
            .collect::<Result<Vec<_>, _>>()?;
        // The first third is for clocks and voltages to settle.
        thread::sleep(WINDOW / 3);
        let (begin, before) = (clock::boottime(), energy_uj(packages));
        for thread in threads {
            // A panic was told by the process's hook.
            thread.join().unwrap_or(Ok(()))?;
        }
        let (elapsed, after) = (clock::boottime().saturating_sub(begin), energy_uj(packages));
        let spent = after.zip(before).and_then(|(after, before)| after.checked_sub(before));
        Ok(spent.filter(|spent| *spent > 0).map(|spent| spent as f64 / 1e6 / elapsed.as_secs_f64()))
    })
}

/// By this thread's CPU clock, in registers alone.
fn flops_per_s(kernel: &mut dyn Kernel) -> Result<f64, BurnError> {
    let mut best = Duration::MAX;
    for _ in 0..LOOKS {
        let begin = clock::thread_cpu();
        kernel.compute()?;
        best = best.min(clock::thread_cpu().saturating_sub(begin));
    }
    Ok(kernel.work().flops as f64 / best.as_secs_f64().max(f64::MIN_POSITIVE))
}
