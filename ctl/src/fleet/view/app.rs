//! What of a fleet the user looks at, and what keys change of it. It knows no terminal and no connection.

use std::cmp::Ordering;

use super::host::{Row, Standing};
use crate::{fleet::Member, top::Key};

/// What hosts are sorted by, and what the map shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Host,
    State,
    Phase,
    Load,
    Temperature,
    Latency,
    Guards,
    Lag,
}

impl Column {
    pub(crate) const ALL: [Self; 8] = [
        Self::Host,
        Self::State,
        Self::Phase,
        Self::Load,
        Self::Temperature,
        Self::Latency,
        Self::Guards,
        Self::Lag,
    ];

    /// What stands above it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::State => "state",
            Self::Phase => "phase",
            Self::Load => "load/asked",
            Self::Temperature => "temp",
            Self::Latency => "I/O",
            Self::Guards => "guards",
            Self::Lag => "lag",
        }
    }
}

/// What lies over the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Overlay {
    None,
    Help,
    /// Asks whether all hosts shall be halted.
    Halt,
    /// Asks whether this run shall be stopped, on so many hosts.
    Stop(String, usize),
}

/// What a key asks of the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    Quit,
    Interrupt,
    /// Look at this host.
    Open(usize),
    Halt,
    /// Stop the run of this id wherever it goes on.
    Stop(String),
}

/// All that is known and chosen.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) members: Vec<Member>,
    pub(crate) domains: Vec<String>,
    /// As long as `members`.
    pub(crate) rows: Vec<Row>,
    /// Of each member.
    pub(crate) phases: Vec<String>,
    pub(crate) sort: Column,
    pub(crate) is_reversed: bool,
    pub(crate) filter: String,
    /// Keys are letters of the filter.
    pub(crate) is_typing: bool,
    pub(crate) is_map: bool,
    pub(crate) overlay: Overlay,
    pub(crate) notice: Option<String>,
    /// Places of those that are shown, in order.
    pub(crate) shown: Vec<usize>,
    /// The first of them that there is room for.
    pub(crate) first: usize,
    /// The host under the cursor; without one, whoever stands first.
    at: Option<usize>,
    /// How many hosts there is room for, and how many stand side by side.
    room: usize,
    side_by_side: usize,
}

impl App {
    pub(crate) fn new(members: Vec<Member>, domains: Vec<String>) -> Self {
        Self {
            members,
            domains,
            rows: Vec::new(),
            phases: Vec::new(),
            sort: Column::State,
            is_reversed: false,
            filter: String::new(),
            is_typing: false,
            is_map: false,
            overlay: Overlay::None,
            notice: None,
            shown: Vec::new(),
            first: 0,
            at: None,
            room: 1,
            side_by_side: 1,
        }
    }

    /// What the hosts show now.
    pub(crate) fn take(&mut self, rows: Vec<Row>, phases: Vec<String>) {
        (self.rows, self.phases) = (rows, phases);
        self.arrange();
    }

    /// How many hosts there is room for, and how many of them stand side by side.
    pub(crate) fn fit(&mut self, room: usize, side_by_side: usize) {
        (self.room, self.side_by_side) = (room.max(1), side_by_side.max(1));
        let cursor = self.cursor().unwrap_or(0);
        let line = |place: usize| place - place % self.side_by_side;
        if cursor < self.first {
            self.first = line(cursor);
        } else if cursor >= self.first + self.room {
            self.first = line(cursor) + self.side_by_side - self.room.min(line(cursor) + self.side_by_side);
        }
        let last = line(self.shown.len().saturating_sub(1)) + self.side_by_side;
        self.first = self.first.min(last.saturating_sub(self.room));
    }

    /// The place of the cursor among those that are shown.
    pub(crate) fn cursor(&self) -> Option<usize> {
        match self.at {
            Some(member) => self.shown.iter().position(|shown| *shown == member),
            None => (!self.shown.is_empty()).then_some(0),
        }
    }

    /// The host under the cursor.
    pub(crate) fn chosen(&self) -> Option<usize> {
        self.shown.get(self.cursor()?).copied()
    }

    /// `3/12`: the page, and how many there are.
    pub(crate) fn page(&self) -> (usize, usize) {
        let pages = self.shown.len().div_ceil(self.room).max(1);
        (self.first.div_ceil(self.room).min(pages - 1) + 1, pages)
    }

