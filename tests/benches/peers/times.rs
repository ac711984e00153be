//! How long starting and ending take.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use ssts_tests::{Ctl, Daemon, Ground, outside::Process};

use crate::{
    BURNS, ROUNDS,
    measure::{SURVIVAL, since},
    peer::StressNg,
    table::{Pair, Table},
};

pub(crate) fn rows(ground: &Ground, table: &mut Table) {
    start_and_stop(ground, table);
    killed(ground, table);
}

/// From the command to two workers that burn, and from the stop to silence.
fn start_and_stop(ground: &Ground, table: &mut Table) {
    let (mut start, mut stop) = (Pair::default(), Pair::default());
    let daemon = Daemon::start(ground);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let running = Ctl::new(ground).words("burn cpu --duration 1m").spawn();
        let workers = || {
            daemon
                .burners()
                .iter()
                .flat_map(Process::workers)
                .filter_map(|worker| worker.cpu_time())
                .filter(|time| *time > BURNS)
                .count()
        };
        start.ours.extend(since(begin, || workers() >= 2));
        let burners = daemon.burners();
        thread::sleep(Duration::from_millis(500));
        let begin = Instant::now();
        let stopping = Ctl::new(ground).words("stop").spawn();
        stop.ours.extend(since(begin, || !burners.iter().any(Process::is_alive)));
        stopping.outcome();
        running.outcome();

        let begin = Instant::now();
        let Some(mut stress_ng) = StressNg::spawn(&["--cpu", "2"]) else { continue };
        start.peer.extend(since(begin, || stress_ng.burning_now() >= 2));
        let all = stress_ng.all();
        thread::sleep(Duration::from_millis(500));
        let begin = Instant::now();
        stress_ng.signal(Signal::SIGINT);
        stop.peer.extend(since(begin, || stress_ng.reap() && !all.iter().any(Process::is_alive)));
    }
    table.add("command to two burning workers", "ms", "stress-ng", start);
    table.add("stop to the last one gone", "ms", "stress-ng", stop);
}

/// `kill -9` of whoever is in charge: until the last of its burners is gone.
fn killed(ground: &Ground, table: &mut Table) {
    let mut pair = Pair::default();
    for _ in 0..ROUNDS {
        let mut daemon = Daemon::start(ground);
        Ctl::new(ground).words("burn cpu --duration 1m --detach").run().assert_status(0);
        let burners = daemon.burning(1);
        let begin = Instant::now();
        daemon.signal(Signal::SIGKILL);
        pair.ours.extend(since(begin, || !burners.iter().any(Process::is_alive)));
        daemon.wait(SURVIVAL);

        let Some(mut stress_ng) = StressNg::spawn(&["--cpu", "2"]) else { continue };
        let burners = stress_ng.burning(2);
        let begin = Instant::now();
        stress_ng.signal(Signal::SIGKILL);
        let gone = since(begin, || stress_ng.reap() && !burners.iter().any(Process::is_alive));
        pair.note = gone.is_none().then(|| "some survive: counted as 3,000 ms".to_owned()).or(pair.note);
        pair.peer.push(gone.unwrap_or(SURVIVAL.as_secs_f64() * 1e3));
        burners.iter().for_each(Process::kill);
    }
    table.add("kill -9 to the last burner gone", "ms", "stress-ng", pair);
}
