//! What a lane sends its requests over: an HTTP/1.1 connection of its own, or a share of an HTTP/2 connection.

use std::{
    cell::Cell,
    error::Error as _,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::TokioIo;
use tokio::{
    sync::Mutex,
    task::{self, AbortHandle},
};

use super::{
    error::Failure,
    service::{Service, Stream},
};
use crate::{burn::worker::Reins, clock};

/// A request as it is sent again and again.
pub(super) type Asked = Request<Full<Bytes>>;

/// A service may close a kept connection at any time; a request that it did not take goes over another one, so often.
const MOST_STALE: usize = 3;

/// An answer to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body_bytes: u64,
}

/// Why an exchange came to nothing.
enum Lost {
    /// The service had not taken the request.
    Unsent(hyper::Error),
    Broken(hyper::Error),
}

/// What a lane sends its requests over.
pub(super) enum Link {
    Http1(Option<Http1>),
    Http2(Share),
}

/// One lane's share of an HTTP/2 connection.
pub(super) struct Share {
    http2: Rc<Http2>,
    /// What its attempt is under way over, and since when.
    under_way: Option<(Rc<Conversation>, Duration)>,
}

impl Link {
    /// One attempt, on a new connection where there is none.
    pub(super) async fn attempt(
        &mut self,
        asked: &Asked,
        service: &Service,
        reins: &Reins,
    ) -> Result<Answer, Failure> {
        let mut stale = 0;
        loop {
            let outcome = match self {
                Self::Http1(kept) => {
                    let http1 = match kept {
                        Some(http1) => http1,
                        None => kept.insert(Http1::open(service.connect(reins).await?).await?),
                    };
                    let outcome = http1.exchange(asked.clone()).await;
                    if outcome.is_err() || http1.is_over() {
                        *kept = None;
                    }
                    outcome
                }
                Self::Http2(Share { http2, under_way }) => {
                    let conversation = http2.conversation(service, reins).await?;
                    *under_way = Some((conversation.clone(), clock::boottime()));
                    let outcome = conversation.exchange(asked.clone()).await;
                    *under_way = None;
                    outcome
                }
            };
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(Lost::Unsent(_)) if stale < MOST_STALE => stale += 1,
                Err(Lost::Unsent(error) | Lost::Broken(error)) => {
                    return Err(Failure::Broken(in_words(&error)));
                }
            }
        }
    }

    /// The connection is not used again. Of HTTP/2, only a lane that has one for itself ends it.
    pub(super) async fn close(&mut self) {
        match self {
            Self::Http1(kept) => *kept = None,
            Self::Http2(share) => *share.http2.current.lock().await = None,
        }
    }

    /// What an attempt that timed out leaves: an HTTP/1.1 connection that owes an answer is of no use; one of HTTP/2 is given up
    /// if nothing at all has come over it since. Where other streams are answered, it was the request and not the connection.
    pub(super) fn abandon(&mut self) {
        match self {
            Self::Http1(kept) => *kept = None,
            Self::Http2(Share { http2, under_way }) => {
                if let Some((conversation, since)) = under_way.take()
                    && conversation.heard.get() < since
                {
                    http2.give_up(&conversation);
                }
            }
        }
    }

    /// Until `next` is there; sees meanwhile if the service ends the connection.
    pub(super) async fn idle<T>(&mut self, next: impl Future<Output = T>) -> T {
        match self {
            Self::Http1(Some(http1)) => {
                let next = http1.beside(next).await;
                if http1.is_over() {
                    *self = Self::Http1(None);
                }
                next
            }
            Self::Http1(None) | Self::Http2(_) => next.await,
        }
    }
}

type Connection = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

/// A connection that answers one request after the other. Its lane drives it: no other task has to be woken.
pub(super) struct Http1 {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: Option<Pin<Box<Connection>>>,
}

impl Http1 {
    pub(super) async fn open(stream: Stream) -> Result<Self, Failure> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        Ok(Self { sender, connection: Some(Box::pin(connection)) })
    }

    fn is_over(&self) -> bool {
        self.connection.is_none() || self.sender.is_closed()
    }

    async fn exchange(&mut self, asked: Asked) -> Result<Answer, Lost> {
        let Self { sender, connection } = self;
        let exchange = async {
            sender.ready().await.map_err(Lost::Unsent)?;
            let response = sender.send_request(asked).await.map_err(lost)?;
            let answer = whole(response, || {}).await?;
            Ok(answer)
        };
        drive(connection, exchange).await
    }

    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        drive(&mut self.connection, other).await
    }
}

