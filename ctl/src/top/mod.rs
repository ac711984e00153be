//! `top`: a live view of one host on a terminal, with a way back into its flight recorder.
//!
//! News of the agent come through one bounded channel ([feed]); [app] holds what is known and what the user looks at, and
//! [views] draw it; [terminal] holds the terminal.

mod app;
mod feed;
mod gather;
mod heat;
mod history;
mod keys;
mod model;
mod run;
mod terminal;
mod views;

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use ratatui::{buffer::Buffer, crossterm::style::force_color_output, layout::Rect};
use ssts_proto::v1::Frame;
use tokio::{sync::mpsc, time::sleep};

use self::{
    app::{App, Wish},
    feed::News,
    keys::Reader,
    terminal::Screen,
};
pub(crate) use self::{
    keys::{Input, Key},
    views::{
        BAD, BOLD, DIM, MARKED, PLAIN, TITLE, WARN, clock, fitting, heat::SHADES, help::over, put,
        text as picture_text,
    },
};
use crate::{
    connect::Client,
    error::{Exit, Failure},
    interrupts::Interrupts,
    output::Output,
};

/// News that wait for this side. Behind them the stream waits, and then the agent leaves frames out.
const WAITING: usize = 32;
/// How soon a terminal that did not take a whole picture is tried again.
const TRY_TERMINAL: Duration = Duration::from_millis(10);
/// Without a frame for so long what is shown is no longer what is.
const SILENCE: Duration = Duration::from_secs(3);
/// What `--once` waits for: readings that are taken once a second, and their rates.
const ONCE_AFTER: Duration = Duration::from_millis(2_500);
const ONCE_AT_MOST: Duration = Duration::from_secs(10);
/// What `--once` prints.
const ONCE_SIZE: Rect = Rect::new(0, 0, 80, 24);

/// Says what is missing for a picture on a terminal.
pub(crate) fn needs_terminal() -> Result<(), Failure> {
    let instead = "use `sstsctl watch` for lines, `sstsctl telemetry` for values, or `sstsctl top --once` for one picture";
    for (is_terminal, name) in [(io::stdin().is_terminal(), "input"), (io::stdout().is_terminal(), "output")]
    {
        if !is_terminal {
            return Err(Failure::usage(format!("standard {name} is not a terminal"), instead));
        }
    }
    match std::env::var("TERM").as_deref() {
        Err(_) | Ok("" | "dumb") => {
            Err(Failure::usage("TERM names no terminal that can be drawn on", instead))
        }
        Ok(_) => Ok(()),
    }
}

/// The terminal, and the keys of whoever looks at it. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    // First: nobody reads keys from a terminal that was given back.
    _reader: Reader,
    keys: mpsc::Receiver<Input>,
    screen: Screen,
}

impl Stage {
    /// Takes the terminal over.
    pub(crate) fn enter(in_color: bool) -> Result<Self, Failure> {
        force_color_output(in_color);
        let (keys_to, keys) = mpsc::channel(WAITING);
        let screen =
            Screen::enter(io::stdin(), io::stdout(), in_color).map_err(|error| lost_terminal(&error))?;
        let reader = Reader::start(keys_to).map_err(|error| lost_terminal(&error))?;
        Ok(Self { _reader: reader, keys, screen })
    }

    /// The next key, or another size. Nothing when the terminal is gone.
    pub(crate) async fn input(&mut self) -> Option<Input> {
        self.keys.recv().await
    }

    /// Draws, unless the terminal has not taken the picture before; whether it did.
    pub(crate) fn draw(&mut self, picture: impl FnOnce(Rect, &mut Buffer)) -> Result<bool, Failure> {
        self.screen.draw(picture).map_err(|error| lost_terminal(&error))
    }
}

/// How a look at a host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Quit,
    /// Back to the fleet's view.
    Back,
    Interrupted,
}

/// Shows the host until the user has seen enough.
pub(crate) async fn live(
    client: Client,
    rate_hz: f64,
    in_color: bool,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    let mut stage = Stage::enter(in_color)?;
    match look(client, rate_hz, false, &mut stage, interrupts).await? {
        Left::Quit | Left::Back => Ok(Exit::Pass),
        Left::Interrupted => Ok(Exit::Interrupted),
    }
}

