//! Between the reading that is too much and the command that stops the burners nothing is allocated: an allocation can wait for
//! memory, just when a run has used it up. Every allocation of the ticking thread is counted, in a real engine with a real
//! burner process; this program is that process too, so it has no test harness.
#![expect(unsafe_code, reason = "a counting allocator")]
#![expect(clippy::print_stdout, reason = "a test without a harness tells what it found")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    env, fs,
    path::Path,
    process::ExitCode,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ssts_agent::{
    burn::{
        self,
        control::{Command, ControlBlock},
    },
    config::{BurnersConfig, LimitsConfig},
    host::HostRoots,
    observe::{
        burners::Burners,
        frame::Frame,
        own::{Own, TickCost},
        procfs,
        ring::FrameRing,
        schema::Schema,
        source::Source,
        sysfs,
    },
    run::{Describe, Engine},
};
use ssts_proto::v1::{
    Burner, CpuBurner, EventKind, Host, Phase, ProbeStatus, Run, RunState, Scenario, burner,
};

const TICK: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(60);
const WATCHED_TICKS: usize = 100;

struct Counting;

thread_local! {
    /// Whether this thread's allocations count. Without a destructor, as an allocator's must be.
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Those before the burner was told to stop.
    static BEFORE_STOP: Cell<u64> = const { Cell::new(0) };
}

/// A view of the burner's control block of the allocator's own.
static BLOCK: OnceLock<ControlBlock> = OnceLock::new();

