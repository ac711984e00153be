//! The service: where it is, and connections to it.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::pki_types::ServerName;
use ssts_proto::http_url::{HttpUrl, UrlHost};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    error::{Failure, HttpError},
    load::{Count, HttpLoad, Version},
    tls,
};
use crate::{
    burn::{control, worker::Reins},
    clock,
};

/// Index in the load's latencies.
const CONNECT: usize = 1;
const HANDSHAKE: usize = 2;

/// Where the service is, and how it is spoken to.
#[derive(Clone)]
pub(super) struct Service {
    pub(super) address: SocketAddr,
    /// Settled: not [`Version::Auto`].
    pub(super) version: Version,
    /// For messages.
    pub(super) tls_name: Option<String>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Connections end with a reset: closed in the usual way, each would hold its port for a minute.
    resets: bool,
}

impl Service {
    /// Connects to the first of the load's addresses that takes it, and settles what is spoken.
    pub(super) async fn find(
        load: &HttpLoad,
        url: &HttpUrl,
        reins: &Reins,
    ) -> Result<(Self, Stream), HttpError> {
        let tls = if load.is_tls() {
            let mut config = tls::config(load)?;
            config.alpn_protocols = tls::alpn(load.version);
            Some((TlsConnector::from(Arc::new(config)), server_name(url, load)?))
        } else {
            None
        };
        let mut reasons = Vec::new();
        for address in &load.addresses {
            let mut service = Self {
                address: *address,
                version: load.version,
                tls: tls.clone(),
                tls_name: None,
                // This first one is closed as usual.
                resets: false,
            };
            match within(load.timeout, service.connect(reins)).await {
                Ok(stream) => {
                    service.settle(&stream, load)?;
                    service.resets = load.new_connection;
                    return Ok((service, stream));
                }
                Err(Failure::Handshake(reason)) => {
                    return Err(HttpError::Handshake { url: load.url.clone(), address: *address, reason });
                }
                Err(Failure::Connect(reason)) => reasons.push(reason),
                Err(other) => reasons.push(format!("{address}: {other}")),
            }
        }
        Err(HttpError::Connect { url: load.url.clone(), reason: reasons.join("; ") })
    }

    fn settle(&mut self, stream: &Stream, load: &HttpLoad) -> Result<(), HttpError> {
        let chosen = match stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => {
                let (_, connection) = stream.get_ref();
                let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
                let version = connection.protocol_version().map(|version| format!("{version:?}"));
                self.tls_name = Some([version, suite].into_iter().flatten().collect::<Vec<_>>().join(" "));
                connection.alpn_protocol().map(<[u8]>::to_vec)
            }
        };
        let is_http2 = chosen.as_deref() == Some(b"h2");
        self.version = match (load.version, load.is_tls()) {
            (Version::Auto, true) if is_http2 => Version::Http2,
            (Version::Http2, true) if !is_http2 => {
                return Err(HttpError::Version { url: load.url.clone() });
            }
            (Version::Http2, _) => Version::Http2,
            (Version::Auto | Version::Http1, _) => Version::Http1,
        };
        // Later connections are to speak the same.
        if let Some((connector, _)) = &mut self.tls {
            let mut config = rustls::ClientConfig::clone(connector.config());
            config.alpn_protocols = tls::alpn(self.version);
            *connector = TlsConnector::from(Arc::new(config));
        }
        Ok(())
    }

    /// A new connection, through TLS where the URL says so.
    pub(super) async fn connect(&self, reins: &Reins) -> Result<Stream, Failure> {
        let counted = |count: Count| control::add(&reins.slot().figures[count as usize], 1);
        let begin = clock::boottime();
        let failed = |error: io::Error| Failure::Connect(format!("{}: {error}", self.address));
        let socket = TcpStream::connect(self.address).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        if self.resets {
            socket.set_zero_linger().map_err(failed)?;
        }
        let connected = clock::boottime();
        reins.count_latency(CONNECT, clock::ns(connected.saturating_sub(begin)));
        counted(Count::Connections);
        let Some((connector, name)) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let stream = connector
            .connect(name.clone(), socket)
            .await
            .map_err(|error| Failure::Handshake(error.to_string()))?;
        reins.count_latency(HANDSHAKE, clock::ns(clock::boottime().saturating_sub(connected)));
        counted(Count::Handshakes);
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// [`Service::connect`] before the load begins, when time can't stand still.
pub(super) async fn within(
    limit: Duration,
    connecting: impl Future<Output = Result<Stream, Failure>>,
) -> Result<Stream, Failure> {
    timeout(limit, connecting).await.unwrap_or(Err(Failure::Timeout(limit)))
}

fn server_name(url: &HttpUrl, load: &HttpLoad) -> Result<ServerName<'static>, HttpError> {
    match url.host() {
        UrlHost::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        UrlHost::Name(name) => ServerName::try_from(name.clone()).map_err(|error| HttpError::Connect {
            url: load.url.clone(),
            reason: format!("'{name}' can't be the name of a TLS server: {error}"),
        }),
    }
}

/// A connection to the service.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buffer),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