    /// What a key means.
    pub(crate) fn key(&mut self, key: Key) -> Option<Wish> {
        if key == Key::Interrupt {
            return Some(Wish::Interrupt);
        }
        if self.is_typing {
            self.letter(key);
            return None;
        }
        match std::mem::replace(&mut self.overlay, Overlay::None) {
            Overlay::Halt if key == Key::Char('y') => {
                self.notice = Some("halting all hosts".into());
                return Some(Wish::Halt);
            }
            Overlay::Stop(run_id, _) if key == Key::Char('y') => {
                self.notice = Some(format!("stopping run {run_id}"));
                return Some(Wish::Stop(run_id));
            }
            Overlay::Halt | Overlay::Stop(..) => {
                self.notice = Some("nothing was done".into());
                return None;
            }
            // Any key closes it, and only that.
            Overlay::Help => return None,
            Overlay::None => {}
        }
        self.notice = None;
        match key {
            Key::Char('q') => return Some(Wish::Quit),
            Key::Char('?') => self.overlay = Overlay::Help,
            Key::Char('h') => self.overlay = Overlay::Halt,
            Key::Char('s') => self.ask_to_stop(),
            Key::Char('m') => {
                self.is_map = !self.is_map;
                self.arrange();
            }
            Key::Char('/') => self.is_typing = true,
            Key::Char('r') => {
                self.is_reversed = !self.is_reversed;
                self.arrange();
            }
            Key::Char(digit @ '1'..='8') => self.sort_by(Column::ALL[digit as usize - '1' as usize]),
            Key::Tab | Key::Char('>') => self.turn(1),
            Key::BackTab | Key::Char('<') => self.turn(Column::ALL.len() - 1),
            Key::Enter => return self.chosen().map(Wish::Open),
            Key::Escape if !self.filter.is_empty() => {
                self.filter.clear();
                self.arrange();
            }
            Key::Up | Key::Char('k') => self.back(self.side_by_side),
            Key::Down | Key::Char('j') => self.on(self.side_by_side),
            Key::Left => self.back(1),
            Key::Right => self.on(1),
            Key::PageUp => self.back(self.room),
            Key::PageDown => self.on(self.room),
            Key::Home => (self.at, self.first) = (None, 0),
            Key::End => self.on(self.shown.len()),
            Key::Char(_) | Key::Backspace | Key::Escape | Key::Interrupt => {}
        }
        None
    }

    fn letter(&mut self, key: Key) {
        match key {
            Key::Char(letter) => self.filter.push(letter),
            Key::Backspace => drop(self.filter.pop()),
            Key::Enter => self.is_typing = false,
            Key::Escape => {
                self.is_typing = false;
                self.filter.clear();
            }
            _ => {}
        }
        self.first = 0;
        self.arrange();
    }

    fn sort_by(&mut self, column: Column) {
        self.is_reversed = self.sort == column && !self.is_reversed;
        self.sort = column;
        self.arrange();
    }

    fn turn(&mut self, by: usize) {
        let at = Column::ALL.iter().position(|column| *column == self.sort).unwrap_or(0);
        self.is_reversed = false;
        self.sort = Column::ALL[(at + by) % Column::ALL.len()];
        self.arrange();
    }

    fn ask_to_stop(&mut self) {
        let id_of = |place: usize| self.rows.get(place).and_then(|row| row.run.as_ref()).map(|run| &run.id);
        let id = self.chosen().and_then(id_of).or_else(|| (0..self.rows.len()).find_map(id_of));
        match id {
            Some(id) => {
                let on = (0..self.rows.len()).filter(|place| id_of(*place) == Some(id)).count();
                self.overlay = Overlay::Stop(id.to_string(), on);
            }
            None => self.notice = Some("no run goes on".into()),
        }
    }

    fn back(&mut self, by: usize) {
        if let Some(cursor) = self.cursor() {
            self.at = self.shown.get(cursor.saturating_sub(by)).copied();
        }
    }

    fn on(&mut self, by: usize) {
        if let Some(cursor) = self.cursor() {
            self.at = self.shown.get((cursor + by).min(self.shown.len() - 1)).copied();
        }
    }

