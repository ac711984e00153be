//! `sstsctl top`: a live view of the host on a real terminal.

use std::time::Duration;

use nix::sys::signal::Signal;
use ssts_tests::{Ctl, Daemon, Ground, Terminal, outside};

const LEFT: &str = "\x1b[D";
const PAGE_UP: &str = "\x1b[5~";
const END: &str = "\x1b[F";

fn top(ground: &Ground) -> Terminal {
    Ctl::new(ground).words("top --rate 10").on_terminal()
}

/// The instant that the first line shows, in tenths of a second of the day; nothing before the first frame.
fn time(screen: &str) -> Option<u64> {
    let first = screen.lines().next()?;
    let clock =
        first.split_whitespace().find_map(|word| word.strip_suffix('Z').filter(|word| word.contains(':')))?;
    let (clock, tenths) = clock.split_once('.')?;
    let seconds = clock.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<u64>().ok()?))?;
    Some(seconds * 10 + tenths.parse::<u64>().ok()?)
}

/// How much later `b` is than `a`, over midnight, too.
fn later(a: &str, b: &str) -> u64 {
    const DAY: u64 = 864_000;
    (time(b).expect("it shows a time") + DAY - time(a).expect("it shows a time")) % DAY
}

fn is_live(screen: &str) -> bool {
    screen.contains(" LIVE ") && time(screen).is_some()
}

/// A person at work: sees the run, asks for help, pauses, goes back to before `top` was started, stops the run, and quits.
#[test]
fn a_run_is_seen_paused_gone_back_from_and_stopped() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let id = Ctl::new(&ground).words("burn cpu --load 30 --duration 5m --detach").run();
    id.assert_status(0);
    let id = id.stdout.trim().to_owned();
    // The flight recorder gets a past.
    outside::within(Duration::from_secs(30), || {
        let past = Ctl::new(&ground).words("telemetry --metric host.cpu.forks").run();
        past.stdout.lines().count() > 80
    })
    .expect("the flight recorder fills");

    let mut top = top(&ground);
    let screen = top.shows("the phase and a bar for each core", |screen| {
        is_live(screen)
            && screen.contains("run burn-cpu running")
            && screen.contains("phase 1/1 burn-cpu")
            && screen.contains("   0 [")
            && screen.contains("on CPU")
    });
    assert!(top.is_alternate() && top.hides_cursor() && !top.is_as_before(), "{screen}");

    top.keys("?");
    top.shows("the keys", |screen| screen.contains("ten seconds back"));
    top.keys("x");
    top.shows("no help", |screen| !screen.contains("ten seconds back"));

    top.keys(" ");
    let paused = top.shows("a pause", |screen| screen.contains("PAUSED"));
    let still = top.shows("that time goes on behind the pause", |screen| {
        screen.contains("PAUSED") && !screen.contains("PAUSED -0.")
    });
    assert_eq!(later(&paused, &still), 0);

    top.keys(LEFT);
    let before = top.shows("a frame before", |screen| time(screen) != time(&paused));
    assert!((1..=20).contains(&later(&before, &paused)), "{before}");
    top.keys(PAGE_UP);
    let long_before = top.shows("what was before it was started", |screen| {
        screen.contains("PAUSED")
            && time(screen).is_some()
            && later(screen, &before) >= 30
            && screen.contains("   0 [")
    });
    assert!(later(&long_before, &screen) > 0, "{long_before}");

    top.keys(END);
    let live = top.shows("now", is_live);
    assert!(later(&paused, &live) > 0, "{live}");
    for (key, mark) in
        [("2", "cores  busy"), ("3", "latency from issue"), ("4", "interface"), ("5", "guards")]
    {
        top.keys(key);
        top.shows(mark, |screen| screen.lines().nth(2).is_some_and(|line| line.contains(mark)));
    }

    top.keys("s");
    top.shows("the question", |screen| screen.contains(&format!("stop run {id}?")));
    top.keys("n");
    top.shows("that it goes on", |screen| screen.contains("the run goes on"));
    top.keys("sy");
    top.shows("that it was stopped", |screen| screen.contains("no run; the latest: burn-cpu"));

    top.keys("q");
    assert_eq!(top.end().code(), Some(0));
    top.assert_given_back();
}

