//! What a core computes: floating-point operations a second of CPU time, beside bare loops that do nothing else.

use ssts_tests::{Ctl, Daemon, Ground};

use crate::{
    ROUNDS,
    limit::{self, Mix, Precision},
    measure::{number, result_of},
    peer,
    table::{Figure, Pair, Table},
};

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let daemon = Daemon::start(ground);
    let two = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    for (name, words, cores, precision, mixes, bar) in [
        ("fma, double, one core", "--kernel fma", 1, Precision::Double, &[Mix::MultiplyAdds][..], 0.98),
        (
            "fma, single, one core",
            "--kernel fma --precision single",
            1,
            Precision::Single,
            &[Mix::MultiplyAdds],
            0.98,
        ),
        ("power, double, one core", "--kernel power", 1, Precision::Double, &BOTH, 0.95),
        ("power, single, one core", "--kernel power --precision single", 1, Precision::Single, &BOTH, 0.95),
        ("power, double, two cores", "--kernel power", 2, Precision::Double, &BOTH, 0.95),
        ("power, single, two cores", "--kernel power --precision single", 2, Precision::Single, &BOTH, 0.95),
        ("matrix, double, one core", "--kernel matrix", 1, Precision::Double, &[Mix::MultiplyAdds], 0.8),
    ] {
        if cores == 1 || two {
            against_limit(ground, table, name, words, cores, precision, mixes, bar);
        }
    }
    drop(daemon);
    against_peers(ground, table);
}

/// The limit is whichever does more: that depends on the pipes that a core has.
const BOTH: [Mix; 2] = [Mix::MultiplyAdds, Mix::WithAdditions];

/// A core's count beside a bare loop's.
#[expect(clippy::too_many_arguments, reason = "one row of the table above, by column")]
fn against_limit(
    ground: &Ground,
    table: &mut Table,
    name: &'static str,
    words: &str,
    cores: usize,
    precision: Precision,
    mixes: &[Mix],
    bar: f64,
) {
    let mut pair = Pair::default();
    let numbers: Vec<usize> = (0..cores).collect();
    for _ in 0..ROUNDS {
        pair.ours.push(gflops(ground, words, cores));
        let limits = mixes.iter().filter_map(|mix| limit::gflops(&numbers, precision, *mix));
        pair.peer.extend(limits.max_by(f64::total_cmp));
    }
    let figure = Figure::new(name, "GFLOP/s", "bare loop", pair);
    table.add_figure(Figure { more_is_better: true, bar: Some(bar), ..figure });
}

/// Ours, all cores together.
fn gflops(ground: &Ground, words: &str, cores: usize) -> f64 {
    let list = if cores == 1 { "0" } else { "0,1" };
    let line = format!("--output json burn cpu --cores {list} {words} --duration 2s");
    let burner = result_of(Ctl::new(ground).words(&line).spawn());
    let seconds = number(&burner["burning_s"]) * number(&burner["achieved_load"]["mean"]) / 100.0;
    number(&burner["flops"]) / seconds / 1e9
}

/// Matrix products: stress-ng multiplies 72 x 72 numbers of the x87 unit in a bogo operation.
fn against_peers(ground: &Ground, table: &mut Table) {
    const STRESS_NG_FLOPS: f64 = 2.0 * 72.0 * 72.0 * 72.0;

    let mut pair = Pair::default();
    let daemon = Daemon::start(ground);
    for _ in 0..ROUNDS {
        pair.ours.push(gflops(ground, "--kernel matrix", 1));
        pair.peer.extend(peer::bogo_per_cpu_s("matrixprod").map(|rate| rate * STRESS_NG_FLOPS / 1e9));
    }
    drop(daemon);
    pair.note = Some("stress-ng's by 2·72³ a bogo operation".into());
    let figure = Figure::new("matrix product, one core", "GFLOP/s", "stress-ng", pair);
    table.add_figure(Figure { more_is_better: true, ..figure });
}
