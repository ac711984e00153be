//! The sink process: what `sstsd sink` does.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    News, SinkPlan,
    gate::Gate,
    news::{Limited, never_wait, tell},
    places::Places,
    session,
};
use crate::{
    burn::{
        control::{Command, ControlBlock},
        inherit::{self, Inheritance},
        network::{allow_many_descriptors, protocol::Word},
        process::{DEADLINE_PASSED, follow},
    },
    clock, privileges,
};

/// How often the deadline and the command are looked at.
const WATCH_MS: u8 = 50;
/// After a connection that could not be taken.
const AFTER_ERROR: Duration = Duration::from_millis(50);

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
    never_wait().map_err(|error| format!("its output can't be made non-blocking: {error}"))?;
    allow_many_descriptors();
    let instructions = |error: io::Error| format!("the daemon's instructions could not be read: {error}");
    let Inheritance { control, plan, .. } = inherit::take_over().map_err(instructions)?;
    let block = ControlBlock::open(control).map_err(instructions)?;
    let plan = read_plan(plan.into()).map_err(instructions)?;
    let listeners = plan.listen.iter().map(listen).collect::<Result<Vec<_>, _>>()?;
    privileges::settle_sink().map_err(|error| format!("its capabilities can't be given up: {error}"))?;
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
    let mut door = Door {
        gate: gate.clone(),
        places: Arc::new(Places::new(gate.plan.max_streams)),
        spare: spare(),
        refusals: Limited::default(),
        ends: Arc::default(),
    };
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
            match listener.accept() {
                Ok((control, from)) => door.open(control, from),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => door.cannot_open(listener, &error),
            }
        }
    }
}

/// Where those who knock get a session, or a reason.
struct Door {
    gate: Arc<Gate>,
    places: Arc<Places>,
    /// A descriptor kept back: when there is no other, who knocks can still be told.
    spare: Option<File>,
    refusals: Limited,
    ends: Arc<Limited>,
}

impl Door {
    /// No thread, no place and no patience for strangers.
    fn open(&self, control: TcpStream, from: SocketAddr) {
        let place = self.gate.lets_in(from.ip()).and_then(|()| self.places.take(from.ip()));
        let place = match place {
            Ok(place) => place,
            Err(reason) => {
                refuse(&control, &reason);
                self.refusals.tell(|| format!("a session of {from}: refused: {reason}"));
                return;
            }
        };
        let (gate, ends) = (self.gate.clone(), self.ends.clone());
        let body = move || {
            let _place = place;
            match session::serve(control, &gate) {
                Ok(()) => tell(&News::Told(format!("a session of {from} came to its end"))),
                Err(end) => ends.tell(|| format!("a session of {from}: {end}")),
            }
        };
        if let Err(error) = thread::Builder::new().name("sink-session".into()).spawn(body) {
            self.refusals.tell(|| format!("no thread for {from}: {error}"));
        }
    }

    /// Whoever waits makes the socket readable all the while: it is told, or else waited for.
    fn cannot_open(&mut self, listener: &TcpListener, error: &io::Error) {
        self.refusals.tell(|| format!("a connection could not be taken: {error}"));
        let is_out = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        let told = is_out
            && self.spare.take().is_some()
            && {
                let accepted = listener.accept();
                if let Ok((control, _)) = &accepted {
                    refuse(
                        control,
                        "it has no file descriptor left; raise its limit on open files, or wait until sessions end",
                    );
                }
                accepted.is_ok()
            };
        if self.spare.is_none() {
            self.spare = spare();
        }
        if !told {
            thread::sleep(AFTER_ERROR);
        }
    }
}

/// Such as any process may open.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Best effort. A fresh connection has room for it.
fn refuse(mut control: &TcpStream, reason: &str) {
    let _best_effort = control.set_nonblocking(true);
    let _best_effort = control.write_all(&Word::Refused(reason.into()).encode());
}