fn note() {
    if ARMED.get() {
        COUNT.set(COUNT.get() + 1);
        if BLOCK.get().is_some_and(|block| block.command() != Command::Stop) {
            BEFORE_STOP.set(BEFORE_STOP.get() + 1);
        }
    }
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are those that `System` wants.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: as above; `pointer` came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A host that is described to nobody.
#[derive(Debug)]
struct Undescribed;

impl Describe for Undescribed {
    fn host(&self) -> Host {
        Host::default()
    }

    fn probes(&self) -> Vec<ProbeStatus> {
        Vec::new()
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [command, _, daemon] = &arguments[..]
        && command == "burn"
    {
        return burn::process::main(daemon.parse().expect("the engine names itself"));
    }
    if !arguments.iter().any(|argument| argument == "--list") {
        nothing_is_allocated_between_a_reading_and_the_stop();
        println!("nothing_is_allocated_between_a_reading_and_the_stop ... ok");
    }
    ExitCode::SUCCESS
}

fn heat(sensor: &Path, celsius: u32) {
    fs::write(sensor, format!("{celsius}000\n")).expect("the folder is ours");
}

/// What the daemon's tick does, on this thread.
struct Tick {
    engine: Arc<Engine>,
    sources: Vec<Box<dyn Source>>,
    ring: FrameRing,
    schema: Arc<Schema>,
    frame: Frame,
    sequence: u64,
}

impl Tick {
    /// Gives what was allocated, in all and before the burner was told to stop.
    fn once(&mut self) -> (u64, u64) {
        if self.sources.iter().any(|source| source.changed()) {
            let mut schema = Schema::new(self.schema.id + 1);
            self.sources.iter_mut().for_each(|source| source.describe(&mut schema));
            self.schema = Arc::new(schema);
        }
        COUNT.set(0);
        BEFORE_STOP.set(0);
        ARMED.set(true);
        self.engine.push_deadlines();
        self.frame.reset(&self.schema, self.sequence);
        self.sources.iter_mut().for_each(|source| source.sample(&mut self.frame));
        self.frame.end = ssts_agent::clock::monotonic();
        self.engine.watch(&self.schema, &self.frame);
        self.ring.publish(&self.schema, &self.frame);
        ARMED.set(false);
        self.sequence += 1;
        thread::sleep(TICK);
        (COUNT.get(), BEFORE_STOP.get())
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Engine) -> bool) {
        let begin = Instant::now();
        while !is_so(&self.engine) {
            self.once();
            assert!(begin.elapsed() < LONGEST, "{what} does not come");
        }
    }
}

fn scenario() -> Scenario {
    let cpu = CpuBurner { workers: Some(1), ..CpuBurner::default() };
    let burners = vec![Burner { kind: Some(burner::Kind::Cpu(cpu)) }];
    let phase = Phase { name: "burn".into(), duration_ms: 60_000, burners, ..Phase::default() };
    Scenario { name: "halt".into(), phases: vec![phase], ..Scenario::default() }
}

fn nothing_is_allocated_between_a_reading_and_the_stop() {
    let folder = tempfile::tempdir().expect("there is room");
    let chip = folder.path().join("sys/class/hwmon/hwmon0");
    fs::create_dir_all(&chip).expect("the folder is new");
    let sensor = chip.join("temp1_input");
    heat(&sensor, 40);
    let roots = HostRoots { sys: folder.path().join("sys"), ..HostRoots::default() };
    let limits = LimitsConfig { max_temperature_celsius: 80.0, ..LimitsConfig::default() };
    let burners = BurnersConfig { deadline: Duration::from_secs(10), ..BurnersConfig::default() };
    let state = folder.path().join("state");
    let engine = Engine::open(roots.clone(), limits, burners, Vec::new(), Box::new(Undescribed), &state)
        .expect("it opens");
    let engine = Arc::new(engine);
    let mut sources = procfs::sources(&roots, &[]);
    sources.extend(sysfs::sources(&roots, TICK, Duration::from_secs(5)).expect("there are threads"));
    sources.push(Box::new(Burners::new(engine.board())));
    sources.push(Box::new(Own::new(Arc::new(TickCost::default()))));
    let mut schema = Schema::new(1);
    sources.iter_mut().for_each(|source| source.describe(&mut schema));
    let mut tick = Tick {
        engine: engine.clone(),
        sources,
        ring: FrameRing::default(),
        schema: Arc::new(schema),
        frame: Frame::default(),
        sequence: 0,
    };

    let begun = Arc::new(AtomicBool::new(false));
    let starter = thread::spawn({
        let (engine, begun) = (engine.clone(), begun.clone());
        move || {
            let started = engine.start("halt".into(), &scenario(), None, None).map(|run| run.state());
            begun.store(true, Ordering::Release);
            started
        }
    });
    tick.until("the start", |_| begun.load(Ordering::Acquire));
    starter.join().expect("it does not panic").expect("it is accepted");
    let runs = |engine: &Engine| engine.on().iter().any(|run| run.state() == RunState::Running);
    tick.until("the burning", runs);
    engine.board().for_each_block(|block| {
        let view =
            block.fd().try_clone_to_owned().and_then(ControlBlock::open).expect("it is a control block");
        assert!(BLOCK.set(view).is_ok());
    });
    // The ring's slots, the frame and the first samples of each series get their room.
    for _ in 0..140 {
        tick.once();
    }

    // Telemetry, which comes last in a tick, makes room now and then; all else is to be found in every tick.
    let allocating = (0..WATCHED_TICKS).filter(|_| tick.once().0 > 0).count();
    println!("{allocating} of {WATCHED_TICKS} ticks allocated");
    assert!(allocating <= WATCHED_TICKS / 10, "{allocating} of {WATCHED_TICKS} ticks allocated");

    heat(&sensor, 90);
    let block = BLOCK.get().expect("it was set");
    let mut before_stop = 0;
    let begin = Instant::now();
    while block.command() != Command::Stop {
        assert!(begin.elapsed() < LONGEST, "the guard does not trip");
        let (all, before) = tick.once();
        before_stop = before;
        println!("{all} allocations in this tick, {before} before the stop");
    }
    assert_eq!(before_stop, 0, "allocations before the burner was told to stop");
    tick.until("the end", |engine| engine.on().is_empty());
    let Run { summary, events, .. } = engine.get("halt").expect("it is recorded");
    let message = summary.expect("it has a summary").cause_message;
    assert!(message.contains("hwmon0/temp1 is 90.0"), "{message}");
    assert!(events.iter().any(|event| event.kind() == EventKind::GuardTripped));
}