/// However it is ended, the terminal is as it was.
#[test]
fn the_terminal_is_given_back_after_every_signal() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    for signal in [Some(Signal::SIGTERM), Some(Signal::SIGHUP), Some(Signal::SIGINT), None] {
        let mut top = top(&ground);
        top.shows("a live picture", is_live);
        match signal {
            Some(signal) => top.signal(signal),
            // Ctrl-C at the keyboard.
            None => top.keys("\x03"),
        }
        assert_eq!(top.end().code(), Some(130), "{signal:?}");
        top.assert_given_back();
    }
}

/// An agent that goes is told of, and one that comes back is shown again.
#[test]
fn a_lost_agent_is_waited_for() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let mut top = top(&ground);
    top.shows("a live picture", is_live);
    drop(daemon);
    let lost = top.shows("that the agent is gone", |screen| screen.contains("no connection, trying again"));
    assert!(lost.contains(" LOST "), "{lost}");
    let _daemon = Daemon::start(&ground);
    let back =
        top.shows("a live picture again", |screen| is_live(screen) && !screen.contains("no connection"));
    assert!(later(&lost, &back) > 0, "{back}");
    top.keys("q");
    assert_eq!(top.end().code(), Some(0));
    top.assert_given_back();
}

/// An agent that hangs keeps its connection for a while: the picture does not stay `LIVE`.
#[test]
fn an_agent_that_hangs_is_told_of() {
    let ground = Ground::new();
    let daemon = Daemon::start(&ground);
    let mut top = top(&ground);
    top.shows("a live picture", is_live);
    daemon.signal(Signal::SIGSTOP);
    top.shows("that nothing comes", |screen| screen.contains(" LOST "));
    daemon.signal(Signal::SIGCONT);
    top.shows("a live picture again", |screen| is_live(screen) && !screen.contains("no connection"));
    top.keys("q");
    assert_eq!(top.end().code(), Some(0));
}

/// A terminal that takes nothing more, as one that Ctrl-S stopped, can be ended and is given back.
#[test]
fn a_terminal_that_takes_nothing_keeps_nobody() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let mut top = top(&ground);
    top.shows("a live picture", is_live);
    top.freeze();
    // Each is another picture: more than the terminal keeps.
    top.keys(&"2345".repeat(200));
    top.signal(Signal::SIGTERM);
    assert_eq!(top.end().code(), Some(130));
    assert!(top.is_as_before());
}

/// NO_COLOR takes the colours away and leaves the picture.
#[test]
fn colours_can_be_had_and_left_out() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    for no_color in [true, false] {
        let change = |command: &mut std::process::Command| {
            if no_color {
                command.env("NO_COLOR", "1");
            }
        };
        let mut top = Ctl::new(&ground).args(["top"]).with(change).on_terminal();
        top.shows("a live picture", is_live);
        top.keys("q");
        assert_eq!(top.end().code(), Some(0));
        // The title's bold cyan.
        assert_eq!(top.written().contains("\x1b[38;5;6"), !no_color, "{:?}", top.written());
    }
}

/// Without a terminal it says what to use instead; one picture needs none.
#[test]
fn without_a_terminal_one_picture_can_be_had() {
    let ground = Ground::new();
    let _daemon = Daemon::start(&ground);
    let refused = Ctl::new(&ground).args(["top"]).run();
    refused.assert_status(2);
    refused.assert_tells(&["is not a terminal", "sstsctl watch", "sstsctl telemetry", "sstsctl top --once"]);
    Ctl::new(&ground).words("top --rate 50").run().assert_status(2);
    Ctl::new(&ground).words("--output json top --once").run().assert_status(2);
    let once = Ctl::new(&ground).words("top --once").run();
    once.assert_status(0);
    assert_eq!(once.stdout.lines().count(), 24, "{}", once.stdout);
    assert!(once.stdout.contains("cores  busy") && once.stdout.contains("guards"), "{}", once.stdout);
    assert!(!once.stdout.contains('\x1b'), "{}", once.stdout);
}
