//! `sstsd serve`: puts the parts together and runs until it is told to stop.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::{prctl, signal::Signal as SignalNumber},
    unistd::{Pid, getppid},
};
use ssts_agent::{
    config::{Config, LogConfig, LogFormat},
    exposition::{Exposed, Exposition, Tally},
    heap,
    host::{self, HostRoots},
    observe::{
        burners::Burners,
        kernel_log::KernelLog,
        own::{Own, TickCost},
        probes::{self, Budget, ProbeSettings, Probes},
        procfs,
        ring::FrameRing,
        source::Source,
        sysfs,
    },
    realtime,
    record::{FLIGHT, Flight, Recorder, Shelf},
    rpc::{self, Accepted, Address, AgentService, Allowed, Inventory, Listener, Rights},
    run::{Ending, Engine, KernelMessages},
    sink::Keeper,
    tick::{Tick, TickThread},
};
use ssts_proto::{FILE_DESCRIPTOR_SET, v1, v1::agent_server::AgentServer};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tokio_stream::{StreamExt as _, wrappers::UnixListenerStream};
use tonic::transport::Server;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::{Failure, cli::Serve, configuration};

/// How long callers have to go once the service is told to stop.
const GOODBYE: Duration = Duration::from_millis(500);
/// A scenario of a thousand phases is some 100 KiB.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

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
    }
    let addresses = addresses(&config)?;
    log(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("rpc")
        .on_thread_start(realtime::wake_soon)
        .enable_all()
        .build()
        .map_err(|source| Failure::Io { what: "the runtime could not be started", source })?;
    runtime.block_on(daemon(config, &addresses))?;
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

async fn daemon(config: Config, addresses: &[Address]) -> Result<(), Failure> {
    let roots = HostRoots::from(config.roots.clone());
    host::sweep(&roots);
    let state_dir = config.state_dir.clone().unwrap_or_default();
    let Probes { sources: probe_sources, statuses, watch } = probes::load(&roots, &probe_settings(&config));
    heap::give_back();
    let inventory = Inventory { roots: roots.clone(), probes: statuses, state_dir: state_dir.clone() };
    let describe = Box::new(inventory.clone());
    let ring = Arc::new(FrameRing::default());
    let shelf = Arc::new(Shelf::new(state_dir.join("runs"), config.record.max_total_bytes));
    let flight_bytes = usize::try_from(config.record.flight_bytes).unwrap_or(usize::MAX);
    let flight = Arc::new(Flight::new(flight_bytes, FLIGHT));
    let (recorder, recording) =
        Recorder::start(config.record.settings(), ring.clone(), shelf.clone(), flight.clone())
            .map_err(|source| Failure::Io { what: "the recorder could not be started", source })?;
    let tally = Arc::new(Tally::default());
    let engine = Engine::open(
        roots.clone(),
        config.limits.clone(),
        config.burners.clone(),
        config.network.allowed_peers.clone(),
        describe,
        &state_dir,
    )?
    .with_burner_watch(watch)
    .with_http(config.http.clone())
    .with_policy(config.policy.clone())
    .with_herald(Box::new(recording.clone()))
    .with_herald(Box::new(tally.clone()));
    let engine = Arc::new(engine);
    // Only now: whoever finds the socket finds an agent that has its state folder to itself.
    let listeners = addresses.iter().map(Listener::bind).collect::<Result<Vec<_>, _>>()?;
    let plan = config.sink_plan(&host::cpuset::allowed_cores().unwrap_or_default());
    let sink = plan.map(|plan| Keeper::start(plan, config.burners.deadline, engine.clone())).transpose()?;
    let tick = start_tick(&config, &roots, engine.clone(), ring.clone(), probe_sources)?;
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
        ring,
        flight,
        shelf,
        recording,
        inventory,
        allowed: Allowed::by(&config),
        tick: config.tick(),
    };
    let rights = Rights::new(config.policy.rules()?);
    let (stop, stopped) = watch::channel(false);
    let serving: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::spawn(answer(service.clone(), rights.clone(), listener, stopped.clone())))
        .collect();
    let mut signals = Signals::listen()?;
    signals.next().await;
    engine.close();
    let stopped_runs = engine.stop_all(&Ending::new(v1::Cause::AgentStopped, "sstsd was told to stop"));
    if !stopped_runs.is_empty() {
        tokio::select! {
            () = rpc::wait_until_all_finished(&stopped_runs) => {}
            // A burner hangs in the kernel and somebody insists: the kernel ends it with this process.
            () = signals.next() => warn!("told to stop again: not waiting for the end of what is on"),
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
    drop(recorder);
    info!("stopped");
    Ok(())
}

fn start_tick(
    config: &Config,
    roots: &HostRoots,
    engine: Arc<Engine>,
    ring: Arc<FrameRing>,
    probe_sources: Vec<Box<dyn Source>>,
) -> Result<TickThread, Failure> {
    let cost = Arc::new(TickCost::default());
    let no_tick = |source| Failure::Io { what: "the tick could not be started", source };
    let mut sources = procfs::sources(roots, &config.observe.cgroups);
    sources.extend(sysfs::sources(roots, config.tick(), config.limits.stale_after).map_err(no_tick)?);
    sources.push(Box::new(KernelLog::start(roots, Box::new(KernelMessages::new(engine.clone())))));
    sources.extend(probe_sources);
    sources.push(Box::new(Burners::new(engine.board())));
    sources.push(Box::new(Own::new(cost.clone())));
    Tick { period: config.tick(), sources, engine, ring, cost }.start().map_err(no_tick)
}

/// Answers on one socket until told to stop.
async fn answer(
    service: AgentService,
    rights: Rights,
    mut listener: Listener,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let Some(socket) = listener.take() else { return Ok(()) };
    let (health, health_service) = tonic_health::server::health_reporter();
    let agent = AgentServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES);
    health.set_serving::<AgentServer<AgentService>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut server = Server::builder().layer(rights).add_service(health_service).add_service(agent);
    // Both versions: older clients ask for v1alpha. The descriptors are compiled in, so building can't fail.
    if let (Ok(v1), Ok(v1alpha)) = (reflection().build_v1(), reflection().build_v1alpha()) {
        server = server.add_service(v1).add_service(v1alpha);
    }
    let told_to_stop = async move {
        let _sender_gone = stopped.wait_for(|stopped| *stopped).await;
    };
    let accepted = UnixListenerStream::new(socket).map(|stream| stream.map(Accepted::from));
    server.serve_with_incoming_shutdown(accepted, told_to_stop).await
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

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => info!("SIGTERM: stopping"),
            _ = self.interrupt.recv() => info!("SIGINT: stopping"),
        }
    }
}

fn addresses(config: &Config) -> Result<Vec<Address>, Failure> {
    if config.listen.is_empty() {
        return Ok(vec![Address::default_of_user()]);
    }
    Ok(config.listen.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

fn log(config: &LogConfig) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| Failure::Log(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match config.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
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
        assert!(addresses(&config).is_err());
    }
}
