//! `sstsd serve`: puts the parts together and runs until it is told to stop.

use std::{
    fs,
    io::{self, IsTerminal as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::{prctl, signal::Signal as SignalNumber},
    unistd::{Pid, getppid},
};
use ssts_agent::{
    audit::Audit,
    config::{Config, LogConfig, LogFormat, ProtectConfig},
    exposition::{Exposed, Exposition, Tally},
    halt::{self, HaltLook, HaltSignal},
    heap,
    host::{self, HostRoots},
    locked::{self, LockedMemory},
    log::LogLines,
    observe::{
        burners::Burners,
        file_systems,
        kernel_log::KernelLog,
        own::{Own, TickCost},
        probes::{self, Budget, ProbeSettings, Probes},
        procfs, protected,
        ring::FrameRing,
        source::Source,
        sysfs,
        wall_clock::WallClock,
    },
    privileges::{self, Duty},
    realtime,
    record::{FLIGHT, Flight, Recorder, Shelf},
    rpc::{self, Address, AgentService, Allowed, Audited, Inventory, Listener, Rights, Tls},
    run::{AGENT_STOPPED, Engine, KernelMessages},
    sink::Keeper,
    systemd::{self, Inherited, Notify, Watchdog},
    tick::{Tick, TickThread},
};
use ssts_proto::v1;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::{Failure, answer, cli::Serve, configuration};

/// How long callers have to go once the service is told to stop.
const GOODBYE: Duration = Duration::from_millis(500);
/// A second signal before that is taken for the first one's echo.
const INSISTS_AFTER: Duration = Duration::from_secs(1);

/// Runs the daemon. Everything that can be wrong with what the user wrote is told before a socket opens.
pub(crate) fn serve(args: Serve) -> Result<ExitCode, Failure> {
    if let Some(parent) = args.die_with_parent {
        follow(parent)?;
    }
    let mut config = configuration(&args.common)?;
    config.log.filter = args.log.unwrap_or(config.log.filter);
    config.log.format = args.log_format.unwrap_or(config.log.format);
    if !args.listen.is_empty() {
        config.listen = args.listen;
    }
    if args.die_with_parent.is_some() {
        // It is there for one command, beside the host's own, which has the port.
        config.metrics.listen.clear();
        config.metrics.otlp.endpoint = None;
        config.tls.listen.clear();
    }
    // Before there are other threads: what says so leaves the environment.
    let sockets = Inherited::from_environment()?;
    let addresses = addresses(&config, sockets.is_empty())?;
    rpc::check_tls(&config.tls)?;
    // Each of them would have to block it.
    let no_signal = |source| Failure::Io { what: "SIGUSR1 can't be listened for", source };
    let halt_signal = HaltSignal::take_over().map_err(no_signal)?;
    privileges::remember();
    let lines = log(&config.log)?;
    be_the_last_to_go();
    let told = Told { sockets, notify: Notify::from_environment() };
    let mounts = !config.limits.mountable_devices.is_empty();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("rpc")
        .on_thread_start(move || {
            realtime::wake_soon();
            settle(Duty::Answer, mounts);
        })
        .enable_all()
        .build()
        .map_err(|source| Failure::Io { what: "the runtime could not be started", source })?;
    let ended = runtime.block_on(daemon(config, &addresses, told, halt_signal));
    lines.flush();
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// How the configuration wants probes.
pub(crate) fn probe_settings(config: &Config) -> ProbeSettings {
    let observe = &config.observe;
    let budget = Budget {
        core_share: observe.probe_budget_core_percent / 100.0,
        host_share: observe.probe_budget_host_percent / 100.0,
    };
    ProbeSettings { enabled: observe.probes, hooks: observe.hooks, budget, ..ProbeSettings::default() }
}

fn protected_units(config: &Config) -> Vec<String> {
    config.protect.iter().map(|one| one.unit.clone()).collect()
}

/// All that it has from now on stays in RAM, where that can be had.
fn lock_memory() -> LockedMemory {
    let locked = locked::lock();
    if let LockedMemory::Nothing { reason } = &locked {
        warn!(
            reason,
            "memory is not locked: where the host runs short of it, a guard's reaction may wait for a disk"
        );
    }
    locked
}

async fn daemon(
    config: Config,
    addresses: &[Address],
    told: Told,
    halt_signal: HaltSignal,
) -> Result<(), Failure> {
    let Told { sockets, notify } = told;
    let roots = HostRoots::from(config.roots.clone());
    host::make_room(&roots);
    host::sweep(&roots);
    let state_dir = config.state_dir.clone().unwrap_or_default();
    let Probes { sources: probe_sources, statuses, watch } =
        probes::load_watching(&roots, &probe_settings(&config), &protected_units(&config));
    // In this order: what is locked can't be given back.
    heap::give_back();
    let locked = lock_memory();
    let inventory =
        Inventory { roots: roots.clone(), probes: statuses.clone(), state_dir: state_dir.clone(), locked };
    let describe = Box::new(inventory.clone());
    let ring = Arc::new(FrameRing::default());
    let shelf = Arc::new(Shelf::new(state_dir.join("runs"), config.record.max_total_bytes));
    let flight_bytes = usize::try_from(config.record.flight_bytes).unwrap_or(usize::MAX);
    let flight = Arc::new(Flight::new(flight_bytes, FLIGHT));
    let (recorder, recording) =
        Recorder::start(config.record.settings(), ring.clone(), shelf.clone(), flight.clone())
            .map_err(|source| Failure::Io { what: "the recorder could not be started", source })?;
    let tally = Arc::new(Tally::default());
    let halt_file = halt_file(&config, addresses);
    let engine = Engine::open(
        roots.clone(),
        config.limits.clone(),
        config.burners.clone(),
        config.network.allowed_peers.clone(),
        describe,
        &state_dir,
    )?
    .with_guards(&guards(&config), &state_dir)
    .with_burner_watch(watch)
    .with_halt_file(halt_file.clone())
    .with_http(config.http.clone())
    .with_policy(config.policy.clone())
    .with_herald(Box::new(recording.clone()))
    .with_herald(Box::new(tally.clone()));
    let engine = Arc::new(engine);
    // Only now: whoever finds the socket finds an agent that has its state folder to itself.
    let listeners = Listener::all(addresses, sockets)?;
    let plan = config.sink_plan(&host::cpuset::allowed_cores().unwrap_or_default());
    let sink = plan.map(|plan| Keeper::start(plan, config.burners.deadline, engine.clone())).transpose()?;
    let watchdog = Watchdog::from_environment(&notify);
    let audit = Audit::open(&state_dir, config.audit);
    let (halts, halt_watch) = halt::watch(&engine, halt_file.as_deref(), halt_signal, audit.clone())
        .map_err(|source| Failure::Io { what: "halts can't be watched for", source })?;
    let tick = start_tick(&config, &roots, engine.clone(), ring.clone(), probe_sources, (watchdog, halts))?;
    let exposed = Exposed {
        ring: ring.clone(),
        engine: engine.clone(),
        tally,
        flight: flight.clone(),
        recording: recording.clone(),
    };
    let exposition = Exposition::start(&config.metrics, exposed)?;
    let service = AgentService {
        engine: engine.clone(),
        ring: ring.clone(),
        flight,
        shelf,
        recording,
        inventory,
        allowed: Allowed::by(&config),
        tick: config.tick(),
    };
    let service = Audited::new(service, audit.clone());
    let rights =
        Rights::new(config.policy.rules()?).with_rate(config.tls.max_calls_per_s).with_audit(audit.clone());
    let over_tls = Tls::listen(&config.tls, audit)?;
    // Before anything can be started: a signal that nobody listens for ends the process as it is.
    let mut signals = Signals::listen()?;
    let (stop, stopped) = watch::channel(false);
    let here = listeners.into_iter().map(|listener| {
        tokio::spawn(answer::on_socket(service.clone(), rights.clone(), listener, stopped.clone()))
    });
    let there = over_tls.into_iter().map(|listener| {
        let answering =
            answer::over_tls(service.clone(), rights.clone(), listener, config.tls.clone(), stopped.clone());
        tokio::spawn(answering)
    });
    let serving: Vec<_> = here.chain(there).collect();
    let narration = tokio::spawn(systemd::narrate(notify.clone(), ring, engine.clone(), statuses));
    settle(Duty::Wait, false);
    signals.next().await;
    narration.abort();
    notify.stopping();
    engine.close();
    let stopped_runs = engine.stop_all(v1::Cause::AgentStopped, AGENT_STOPPED);
    let stopped_runs = engine.with_latecomers(stopped_runs);
    if !stopped_runs.is_empty() {
        tokio::select! {
            () = rpc::wait_until_all_finished(&stopped_runs) => {}
            // A burner hangs in the kernel and somebody insists: the kernel ends it with this process.
            () = signals.insisted() => warn!("told to stop again: not waiting for the end of what is on"),
        }
    }
    let _all_gone = stop.send(true);
    for task in serving {
        // Callers who stay are left to the end of the process.
        if let Ok(Ok(outcome)) = tokio::time::timeout(GOODBYE, task).await {
            outcome?;
        }
    }
    drop(exposition);
    drop(sink);
    drop(tick);
    drop(halt_watch);
    drop(recorder);
    info!("stopped");
    Ok(())
}

/// As configured, else beside the first socket. In a folder where everybody may make files it would be everybody's to halt.
fn halt_file(config: &Config, addresses: &[Address]) -> Option<PathBuf> {
    if let Some(path) = &config.halt_file {
        return Some(path.clone()).filter(|path| !path.as_os_str().is_empty());
    }
    let default = Address::default_of_user();
    // A socket that was handed over has no address here.
    let folder = addresses.first().unwrap_or(&default).folder()?;
    let is_everybodys = fs::metadata(folder).is_ok_and(|folder| folder.permissions().mode() & 0o002 != 0);
    if is_everybodys {
        info!(folder = %folder.display(), "no file halts this host: everybody may write to the socket's folder");
        return None;
    }
    Some(folder.join("halt"))
}

/// Should memory run out, burners and others go before the daemon: proc_pid_oom_score_adj(5). It takes CAP_SYS_RESOURCE.
fn be_the_last_to_go() {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "-900") {
        info!(%error, "the OOM killer is not kept from sstsd");
    }
}

/// Those of the configuration, which was checked when it was read.
pub(crate) fn guards(config: &Config) -> Vec<v1::Guard> {
    let objectives = config.protect.iter().flat_map(ProtectConfig::guards);
    config.guards.iter().filter_map(|guard| guard.message().ok()).chain(objectives).collect()
}

fn start_tick(
    config: &Config,
    roots: &HostRoots,
    engine: Arc<Engine>,
    ring: Arc<FrameRing>,
    probe_sources: Vec<Box<dyn Source>>,
    (watchdog, halts): (Option<Watchdog>, HaltLook),
) -> Result<TickThread, Failure> {
    let cost = Arc::new(TickCost::default());
    let no_tick = |source| Failure::Io { what: "the tick could not be started", source };
    let mut sources = procfs::sources(roots, &config.observe.cgroups);
    sources.extend(sysfs::sources(roots, config.tick(), config.limits.stale_after).map_err(no_tick)?);
    sources.push(file_systems::source(engine.watched_folders()).map_err(no_tick)?);
    sources.push(Box::new(WallClock::default()));
    sources.push(Box::new(KernelLog::start(roots, Box::new(KernelMessages::new(engine.clone())))));
    sources.extend(protected::sources(roots, &config.protect).map_err(no_tick)?);
    sources.extend(probe_sources);
    sources.push(Box::new(Burners::new(engine.board())));
    sources.push(Box::new(Own::new(cost.clone())));
    Tick { period: config.tick(), sources, engine, ring, cost, watchdog, halts }.start().map_err(no_tick)
}

/// What the service manager tells by the environment.
struct Told {
    sockets: Inherited,
    notify: Notify,
}

/// Gives up capabilities; a daemon that keeps more than it needs is better than none.
fn settle(duty: Duty, mounts: bool) {
    if let Err(error) = privileges::settle(duty, mounts) {
        warn!(%error, "a thread keeps capabilities that it doesn't need");
    }
}

/// What ends the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|source| Failure::Io { what: "signals can't be listened for", source })
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Told again, and not by the same cause: the kernel tells a parent's death once for each of the parent's threads
    /// (`forget_original_parent` of kernel/exit.c), one after another.
    async fn insisted(&mut self) {
        let first = Instant::now();
        loop {
            self.next().await;
            if first.elapsed() >= INSISTS_AFTER {
                return;
            }
        }
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => info!("SIGTERM: stopping"),
            _ = self.interrupt.recv() => info!("SIGINT: stopping"),
        }
    }
}

