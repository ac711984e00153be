//! The way to one host for as long as a run goes on there: one connection, made anew where it breaks.

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::{
    cli::Host,
    connect::{Client, Line, cannot_reach},
    error::Failure,
    fleet::Member,
    tls::ToAgent,
};

/// For a connection and its handshake.
const DIAL_TIME: Duration = Duration::from_secs(6);

/// The way to one host.
#[derive(Debug)]
pub(super) struct Link {
    /// Its place among those that are asked.
    pub(super) index: usize,
    pub(super) member: Member,
    line: Line,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    client: Option<Client>,
    /// When it last answered.
    heard: Instant,
    /// Whether it ever did.
    was_reached: bool,
}

impl Link {
    /// Ways to all of them; certificates are read once.
    ///
    /// # Errors
    /// Of each host the certificates' or its name's.
    pub(super) fn to_all(members: &[Member], pki: Option<&PathBuf>) -> Vec<Result<Self, Failure>> {
        let mut first: Option<ToAgent> = None;
        let mut link = |(index, member): (usize, &Member)| -> Result<Self, Failure> {
            let line = match (&member.host, &first) {
                (Host::Tls(name, port), Some(known)) => Line::Tls(known.also_to(name, *port)?),
                _ => member.line(pki)?,
            };
            if let Line::Tls(to_agent) = &line {
                first.get_or_insert_with(|| to_agent.clone());
            }
            let now = Mutex::new(Now { client: None, heard: Instant::now(), was_reached: false });
            Ok(Self { index, member: member.clone(), line, now })
        };
        members.iter().enumerate().map(&mut link).collect()
    }

    /// The connection of now, or a new one.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        let known = self.lock().client.clone();
        match known {
            Some(client) => Ok(client),
            None => self.dial().await,
        }
    }

    /// A new connection, for all who ask from now on.
    pub(super) async fn dial(&self) -> Result<Client, Failure> {
        let late = |_| Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "it does not answer"));
        let dialled = timeout(DIAL_TIME, self.line.dial()).await.unwrap_or_else(late);
        let client = dialled.map_err(|error| cannot_reach(&self.member.host, &error))?;
        let mut now = self.lock();
        now.client = Some(client.clone());
        (now.heard, now.was_reached) = (Instant::now(), true);
        Ok(client)
    }

    /// Whether there ever was one: nothing was asked of the host else.
    pub(super) fn was_reached(&self) -> bool {
        self.lock().was_reached
    }

    /// The connection is no good any more: whoever asks next gets a new one.
    pub(super) fn hang_up(&self) {
        self.lock().client = None;
    }

    /// It has just answered.
    pub(super) fn note_heard(&self) {
        self.lock().heard = Instant::now();
    }

    /// Since it last answered.
    pub(super) fn silent_for(&self) -> Duration {
        self.lock().heard.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        // Nobody leaves it half-changed.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
