//! What the daemon does, in a line for `systemctl status`.

use std::{sync::Arc, time::Duration};

use ssts_proto::v1::{ProbeStatus, RunState};

use super::Notify;
use crate::{
    observe::{probes::StatusBoard, ring::FrameRing},
    run::Engine,
};

/// How often the line may change.
const EVERY: Duration = Duration::from_secs(1);

/// Says READY once the tick has ticked, so that probes are loaded, guards have looked and burners would be kept alive; and
/// from then on what the daemon does. Without a service manager it ends at once.
pub async fn narrate(notify: Notify, ring: Arc<FrameRing>, engine: Arc<Engine>, probes: StatusBoard) {
    if !notify.is_heard() {
        return;
    }
    let ticked = ring.subscribe().wait_for(|frames| *frames > 0).await.is_ok();
    if !ticked {
        return;
    }
    let mut told = line(&engine, &probes.snapshot());
    notify.ready(&told);
    loop {
        tokio::time::sleep(EVERY).await;
        let now = line(&engine, &probes.snapshot());
        if now != told {
            notify.status(&now);
            told = now;
        }
    }
}

fn line(engine: &Engine, probes: &[ProbeStatus]) -> String {
    let does = match (engine.halt_state(), &engine.on()[..]) {
        (Some(halt), _) => format!("halted by {}: {}", halt.by, halt.reason),
        (None, [run]) => {
            let summary = run.summary();
            let state = RunState::try_from(summary.state).unwrap_or_default().as_str_name();
            let state = state.trim_start_matches("RUN_STATE_").to_ascii_lowercase();
            format!("run {} of scenario {}: {state}", summary.run_id, summary.scenario)
        }
        (None, []) => "idle".into(),
        (None, several) => format!("{} runs", several.len()),
    };
    format!("{does}; {}", watching(probes))
}

fn watching(probes: &[ProbeStatus]) -> String {
    let silent: Vec<_> = probes.iter().filter(|probe| !probe.working).map(|probe| &*probe.name).collect();
    match &silent[..] {
        [] if probes.is_empty() => "no probes".into(),
        [] => format!("all {} probes work", probes.len()),
        names => format!("without probes {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_the_probes_that_do_not_work() {
        let probe =
            |name: &str, working| ProbeStatus { name: name.into(), working, ..ProbeStatus::default() };
        assert_eq!(watching(&[]), "no probes");
        assert_eq!(watching(&[probe("block", true), probe("tcp", true)]), "all 2 probes work");
        assert_eq!(watching(&[probe("block", false), probe("tcp", true)]), "without probes block");
    }
}