/// The same on a terminal that is ours already; out of a fleet's view there is a way back to it.
pub(crate) async fn look(
    client: Client,
    rate_hz: f64,
    is_of_fleet: bool,
    stage: &mut Stage,
    interrupts: &mut Interrupts,
) -> Result<Left, Failure> {
    let (to, mut news) = mpsc::channel(WAITING);
    let mut app = App::new(Duration::from_secs_f64(1.0 / rate_hz));
    app.is_of_fleet = is_of_fleet;
    tokio::spawn(feed::frames(client.clone(), rate_hz, to.clone()));
    tokio::spawn(feed::runs(client.clone(), to.clone()));
    // The heat maps begin with what was before, and the way back is open at once.
    app.history_is_asked_for();
    tokio::spawn(feed::history(client.clone(), to.clone()));
    let mut is_drawn = false;
    let mut last_frame = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    loop {
        if !is_drawn {
            is_drawn = stage.draw(|area, buffer| views::draw(&app, area, buffer))?;
        }
        tokio::select! {
            // The user first, whatever else comes.
            biased;
            () = interrupts.next() => return Ok(Left::Interrupted),
            input = stage.input() => {
                let wish = match input {
                    // The terminal is gone.
                    None => return Ok(Left::Interrupted),
                    Some(Input::Resized) => None,
                    Some(Input::Key(key)) => app.key(key),
                };
                match wish {
                    Some(Wish::Quit) => return Ok(Left::Quit),
                    Some(Wish::Back) => return Ok(Left::Back),
                    Some(Wish::Interrupt) => return Ok(Left::Interrupted),
                    Some(Wish::History) => drop(tokio::spawn(feed::history(client.clone(), to.clone()))),
                    Some(Wish::Stop(run_id)) => drop(tokio::spawn(feed::stop(client.clone(), run_id, to.clone()))),
                    None => {}
                }
                is_drawn = false;
            }
            () = sleep(TRY_TERMINAL), if !is_drawn => {}
            _ = looks.tick() => {
                // An agent that hangs says nothing; its connection breaks later.
                if last_frame.elapsed() > SILENCE && app.lost.is_none() {
                    app.lost = Some(format!("no frame came for {} s", SILENCE.as_secs()));
                    is_drawn = false;
                }
            }
            Some(news) = news.recv() => {
                if matches!(news, News::Frame(_)) {
                    last_frame = Instant::now();
                }
                accept(&mut app, news);
                is_drawn = false;
            }
        }
    }
}

/// Prints one picture.
pub(crate) async fn once(client: Client, output: &mut Output) -> Result<(), Failure> {
    let (to, mut news) = mpsc::channel(WAITING);
    let mut app = App::new(Duration::from_secs(1));
    tokio::spawn(feed::frames(client.clone(), 1.0, to.clone()));
    tokio::spawn(feed::runs(client, to));
    let begin = Instant::now();
    while app.shown().is_none() || begin.elapsed() < ONCE_AFTER {
        tokio::select! {
            Some(news) = news.recv() => accept(&mut app, news),
            () = sleep(Duration::from_millis(100)) => {}
        }
        if app.shown().is_none() && begin.elapsed() > ONCE_AT_MOST {
            let why = app.lost.unwrap_or_else(|| "no frame came".into());
            return Err(Failure::agent(
                format!("the agent shows nothing: {why}"),
                "see its log: `journalctl -u sstsd`",
            ));
        }
    }
    let mut buffer = Buffer::empty(ONCE_SIZE);
    views::draw(&app, ONCE_SIZE, &mut buffer);
    output.result(&views::text(&buffer))
}

fn accept(app: &mut App, news: News) {
    match news {
        News::Host(host) => app.host = *host,
        News::Schema(schema) => app.schema(schema),
        News::Frame(frame) => app.frame(&frame),
        News::Lagged(frames) => {
            app.notice = Some(format!("{frames} frames were left out: this side is too slow"));
        }
        News::Lost(why) => app.lost = Some(why),
        News::Run(run) => app.run(*run),
        News::Event(run_id, event) => {
            if let Some(run) = app.runs.iter_mut().find(|run| run.summary.run_id == run_id) {
                run.tell(event);
            }
        }
        News::State(summary) => {
            if let Some(run) = app.runs.iter_mut().find(|run| run.summary.run_id == summary.run_id) {
                run.summary = summary;
            }
        }
        News::History(history) => app.history(history.map(|history| *history)),
        News::Done(words) => app.notice = Some(words),
    }
}

/// When a frame was read, Unix time.
fn unix_ns(frame: &Frame) -> i64 {
    frame.end_ns.cast_signed().saturating_add(frame.wall_offset_ns)
}

fn lost_terminal(error: &io::Error) -> Failure {
    Failure::new(Exit::Internal, format!("the terminal can't be drawn on: {error}"), "")
}
