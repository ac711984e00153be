//! The faults, each put to a private agent of its own.

use std::{fs, io, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ssts_proto::v1::{Cause, EventKind, HaltRequest, Run, StopRequest};

use super::{
    Drilled, Fault, REACTION, Seen, process,
    stage::{Burning, Load, Moment, Stage},
    state_disk,
};
use crate::{
    error::{Exit, Failure},
    status,
};

/// Until the guards have seen the sensors of a run.
const SETTLE_TICKS: u32 = 4;
/// Of error counters: they are read once a second.
const COUNTED_EVERY: Duration = Duration::from_secs(1);
/// From the first instruction of a load to its wrong result.
const WRONG_AFTER: Duration = Duration::from_millis(300);
/// The shortest lease that an agent grants.
const LEASE: Duration = Duration::from_secs(1);
/// How much of the burner's memory its cgroup leaves it.
const STARVED_BYTES: &str = "65536";
/// Burners look at their deadline so often at least.
const DEADLINE_LOOK: Duration = Duration::from_millis(100);

/// What an event of any end is.
const ENDS: [EventKind; 2] = [EventKind::GuardTripped, EventKind::RunStopping];

pub(super) async fn put(fault: Fault, show_log: bool) -> Result<Drilled, Failure> {
    if fault == Fault::FullStateDisk {
        return state_disk::fill(show_log).await;
    }
    let mut stage = Stage::open(false, show_log).await?;
    let seen = match fault {
        Fault::Temperature => temperature(&mut stage).await,
        Fault::StaleSensor => stale_sensor(&mut stage).await,
        Fault::EccError => ecc_error(&mut stage).await,
        Fault::WrongResult => wrong_result(&mut stage).await,
        Fault::OutOfMemory => out_of_memory(&mut stage).await,
        Fault::LostLease => lost_lease(&mut stage).await,
        Fault::Halt => halt(&mut stage).await,
        Fault::KilledDaemon => killed_daemon(&mut stage).await,
        Fault::HungDaemon => hung_daemon(&mut stage).await,
        // The caller has dealt with those.
        Fault::FullStateDisk | Fault::HostLease | Fault::HostHalt => Ok(Seen::default()),
    };
    stage.close().await;
    seen.map(|seen| Drilled::Seen(Box::new(seen)))
}

fn cause(run: &Run) -> Cause {
    run.summary.as_ref().map_or(Cause::Unspecified, ssts_proto::v1::RunSummary::cause)
}

fn made(done: io::Result<()>) -> Result<(), Failure> {
    done.map_err(|error| Failure::new(Exit::Internal, format!("the fault could not be made: {error}"), ""))
}

/// A load whose guards have seen the sensors.
async fn settled(stage: &mut Stage) -> Result<Burning, Failure> {
    let burning = stage.burn(Load::default(), None).await?;
    tokio::time::sleep(stage.promise.tick * SETTLE_TICKS).await;
    Ok(burning)
}

async fn temperature(stage: &mut Stage) -> Result<Seen, Failure> {
    let burning = settled(stage).await?;
    let hot = stage.promise.max_celsius + 10.0;
    let mut seen = Seen::new(format!("a sensor of the drill's own read {hot} °C"));
    let moment = Moment::now();
    made(stage.sysfs.set_celsius(hot))?;
    let run = stage.see_the_end(&burning, moment, &mut seen).await?;
    seen.noticed = moment.until_event(&run, &ENDS);
    // Sensors are read twice a tick.
    let promised = stage.promise.tick + stage.promise.tick / 2 + REACTION;
    seen.must_be_noticed_within(promised);
    seen.must_be_quiet_within(promised);
    seen.must_have_cause(cause(&run), &[Cause::GuardTripped]);
    Ok(seen)
}

async fn stale_sensor(stage: &mut Stage) -> Result<Seen, Failure> {
    let burning = settled(stage).await?;
    let mut seen = Seen::new("a sensor of the drill's own was taken away");
    let moment = Moment::now();
    made(stage.sysfs.remove_sensor())?;
    let run = stage.see_the_end(&burning, moment, &mut seen).await?;
    seen.noticed = moment.until_event(&run, &ENDS);
    let promised = stage.promise.stale_after + stage.promise.tick * 2 + REACTION;
    seen.must_be_noticed_within(promised);
    seen.must_be_quiet_within(promised);
    seen.must_have_cause(cause(&run), &[Cause::GuardTripped]);
    Ok(seen)
}

/// It must be noticed. Whether it ends the run is the configuration's to say; where it doesn't, the drill ends it.
async fn ecc_error(stage: &mut Stage) -> Result<Seen, Failure> {
    let burning = stage.burn(Load::default(), None).await?;
    // The first reading is what later ones are compared with.
    tokio::time::sleep(2 * COUNTED_EVERY).await;
    let mut seen =
        Seen::new("a memory controller of the drill's own counted an error that it could not correct");
    let moment = Moment::now();
    made(stage.sysfs.count_errors("ue_count", 1))?;
    let promised = COUNTED_EVERY + stage.promise.tick * 2;
    let noted = stage.event_of(&burning.run_id, EventKind::HardwareError, promised * 3).await?;
    let gone = || !burning.burners.iter().any(process::Process::is_alive);
    let by_itself = process::within(stage.promise.tick * 2 + REACTION, gone).await.is_some();
    if by_itself {
        seen.quiet = Some(moment.elapsed());
    } else {
        let request = StopRequest { run_id: burning.run_id.clone(), reason: "the drill is over".into() };
        stage.client.stop(request).await.map_err(|status| status::failure(&status))?;
    }
    let run = stage.record(&burning.run_id).await?;
    stage.see_the_rest(&burning, &run, &mut seen);
    seen.noticed = moment.until_event(&run, &[EventKind::HardwareError]);
    if noted {
        seen.must_be_noticed_within(promised);
    } else {
        seen.complain("no event tells of it");
    }
    let wanted = if by_itself { Cause::GuardTripped } else { Cause::StoppedByUser };
    seen.must_have_cause(cause(&run), &[wanted]);
    if !by_itself {
        seen.record = format!("{} (noted, no guard stops a run for it)", seen.record);
    }
    Ok(seen)
}

async fn wrong_result(stage: &mut Stage) -> Result<Seen, Failure> {
    let load = Load { wrong_result_after: Some(WRONG_AFTER), ..Load::default() };
    let burning = stage.burn(load, None).await?;
    let mut seen = Seen::new("the burner flipped a bit of one of its own results");
    let began = Moment::now();
    stage.see_quiet(&burning, began, &mut seen).await;
    let gone = Moment::now();
    let run = stage.record(&burning.run_id).await?;
    stage.see_the_rest(&burning, &run, &mut seen);
    // The fault came so long after the load began.
    let started = run.events.iter().find(|event| event.kind() == EventKind::PhaseStarted);
    if let Some(started) = started {
        let fault = gone.at(started.at_unix_ns).later(WRONG_AFTER);
        seen.noticed = fault.until_event(&run, &ENDS);
        seen.quiet = seen.quiet.map(|_| fault.until(gone));
    }
    // It is tried again on other cores, to tell a bad core from a bad program, before the burner ends.
    let promised = Duration::from_secs(2);
    seen.must_be_noticed_within(promised);
    seen.must_be_quiet_within(promised);
    seen.must_have_cause(cause(&run), &[Cause::WrongData]);
    if run.burners.iter().all(|burner| burner.mismatches.is_empty()) {
        seen.complain("the record does not tell which core it was");
    }
    Ok(seen)
}

async fn out_of_memory(stage: &mut Stage) -> Result<Seen, Failure> {
    let burning = settled(stage).await?;
    let [burner] = burning.burners[..] else {
        return Err(Failure::new(Exit::Internal, "there should be one burner", ""));
    };
    let limit = burner.cgroup().map(|folder| folder.join("memory.max")).filter(|limit| limit.exists());
    let moment = Moment::now();
    // The write returns when the kernel has made it so, by killing.
    let starved = limit.map(|limit| std::thread::spawn(move || fs::write(limit, STARVED_BYTES)));
    let by_kernel = starved.is_some();
    let mut seen = Seen::new(if by_kernel {
        "the run's own cgroup was left 64 KiB of memory, and the kernel's OOM killer did the rest"
    } else {
        let pid = Pid::from_raw(burner.pid);
        made(kill(pid, Signal::SIGKILL).map_err(Into::into))?;
        "the burner got SIGKILL, as the OOM killer sends it: the run's cgroup has no memory controller"
    });
    let run = stage.see_the_end(&burning, moment, &mut seen).await?;
    if let Some(Err(error)) = starved.and_then(|writing| writing.join().ok()) {
        seen.how = format!("{}; writing its limit said: {error}", seen.how);
    }
    seen.noticed = moment.until_event(&run, &ENDS);
    let promised = if by_kernel { Duration::from_secs(2) } else { REACTION };
    seen.must_be_noticed_within(promised);
    seen.must_be_quiet_within(promised);
    let wanted: &[Cause] =
        if by_kernel { &[Cause::OutOfMemory] } else { &[Cause::BurnerDied, Cause::OutOfMemory] };
    seen.must_have_cause(cause(&run), wanted);
    Ok(seen)
}

async fn lost_lease(stage: &mut Stage) -> Result<Seen, Failure> {
    let mut seen = Seen::new("a lease of one second that nobody renewed; times are from its end");
    let run_id = stage.start(Load::default(), Some(LEASE)).await?;
    let end = Moment::now().later(LEASE);
    let burners = process::burning(stage.pid(), LEASE).await;
    let burning = Burning { run_id, burners };
    stage.see_quiet(&burning, Moment::now(), &mut seen).await;
    seen.quiet = seen.quiet.map(|_| end.elapsed());
    let run = stage.record(&burning.run_id).await?;
    stage.see_the_rest(&burning, &run, &mut seen);
    // The lease began a moment before it was answered.
    seen.noticed = end
        .earlier(REACTION * 4)
        .until_event(&run, &ENDS)
        .map(|noticed| noticed.saturating_sub(REACTION * 4));
    let promised = stage.promise.tick * 2 + REACTION;
    seen.must_be_noticed_within(promised);
    seen.must_be_quiet_within(promised);
    seen.must_have_cause(cause(&run), &[Cause::LeaseExpired]);
    Ok(seen)
}

async fn halt(stage: &mut Stage) -> Result<Seen, Failure> {
    let burning = settled(stage).await?;
    let mut seen = Seen::new("the private agent was told to halt");
    let moment = Moment::now();
    let request = HaltRequest { reason: "a drill".into(), clear: false };
    let (answer, ()) = tokio::join!(
        {
            let mut client = stage.client.clone();
            async move { client.halt(request).await }
        },
        stage.see_quiet(&burning, moment, &mut seen)
    );
    answer.map_err(|status| status::failure(&status))?;
    let run = stage.record(&burning.run_id).await?;
    stage.see_the_rest(&burning, &run, &mut seen);
    seen.noticed = moment.until_event(&run, &ENDS);
    seen.must_be_noticed_within(REACTION);
    seen.must_be_quiet_within(REACTION);
    seen.must_have_cause(cause(&run), &[Cause::Halted]);
    if stage.start(Load::default(), None).await.is_ok() {
        seen.complain("a run started while the agent was halted");
    }
    let clear = HaltRequest { reason: String::new(), clear: true };
    stage.client.halt(clear).await.map_err(|status| status::failure(&status))?;
    Ok(seen)
}

async fn killed_daemon(stage: &mut Stage) -> Result<Seen, Failure> {
    let burning = settled(stage).await?;
    let mut seen =
        Seen::new("SIGKILL to the private agent; what it left was looked for when the next one had started");
    let killed = stage.pid();
    let moment = Moment::now();
    stage.signal(Signal::SIGKILL);
    stage.see_quiet(&burning, moment, &mut seen).await;
    stage.start_anew().await?;
    let run = stage.record(&burning.run_id).await?;
    stage.see_the_rest(&burning, &run, &mut seen);
    // The next one sweeps up what the killed one could not.
    let left = process::leftovers(killed, &burning.burners);
    if !left.is_empty() {
        seen.receipt = left.join(", ");
        seen.complain(format!("left by the killed daemon: {}", left.join(", ")));
    }
    seen.must_be_quiet_within(REACTION);
    seen.must_have_cause(cause(&run), &[Cause::AgentLost]);
    Ok(seen)
}

async fn hung_daemon(stage: &mut Stage) -> Result<Seen, Failure> {
    let burning = settled(stage).await?;
    let mut seen = Seen::new("SIGSTOP to the private agent; its burners had to end by themselves");
    let moment = Moment::now();
    stage.signal(Signal::SIGSTOP);
    stage.see_quiet(&burning, moment, &mut seen).await;
    stage.signal(Signal::SIGCONT);
    let run = stage.record(&burning.run_id).await?;
    stage.see_the_rest(&burning, &run, &mut seen);
    seen.must_be_quiet_within(stage.promise.deadline + DEADLINE_LOOK);
    seen.must_have_cause(cause(&run), &[Cause::AgentLost]);
    Ok(seen)
}
