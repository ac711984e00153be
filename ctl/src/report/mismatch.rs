//! Wrong results: what was computed where, and whether it came again.

use ssts_proto::v1::{BurnerResult, Mismatch, Rerun};

use super::document::{Align, Document, Table};

/// One table of what was found, one of what came of trying it again.
pub(super) fn sections(burners: &[BurnerResult], document: &mut Document) {
    use Align::{Left, Right};
    let mut found = Table::new(&[
        ("phase", Left),
        ("worker", Right),
        ("core", Right),
        ("package", Right),
        ("microcode", Left),
        ("clock", Right),
        ("temperature", Right),
        ("computed", Left),
        ("seed", Right),
        ("unit", Right),
        ("word", Right),
        ("expected", Left),
        ("got", Left),
        ("xor", Left),
        ("wrong bits", Right),
        ("cause", Left),
    ]);
    let mut again = Table::new(&[
        ("worker", Right),
        ("placement", Left),
        ("core", Right),
        ("instructions", Left),
        ("wrong", Right),
        ("rate", Right),
        ("95 % interval", Left),
    ]);
    for burner in burners {
        for mismatch in &burner.mismatches {
            found.row(found_row(&burner.phase, mismatch));
            for rerun in &mismatch.reruns {
                again.row(rerun_row(mismatch.worker, rerun));
            }
        }
    }
    document.section("Wrong results", found);
    document.section("Wrong results, computed again", again);
}

fn found_row(phase: &str, found: &Mismatch) -> [String; 16] {
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let hottest = found.temperatures.iter().map(|reading| reading.celsius).max_by(f64::total_cmp);
    let computed = [&found.kernel, &found.isa, &found.precision].map(String::as_str);
    [
        phase.to_owned(),
        found.worker.to_string(),
        found.core.to_string(),
        number(found.package_id),
        found.microcode.clone(),
        found.frequency_khz.map(|khz| format!("{} MHz", khz / 1_000)).unwrap_or_default(),
        hottest.map(|celsius| format!("{celsius:.1} °C")).unwrap_or_default(),
        computed.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", "),
        found.seed.to_string(),
        found.unit.to_string(),
        found.word.to_string(),
        format!("{:016x}", found.expected),
        format!("{:016x}", found.got),
        format!("{:016x}", found.xor),
        format!("{} in {} words", found.wrong_bits, found.wrong_words),
        if found.injected { "injected".into() } else { String::new() },
    ]
}

fn rerun_row(worker: u32, rerun: &Rerun) -> [String; 7] {
    let placement = rerun.placement.replace('_', " ");
    if !rerun.not_done.is_empty() {
        let mut row = <[String; 7]>::default();
        (row[0], row[1], row[6]) = (worker.to_string(), placement, rerun.not_done.clone());
        return row;
    }
    let percent = |rate: f64| format!("{:.4} %", rate * 100.0);
    let interval = rerun.rate_low.zip(rerun.rate_high);
    [
        worker.to_string(),
        placement,
        rerun.core.map(|core| core.to_string()).unwrap_or_default(),
        rerun.isa.clone(),
        format!("{} of {}", rerun.mismatches, rerun.units),
        rerun.rate.map(percent).unwrap_or_default(),
        interval.map(|(low, high)| format!("{} to {}", percent(low), percent(high))).unwrap_or_default(),
    ]
}
