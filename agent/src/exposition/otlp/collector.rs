//! One collector, and a push to it: OTLP over HTTP/1.1, a connection each time.

use std::{io, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use ssts_proto::http_url::{HttpUrl, Scheme, UrlHost};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::message::ExportMetricsServiceResponse;
use crate::{
    config::OtlpConfig,
    trust::{self, NoTrust},
};

/// From the first packet to the last byte of the answer: the default of OpenTelemetry's exporters.
const LIMIT: Duration = Duration::from_secs(10);
/// More of an answer is not read.
const ANSWER_BYTES: usize = 64 << 10;
/// More of an answer is not told.
const TOLD_CHARS: usize = 200;

/// Why nothing can ever be pushed with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum Misconfigured {
    /// A header can't be one.
    #[error("metrics.otlp.headers: '{0}' with its value is no HTTP header")]
    Header(String),
    /// There are no certificates to trust.
    #[error("metrics.otlp.ca_files: {0}")]
    Trust(#[from] NoTrust),
    /// The URL's host can't be the name of a TLS server.
    #[error("metrics.otlp.endpoint: '{0}' can't be the name of a TLS server")]
    ServerName(String),
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a push failed. The next one has all that this one had.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the collector answers {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("the collector left out {count} data points: {text}")]
    Partial { count: i64, text: String },
    #[error("no answer within {LIMIT:?}")]
    Timeout,
}

#[derive(Debug)]
pub(super) struct Collector {
    url: HttpUrl,
    headers: HeaderMap,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Collector {
    /// The one that is configured, if any.
    pub(super) fn new(config: &OtlpConfig) -> Result<Option<Self>, Misconfigured> {
        let Some(url) = config.endpoint.clone() else { return Ok(None) };
        let mut headers = HeaderMap::new();
        let host = HeaderValue::try_from(url.authority())
            .map_err(|_| Misconfigured::Header(format!("host = {}", url.authority())))?;
        headers.insert(HOST, host);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        for (name, value) in &config.headers {
            let wrong = || Misconfigured::Header(name.clone());
            let header = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
            let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| wrong())?;
            // It may be a secret: not for logs.
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let tls = match url.scheme() {
            Scheme::Http => None,
            Scheme::Https => {
                let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                    .with_safe_default_protocol_versions()?
                    .with_root_certificates(trust::roots(&config.ca_files)?)
                    .with_no_client_auth();
                client.alpn_protocols = vec![b"http/1.1".to_vec()];
                Some((Arc::new(client), server_name(&url)?))
            }
        };
        Ok(Some(Self { url, headers, tls }))
    }

    pub(super) fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Pushes one request's bytes.
    pub(super) async fn push(&self, body: Bytes) -> Result<(), PushError> {
        timeout(LIMIT, self.converse(body)).await.unwrap_or(Err(PushError::Timeout))
    }

    async fn converse(&self, body: Bytes) -> Result<(), PushError> {
        let stream = match self.url.host() {
            UrlHost::Ip(ip) => TcpStream::connect((*ip, self.url.port())).await,
            UrlHost::Name(name) => TcpStream::connect((name.as_str(), self.url.port())).await,
        };
        let stream = stream.map_err(PushError::Connect)?;
        match &self.tls {
            None => self.post(stream, body).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(config.clone());
                let stream = connector.connect(name.clone(), stream).await.map_err(PushError::Tls)?;
                self.post(stream, body).await
            }
        }
    }

    async fn post<S>(&self, stream: S, body: Bytes) -> Result<(), PushError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::post(self.url.target()).body(Full::new(body)).unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        let conversation = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            judge(head.status, &body)
        };
        // The connection has no thread of its own: it is driven here, and ends here.
        tokio::pin!(conversation);
        tokio::select! {
            outcome = &mut conversation => outcome,
            driven = connection => {
                driven?;
                conversation.await
            }
        }
    }
}

fn judge(status: StatusCode, body: &[u8]) -> Result<(), PushError> {
    if !status.is_success() {
        let text: String = String::from_utf8_lossy(body).trim().chars().take(TOLD_CHARS).collect();
        return Err(PushError::Refused { status, text });
    }
    // Who answers in another form has taken it all the same.
    let answer = ExportMetricsServiceResponse::decode(body).unwrap_or_default();
    match answer.partial_success.filter(|partial| partial.rejected_data_points > 0) {
        None => Ok(()),
        Some(partial) => Err(PushError::Partial {
            count: partial.rejected_data_points,
            text: partial.error_message.chars().take(TOLD_CHARS).collect(),
        }),
    }
}

fn server_name(url: &HttpUrl) -> Result<ServerName<'static>, Misconfigured> {
    match url.host() {
        UrlHost::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        UrlHost::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_| Misconfigured::ServerName(name.clone()))
        }
    }
}