/// Where to listen, as it is configured, and by default where nothing is and the service manager hands nothing over.
fn addresses(config: &Config, by_default: bool) -> Result<Vec<Address>, Failure> {
    if config.listen.is_empty() && by_default {
        return Ok(vec![Address::default_of_user()]);
    }
    Ok(config.listen.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

fn log(config: &LogConfig) -> Result<LogLines, Failure> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| Failure::Log(error.to_string()))?;
    let lines = LogLines::start(io::stderr())
        .map_err(|source| Failure::Io { what: "the log could not be started", source })?;
    let writer = lines.clone();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone());
    match config.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(lines)
}

/// Ends with the process that started this one for a single command.
fn follow(parent: i32) -> Result<(), Failure> {
    let failed = |source| Failure::Io { what: "the parent can't be followed", source };
    prctl::set_pdeathsig(SignalNumber::SIGTERM).map_err(|errno| failed(errno.into()))?;
    if getppid() == Pid::from_raw(parent) {
        return Ok(());
    }
    Err(failed(io::Error::other(format!("process {parent} is gone or not the parent"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_address_is_told_before_anything_opens() {
        let config = Config { listen: vec!["0.0.0.0:1".into()], ..Config::default() };
        assert!(addresses(&config, true).is_err());
        assert!(addresses(&config, false).is_err());
        assert_eq!(addresses(&Config::default(), true).unwrap(), [Address::default_of_user()]);
        assert_eq!(addresses(&Config::default(), false).unwrap(), []);
    }
}
