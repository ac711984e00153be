//! One view of a fleet: a live table of its hosts, and a map of them; from each host there is a way into its own `top` and back.
//!
//! [`feed`] keeps one watch a host and puts what comes on a board; once a second, and after a key, [`app`] arranges what is on it and
//! [`draw`] draws. [`progress`] shows a fleet run in a few lines.

mod act;
mod app;
mod draw;
mod feed;
mod gauge;
mod host;
mod map;
mod names;
mod progress;

use std::time::{Duration, Instant};

use ratatui::{buffer::Buffer, layout::Rect};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::sleep,
};

pub(crate) use self::progress::LiveFleet;
use self::{
    act::{Act, carry_out},
    app::{App, Wish},
    feed::{Board, INTERVAL},
    host::{Row, Standing},
};
use super::Fleet;
use crate::{
    error::{Exit, Failure},
    interrupts::Interrupts,
    output::Output,
    top::{Input, Left, Stage, look, picture_text},
};

/// How soon a terminal that did not take a whole picture is tried again.
const TRY_TERMINAL: Duration = Duration::from_millis(10);
/// Of a host that is looked at.
const LOOK_RATE_HZ: f64 = 4.0;
/// What `--once` waits for: two frames of each host.
const ONCE_AFTER: Duration = Duration::from_millis(2_500);
const ONCE_AT_MOST: Duration = Duration::from_secs(10);
/// What `--once` prints, but for the rows, of which there is one for each host.
const ONCE_COLUMNS: u16 = 120;
/// Rows beside those of the hosts.
const ONCE_OTHERS: usize = 6;

/// Shows a fleet until the user has seen enough.
pub(crate) async fn live(
    fleet: Fleet,
    pki: Option<std::path::PathBuf>,
    in_color: bool,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    let mut stage = Stage::enter(in_color)?;
    let board = Board::new(fleet.members.clone(), pki);
    board.follow_all();
    let mut app = App::new(fleet.members, fleet.domains);
    let (told_to, mut told) = unbounded_channel();
    let mut looks = tokio::time::interval(INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_drawn = false;
    // The first moment: hosts that answer at once are not left out for a whole second.
    let mut soon = true;
    loop {
        if !is_drawn {
            is_drawn = stage.draw(|area, buffer| {
                draw::fit(&mut app, area);
                draw::draw(&app, area, buffer);
            })?;
        }
        tokio::select! {
            // The user first, whatever else comes.
            biased;
            () = interrupts.next() => return Ok(Exit::Interrupted),
            input = stage.input() => {
                let wish = match input {
                    // The terminal is gone.
                    None => return Ok(Exit::Interrupted),
                    Some(Input::Resized) => None,
                    Some(Input::Key(key)) => app.key(key),
                };
                match wish {
                    Some(Wish::Quit) => return Ok(Exit::Pass),
                    Some(Wish::Interrupt) => return Ok(Exit::Interrupted),
                    Some(Wish::Open(place)) => match board.client(place) {
                        None => app.notice = Some(format!("{} is not connected", app.members[place].name)),
                        Some(client) => match look(client, LOOK_RATE_HZ, true, &mut stage, interrupts).await? {
                            Left::Quit => return Ok(Exit::Pass),
                            Left::Interrupted => return Ok(Exit::Interrupted),
                            Left::Back => refresh(&mut app, &board),
                        },
                    },
                    Some(Wish::Halt) => act(Act::Halt, (0..app.members.len()).collect(), &board, &told_to),
                    Some(Wish::Stop(run_id)) => {
                        let has = |row: &Row| row.run.as_ref().is_some_and(|run| *run.id == *run_id);
                        let places = (0..app.rows.len()).filter(|place| has(&app.rows[*place])).collect();
                        act(Act::Stop(run_id), places, &board, &told_to);
                    }
                    None => {}
                }
                is_drawn = false;
            }
            Some(words) = told.recv() => {
                app.notice = Some(words);
                is_drawn = false;
            }
            () = sleep(TRY_TERMINAL), if !is_drawn => {}
            () = sleep(INTERVAL / 4), if soon => {
                soon = false;
                refresh(&mut app, &board);
                is_drawn = false;
            }
            _ = looks.tick() => {
                refresh(&mut app, &board);
                is_drawn = false;
            }
        }
    }
}

/// Prints one picture, with all hosts in it.
pub(crate) async fn once(
    fleet: Fleet,
    pki: Option<std::path::PathBuf>,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let board = Board::new(fleet.members.clone(), pki);
    board.follow_all();
    let begin = Instant::now();
    // Of each host two frames, or why there are none.
    let is_known = |row: &Row| match row.standing {
        Standing::Unreachable => true,
        Standing::Connecting => false,
        _ => row.lag.is_some(),
    };
    while begin.elapsed() < ONCE_AFTER
        || (begin.elapsed() < ONCE_AT_MOST && !board.rows().iter().all(is_known))
    {
        sleep(Duration::from_millis(100)).await;
    }
    let mut app = App::new(fleet.members, fleet.domains);
    refresh(&mut app, &board);
    let rows = (app.members.len() + ONCE_OTHERS).max(usize::from(draw::LEAST_ROWS));
    let area = Rect::new(0, 0, ONCE_COLUMNS, u16::try_from(rows).unwrap_or(u16::MAX));
    let mut buffer = Buffer::empty(area);
    draw::fit(&mut app, area);
    draw::draw_still(&app, area, &mut buffer);
    output.result(&picture_text(&buffer))?;
    let is_reached =
        |row: &Row| row.standing != Standing::Unreachable && row.standing != Standing::Connecting;
    Ok(if app.rows.iter().all(is_reached) { Exit::Pass } else { Exit::AgentFailed })
}

fn refresh(app: &mut App, board: &Board) {
    let rows = board.rows();
    let phase = |row: &Row| match &row.run {
        Some(run) => row.phase_words(&board.phases(&run.id)),
        None => String::new(),
    };
    let phases = rows.iter().map(phase).collect();
    app.take(rows, phases);
}

fn act(act: Act, places: Vec<usize>, board: &std::sync::Arc<Board>, told: &UnboundedSender<String>) {
    tokio::spawn(carry_out(act, places, std::sync::Arc::clone(board), told.clone()));
}