    /// Filters and sorts.
    fn arrange(&mut self) {
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let mut shown: Vec<usize> =
            (0..self.rows.len()).filter(|place| words.iter().all(|word| self.has(*place, word))).collect();
        // What is worst stands first, and hosts that have none of it last, whichever way the others go.
        shown.sort_by(|one, other| {
            if self.is_map {
                // Each has its place, whatever it shows: those that may fail together stand together.
                return natural(self.domain(*one), self.domain(*other)).then(one.cmp(other));
            }
            let (is_missing, order) = self.order(*one, *other);
            let order = if self.is_reversed && !is_missing { order.reverse() } else { order };
            order.then(one.cmp(other))
        });
        self.shown = shown;
        if self.at.is_some() && self.cursor().is_none() {
            self.at = None;
        }
    }

    /// What it may fail together with, by the first of the fleet's domains.
    pub(crate) fn domain(&self, place: usize) -> &str {
        let label = self.domains.first().and_then(|domain| self.members[place].labels.get(domain));
        label.map_or("", String::as_str)
    }

    fn has(&self, place: usize, word: &str) -> bool {
        let (member, row) = (&self.members[place], &self.rows[place]);
        let is_label = || {
            let Some((name, value)) = word.split_once('=') else { return false };
            member.labels.get(name).is_some_and(|known| known.to_lowercase() == value)
        };
        member.name.to_lowercase().contains(word)
            || row.standing.word().contains(word)
            || self.phases.get(place).is_some_and(|phase| phase.to_lowercase().contains(word))
            || is_label()
    }

    /// Whether one of them has none of it, and which stands first.
    fn order(&self, one: usize, other: usize) -> (bool, Ordering) {
        let (a, b) = (&self.rows[one], &self.rows[other]);
        let greatest = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (false, b.total_cmp(&a)),
            (a, b) => (true, b.is_some().cmp(&a.is_some())),
        };
        match self.sort {
            Column::Host => (false, natural(&self.members[one].name, &self.members[other].name)),
            Column::State => (false, a.standing.cmp(&b.standing)),
            Column::Phase => match (&self.phases[one][..], &self.phases[other][..]) {
                ("", "") => (true, Ordering::Equal),
                ("", _) => (true, Ordering::Greater),
                (_, "") => (true, Ordering::Less),
                (a, b) => (false, natural(a, b)),
            },
            Column::Load => greatest(a.shortfall(), b.shortfall()),
            Column::Temperature => greatest(a.gauges.celsius, b.gauges.celsius),
            Column::Latency => {
                let io = |row: &Row| row.gauges.worst_io_ns.map(|ns| ns as f64);
                greatest(io(a), io(b))
            }
            Column::Guards => {
                let guards =
                    |row: &Row| row.guards.map(|it| f64::from(it.tripped) * 1e3 + f64::from(it.pending));
                greatest(guards(a), guards(b))
            }
            Column::Lag => {
                let lag = |row: &Row| row.lag.map(|lag| lag.as_secs_f64());
                greatest(lag(a), lag(b))
            }
        }
    }

    /// How many hosts stand so.
    pub(crate) fn count(&self, standing: Standing) -> usize {
        self.rows.iter().filter(|row| row.standing == standing).count()
    }
}

/// `node2` before `node10`.
fn natural(one: &str, other: &str) -> Ordering {
    let (mut a, mut b) = (one.as_bytes(), other.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let zeros = |text: &[u8]| text.iter().take_while(|byte| **byte == b'0').count();
                let (x, y) = (&a[..digits(a)], &b[..digits(b)]);
                let (x_value, y_value) = (&x[zeros(x)..], &y[zeros(y)..]);
                let order = x_value.len().cmp(&y_value.len()).then_with(|| x_value.cmp(y_value));
                if order != Ordering::Equal {
                    return order;
                }
                (a, b) = (&a[x.len()..], &b[y.len()..]);
            }
            (Some(x), Some(y)) if x == y => (a, b) = (&a[1..], &b[1..]),
            (x, y) => return x.cmp(&y).then_with(|| one.cmp(other)),
        }
    }
}

#[cfg(test)]
#[path = "app_tests.rs"]
pub(crate) mod tests;
