//! What a core computes.

use ssts_tests::{Ctl, Daemon, Ground};

use crate::{
    ROUNDS,
    measure::{number, result_of},
    table::{Figure, Pair, Table},
};

/// Double-precision operations a second of CPU time. stress-ng counts none of fused multiply-adds.
pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    let mut pair = Pair::default();
    let daemon = Daemon::start(ground);
    for _ in 0..ROUNDS {
        let running = Ctl::new(ground).words("--output json burn cpu --cores 0 --duration 2s").spawn();
        let burner = result_of(running);
        let seconds = number(&burner["burning_s"]) * number(&burner["achieved_load"]["mean"]) / 100.0;
        pair.ours.push(number(&burner["flops"]) / seconds / 1e9);
    }
    drop(daemon);
    pair.note = Some("no peer counts them".into());
    table.add_figure(Figure {
        more_is_better: true,
        ..Figure::new("fused multiply-adds, one core", "GFLOP/s", "", pair)
    });
}
