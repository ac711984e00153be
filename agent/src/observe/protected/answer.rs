//! One GET over a connection of its own, as a client that comes anew would see the service.

use std::{io, sync::Arc};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use ssts_proto::http_url::{HttpUrl, Scheme, UrlHost};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// A health page, or one value, is far shorter.
const LONGEST_BODY_BYTES: usize = 1 << 20;

/// What came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// What TLS takes: the host's own certificates, as every other client of it trusts.
pub(super) fn tls() -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Asks for `target` at the host of `url`.
pub(super) async fn get(url: &HttpUrl, target: &str, tls: Option<&TlsConnector>) -> io::Result<Answer> {
    let stream = match url.host() {
        UrlHost::Name(name) => TcpStream::connect((name.as_str(), url.port())).await?,
        UrlHost::Ip(ip) => TcpStream::connect((*ip, url.port())).await?,
    };
    stream.set_nodelay(true)?;
    match (url.scheme(), tls) {
        (Scheme::Https, Some(tls)) => {
            let name = match url.host() {
                UrlHost::Name(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
                UrlHost::Ip(ip) => ServerName::from(*ip),
            };
            exchange(tls.connect(name, stream).await?, url, target).await
        }
        _ => exchange(stream, url, target).await,
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &HttpUrl,
    target: &str,
) -> io::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the sender.
    tokio::spawn(connection);
    let request = Request::get(target)
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, concat!("sstsd/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status().as_u16();
    let body =
        Limited::new(response.into_body(), LONGEST_BODY_BYTES).collect().await.map_err(io::Error::other)?;
    Ok(Answer { status, body: body.to_bytes() })
}