/// Polls a connection and what depends on it in turn.
async fn drive<C: Future, T>(connection: &mut Option<Pin<Box<C>>>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let Some(driven) = connection else { return Poll::Pending };
        if driven.as_mut().poll(cx).is_ready() {
            // What it ended with reaches the exchange.
            *connection = None;
        }
        future.as_mut().poll(cx)
    })
    .await
}

/// A connection that lanes share, and the one that takes its place once it is over.
pub(super) struct Http2 {
    current: Mutex<Option<Rc<Conversation>>>,
}

/// One HTTP/2 connection. Who sends over it keeps it.
struct Conversation {
    sender: http2::SendRequest<Full<Bytes>>,
    driver: AbortHandle,
    /// When something last came over it, CLOCK_BOOTTIME.
    heard: Cell<Duration>,
    is_given_up: Cell<bool>,
}

impl Http2 {
    pub(super) async fn open(stream: Option<Stream>) -> Self {
        let conversation = match stream {
            // One that is already broken is replaced when it is first used.
            Some(stream) => Conversation::open(stream).await.ok(),
            None => None,
        };
        Self { current: Mutex::new(conversation.map(Rc::new)) }
    }

    /// So many lanes that send over it.
    pub(super) fn shared_by(self, lanes: usize) -> Vec<Link> {
        let http2 = Rc::new(self);
        (0..lanes).map(|_| Link::Http2(Share { http2: http2.clone(), under_way: None })).collect()
    }

    async fn conversation(&self, service: &Service, reins: &Reins) -> Result<Rc<Conversation>, Failure> {
        let mut current = self.current.lock().await;
        if let Some(open) = current.as_ref().filter(|conversation| !conversation.sender.is_closed()) {
            return Ok(open.clone());
        }
        *current = None;
        let conversation = Conversation::open(service.connect(reins).await?).await?;
        Ok(current.insert(Rc::new(conversation)).clone())
    }

    /// It is not used for further requests, and closed at once when the last one over it has ended: who doesn't answer would not
    /// take a farewell either.
    fn give_up(&self, silent: &Rc<Conversation>) {
        silent.is_given_up.set(true);
        // Whoever holds the lock is making another one.
        if let Ok(mut current) = self.current.try_lock()
            && current.as_ref().is_some_and(|current| Rc::ptr_eq(current, silent))
        {
            *current = None;
        }
    }
}

impl Conversation {
    async fn open(stream: Stream) -> Result<Self, Failure> {
        let (sender, connection) = http2::Builder::new(OnThisThread)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let driver = task::spawn_local(async {
            // What it ended with reaches the exchanges.
            let _told_there = connection.await;
        });
        Ok(Self {
            sender,
            driver: driver.abort_handle(),
            heard: Cell::new(Duration::ZERO),
            is_given_up: Cell::new(false),
        })
    }

    async fn exchange(&self, asked: Asked) -> Result<Answer, Lost> {
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(Lost::Unsent)?;
        let response = sender.send_request(asked).await.map_err(lost)?;
        let heard = || self.heard.set(clock::boottime());
        heard();
        whole(response, heard).await
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if self.is_given_up.get() {
            self.driver.abort();
        }
    }
}

/// Reads an answer to its end, and tells of each part.
async fn whole(response: Response<Incoming>, heard: impl Fn()) -> Result<Answer, Lost> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut body_bytes = 0;
    while let Some(frame) = body.frame().await {
        heard();
        body_bytes += frame.map_err(Lost::Broken)?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(Answer { status, body_bytes })
}

/// Whether a request that failed was never taken: of HTTP/1.1, none of it was sent; of HTTP/2, the service said so
/// (RFC 9113, 8.7).
fn lost(error: hyper::Error) -> Lost {
    let of_http2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let refused = of_http2.is_some_and(|error| {
        error.reason() == Some(h2::Reason::REFUSED_STREAM)
            || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
    });
    if error.is_canceled() || refused { Lost::Unsent(error) } else { Lost::Broken(error) }
}

fn broken(error: &hyper::Error) -> Failure {
    Failure::Broken(in_words(error))
}

/// With what lies beneath.
fn in_words(error: &hyper::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Runs what a connection needs beside itself on the worker's own thread.
#[derive(Debug, Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        task::spawn_local(future);
    }
}
