//! The sink process: what `sstsd sink` does.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::fd::AsFd as _,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{News, SinkPlan, gate::Gate, session};
use crate::{
    burn::{
        control::{Command, ControlBlock},
        inherit::{self, Inheritance},
        network::protocol::Word,
        process::{DEADLINE_PASSED, follow},
    },
    clock,
};

/// How often the deadline and the command are looked at.
const WATCH_MS: u8 = 50;
/// After a connection that could not be taken.
const AFTER_ERROR: Duration = Duration::from_millis(50);
/// Sessions beyond those that have streams: handshakes, and those that will be refused.
const SPARE_SESSIONS: usize = 64;

/// Serves until the daemon says stop, or is gone.
pub fn main(daemon: i32) -> ExitCode {
    std::panic::set_hook(Box::new(|info| tell(&News::Told(format!("a bug in the sink: {info}")))));
    match run(daemon) {
        Ok(status) => status,
        Err(message) => {
            tell(&News::Failed(message));
            ExitCode::FAILURE
        }
    }
}

fn run(daemon: i32) -> Result<ExitCode, String> {
    follow(daemon).map_err(|error| error.to_string())?;
    let instructions = |error: io::Error| format!("the daemon's instructions could not be read: {error}");
    let Inheritance { control, plan, .. } = inherit::take_over().map_err(instructions)?;
    let block = ControlBlock::open(control).map_err(instructions)?;
    let plan = read_plan(plan.into()).map_err(instructions)?;
    let listeners = plan.listen.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    tell(&News::Listening(addresses));
    Ok(serve(&block, &Arc::new(Gate::new(plan)), &listeners))
}

fn read_plan(mut file: File) -> io::Result<SinkPlan> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn listen(address: &SocketAddr) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("network.sink.listen: {address} can't be listened on: {error}"))?;
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    Ok(listener)
}

fn serve(block: &ControlBlock, gate: &Arc<Gate>, listeners: &[TcpListener]) -> ExitCode {
    let sessions = Arc::new(AtomicUsize::new(0));
    let most = usize::from(gate.plan.max_streams) + SPARE_SESSIONS;
    let mut refusals = Limited::default();
    loop {
        if clock::boottime() >= block.deadline() {
            return ExitCode::from(DEADLINE_PASSED);
        }
        match block.command() {
            // The process's end closes every socket.
            Command::Stop => return ExitCode::SUCCESS,
            command => gate.closed.store(command == Command::Pause, Ordering::Relaxed),
        }
        let mut polled: Vec<_> =
            listeners.iter().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut polled, PollTimeout::from(WATCH_MS)).unwrap_or(0) == 0 {
            continue;
        }
        for listener in listeners {
            let (control, from) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => {
                    // Such as EMFILE: whoever waits makes the socket readable all the while.
                    refusals.tell(|| format!("a connection could not be taken: {error}"));
                    thread::sleep(AFTER_ERROR);
                    continue;
                }
            };
            if let Err(reason) = gate.lets_in(from.ip()) {
                // No thread, no place and no patience for strangers.
                let _best_effort = (&control).write_all(&Word::Refused(reason.clone()).encode());
                refusals.tell(|| format!("a session of {from}: refused: {reason}"));
                continue;
            }
            if sessions.load(Ordering::Relaxed) >= most {
                // Closed at once: those who knock too often wait.
                continue;
            }
            sessions.fetch_add(1, Ordering::Relaxed);
            let (gate, place) = (gate.clone(), Place(sessions.clone()));
            let body = move || {
                let _place = place;
                match session::serve(control, &gate) {
                    Ok(()) => tell(&News::Told(format!("a session of {from} came to its end"))),
                    Err(end) => tell(&News::Told(format!("a session of {from}: {end}"))),
                }
            };
            if let Err(error) = thread::Builder::new().name("sink-session".into()).spawn(body) {
                tell(&News::Told(format!("no thread for {from}: {error}")));
            }
        }
    }
}

/// What strangers can cause, told once a second at most.
#[derive(Default)]
struct Limited {
    told: Option<Instant>,
    left_out: u64,
}

impl Limited {
    fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.told.is_some_and(|told| told.elapsed() < Duration::from_secs(1)) {
            self.left_out += 1;
            return;
        }
        self.told = Some(Instant::now());
        let more = match std::mem::take(&mut self.left_out) {
            0 => String::new(),
            left_out => format!("; {left_out} more such were not told"),
        };
        tell(&News::Told(text() + &more));
    }
}

/// One of the sessions, whatever becomes of it.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Best effort: a daemon that no longer reads is dead.
fn tell(news: &News) {
    if let Ok(mut line) = serde_json::to_vec(news) {
        line.push(b'\n');
        let _best_effort = io::stdout().write_all(&line);
    }
}
