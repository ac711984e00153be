//! Takes connections, and a rest where none can be taken: out of descriptors or memory, accept(2) fails at once and again, and
//! whoever only tries again burns a core of the host with that.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::UnixListener,
    time::{Sleep, sleep},
};
use tokio_stream::Stream;
use tracing::warn;

use super::peer::Accepted;

/// Between two attempts.
const REST: Duration = Duration::from_millis(100);

/// The connections that come to one socket. It never ends, and never fails.
#[derive(Debug)]
pub struct Incoming {
    listener: UnixListener,
    rest: Option<Pin<Box<Sleep>>>,
    told: bool,
}

impl Incoming {
    /// Those of `listener`.
    pub fn new(listener: UnixListener) -> Self {
        Self { listener, rest: None, told: false }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Accepted>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { listener, rest, told } = self.get_mut();
        loop {
            if let Some(sleep) = rest {
                ready!(sleep.as_mut().poll(context));
                *rest = None;
            }
            match ready!(listener.poll_accept(context)) {
                Ok((stream, _)) => {
                    *told = false;
                    return Poll::Ready(Some(Ok(stream.into())));
                }
                // The caller's trouble, and no reason to keep the next one waiting.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !*told {
                        warn!(%error, "no connection can be taken; it is tried again every {REST:?}");
                        *told = true;
                    }
                    *rest = Some(Box::pin(sleep(REST)));
                }
            }
        }
    }
}
