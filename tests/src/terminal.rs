//! A pseudo-terminal with a screen that can be looked at, for programs that draw.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    pty::{OpenptyResult, Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{Termios, tcgetattr},
    },
    unistd::Pid,
};

use crate::{daemon::pid, outside};

/// For a program on a busy machine to draw what a story waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A terminal of 80x24 characters, and a program on it. The program is killed when dropped.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    slave: OwnedFd,
    before: Termios,
    output: Arc<Mutex<Vec<u8>>>,
    frozen: Arc<AtomicBool>,
}

impl Terminal {
    /// Runs the command on it.
    pub fn run(mut command: Command) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } =
            openpty(Some(&size), None).expect("a pseudo-terminal can be made");
        let before = tcgetattr(&slave).expect("it is a terminal");
        let side = || Stdio::from(slave.try_clone().expect("a descriptor can be had"));
        command.env("TERM", "xterm-256color").stdin(side()).stdout(side()).stderr(side());
        let child = command.spawn().expect("the program can be executed");
        drop(command);
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut reader = File::from(master.try_clone().expect("a descriptor can be had"));
        let written = Arc::clone(&output);
        let frozen = Arc::new(AtomicBool::new(false));
        let is_frozen = Arc::clone(&frozen);
        thread::spawn(move || {
            let mut piece = [0; 4_096];
            while !is_frozen.load(Ordering::Relaxed)
                && let Ok(length @ 1..) = reader.read(&mut piece)
            {
                written.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..length]);
            }
        });
        Self { child, keyboard: File::from(master), slave, before, output, frozen }
    }

    /// The program.
    pub fn process(&self) -> outside::Process {
        outside::Process::of(pid(&self.child)).expect("a child that is not reaped is there")
    }

    /// What stands on it.
    pub fn screen(&self) -> String {
        self.parsed().screen().contents()
    }

    /// Whether the program's own screen is shown, not that of the shell.
    pub fn is_alternate(&self) -> bool {
        self.parsed().screen().alternate_screen()
    }

    /// Whether the cursor is hidden.
    pub fn hides_cursor(&self) -> bool {
        self.parsed().screen().hide_cursor()
    }

    /// Waits until the screen is as wanted; fails the story where it never is.
    pub fn shows(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut screen = String::new();
        let came = outside::within(PATIENCE, || {
            screen = self.screen();
            is_so(&screen)
        });
        assert!(came.is_some(), "it never shows {what}:\n{screen}");
        screen
    }

    /// Takes nothing more that is written on it, but for what it is just taking.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the other side is open");
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(pid(&self.child)), signal).expect("it is not reaped");
    }

    /// Waits for the program's end.
    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        outside::within(PATIENCE, || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.unwrap_or_else(|| panic!("it does not end:\n{}", self.screen()))
    }

    /// Whether its settings are what they were before the program.
    pub fn is_as_before(&self) -> bool {
        tcgetattr(&self.slave).expect("it is a terminal") == self.before
    }

    /// Fails the story unless it is given back: its settings, the screen of before, and the cursor.
    pub fn assert_given_back(&self) {
        assert!(self.is_as_before(), "its settings are others");
        // What the program wrote last may still be on its way.
        let came = outside::within(PATIENCE, || !self.is_alternate() && !self.hides_cursor());
        assert!(came.is_some(), "the screen is still the program's:\n{}", self.screen());
    }

    /// All that was written on it, as it came.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn parsed(&self) -> vt100::Parser {
        let mut parser = vt100::Parser::new(24, 80, 0);
        parser.process(&self.output.lock().unwrap_or_else(PoisonError::into_inner));
        parser
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _best_effort = self.child.kill();
        let _best_effort = self.child.wait();
    }
}
