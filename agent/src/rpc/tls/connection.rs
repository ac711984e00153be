//! A connection over TLS, with whose it is. It ends when its client's certificate does not hold any more, and when it says
//! nothing.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{identity::Client, limits::Place, open::Registered};

/// How long a client may take to begin with HTTP/2.
const PREFACE_TIME: Duration = Duration::from_secs(5);
/// RFC 9113, section 3.4.
const PREFACE_BYTES: usize = 24;

/// A connection over TLS.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    client: Arc<Client>,
    /// Set until the preface of HTTP/2 is there: how much of it is, and until when it has to be.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    cut: oneshot::Receiver<()>,
    /// Given back with it.
    _place: Place<String>,
    _registered: Registered,
}

impl Connection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        client: Arc<Client>,
        place: Place<String>,
        (registered, cut): (Registered, oneshot::Receiver<()>),
    ) -> Self {
        let preface = Some((0, Box::pin(sleep(PREFACE_TIME))));
        Self { stream, client, preface, cut, _place: place, _registered: registered }
    }

    /// An error once it has to end.
    fn ended(&mut self, context: &mut Context<'_>) -> Option<io::Error> {
        if Pin::new(&mut self.cut).poll(context).is_ready() {
            let why = "the client's certificate does not hold any more";
            return Some(io::Error::new(io::ErrorKind::ConnectionAborted, why));
        }
        let (_, until) = self.preface.as_mut()?;
        let late = until.as_mut().poll(context).is_ready();
        late.then(|| io::Error::new(io::ErrorKind::TimedOut, "the client does not begin"))
    }
}

impl Connected for Connection {
    type ConnectInfo = Arc<Client>;

    fn connect_info(&self) -> Arc<Client> {
        self.client.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.ended(context) {
            return Poll::Ready(Err(error));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let came = buffer.filled().len() - before;
        if let Some((bytes, _)) = &mut self.preface {
            *bytes += came;
            if *bytes >= PREFACE_BYTES {
                self.preface = None;
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(error) = self.ended(context) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
