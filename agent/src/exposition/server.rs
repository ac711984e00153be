//! Answers over HTTP/1.1: one request a connection, `GET` or `HEAD` of `/metrics`. Whoever is slow or sends rubbish loses the
//! connection in seconds, and takes a place among few meanwhile.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{Shared, accept::Format};

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// From the first byte to the last one of a request's header.
const HEADER_TIME: Duration = Duration::from_secs(2);
/// From a connection's beginning to its end.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// The least that hyper takes is 8 KiB.
const HEADER_BYTES: usize = 16 << 10;
const HEADERS: usize = 64;
/// An address that is not there yet, or in use, may be had later.
const RETRY: Duration = Duration::from_secs(10);
/// Out of file descriptors: others have to go first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const PATH: &str = "/metrics";

/// Listens at an address, and answers.
pub(super) async fn serve(address: SocketAddr, shared: Arc<Shared>) {
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) if told => debug!(%address, %error, "metrics are still not served"),
            Err(error) => {
                told = true;
                warn!(
                    %address, %error,
                    "metrics are not served; it is tried again every {RETRY:?}. Stop who listens there, or choose another address: metrics.listen"
                );
            }
        }
        sleep(RETRY).await;
    };
    let bound = listener.local_addr().unwrap_or(address);
    info!("metrics are served at http://{bound}{PATH}");
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Nobody closes it.
    while let Ok(place) = places.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    // Broken off or finished, it is over.
                    let _over = timeout(CONNECTION_TIME, connection(stream, shared)).await;
                    drop(place);
                });
            }
            Err(error) => {
                debug!(%address, %error, "no connection could be taken");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) -> hyper::Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let shared = shared.clone();
        async move {
            Ok::<_, Infallible>(
                answer(request.method(), request.uri().path(), request.headers(), shared).await,
            )
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    shared: Arc<Shared>,
) -> Response<Full<Bytes>> {
    if path != PATH {
        return told(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response =
            told(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read: GET or HEAD /metrics\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let accept: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::preferred(&accept.join(","));
    // Nobody closes it.
    let turn = shared.turn.clone().acquire_owned().await;
    // It takes milliseconds on a large host, and this thread has commands to answer.
    let made = tokio::task::spawn_blocking(move || {
        let answer = shared.answer(format);
        drop(turn);
        answer
    });
    match made.await {
        Ok(bytes) => response(StatusCode::OK, format.content_type(), bytes),
        Err(error) => {
            warn!(%error, "a bug: metrics could not be encoded");
            told(StatusCode::INTERNAL_SERVER_ERROR, "a bug, see sstsd's log\n")
        }
    }
}

fn told(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
