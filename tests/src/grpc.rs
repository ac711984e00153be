//! A client of the gRPC service that shares nothing with sstsctl but the contract.

use std::{convert::Infallible, iter, time::Duration};

use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper_util::rt::TokioIo;
use tokio::{
    net::UnixStream,
    time::{sleep, timeout},
};
use tokio_stream::StreamExt as _;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::Request,
    transport::{Channel, Endpoint},
};
use tower::{ServiceExt as _, service_fn};

use crate::Ground;

/// Longer than anything takes that is to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fails the story where it does not come.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it takes too long")
}

/// A channel to the daemon on the ground.
pub async fn connect(ground: &Ground) -> Channel {
    // The address is never used: the connector knows where to go.
    connect_by(ground, Endpoint::from_static("http://localhost")).await
}

/// The same, for a client that takes so many bytes at most before it reads: of HTTP/2, SETTINGS_INITIAL_WINDOW_SIZE.
pub async fn connect_with_window(ground: &Ground, bytes: u32) -> Channel {
    connect_by(ground, Endpoint::from_static("http://localhost").initial_stream_window_size(bytes)).await
}

async fn connect_by(ground: &Ground, endpoint: Endpoint) -> Channel {
    let socket = ground.socket();
    let connector = service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await.expect("the daemon listens")
}

/// Calls a method with a message that comes byte by byte, one a second, and gives what came of it.
pub async fn dribbled_call(channel: Channel, method: &str) -> Option<Code> {
    // Not compressed, 1 KiB long.
    let bytes = [0, 0, 0, 4, 0].into_iter().chain(iter::repeat_n(0, 1_024));
    let slowly = tokio_stream::iter(bytes).then(async |byte| {
        sleep(Duration::from_secs(1)).await;
        Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(&[byte])))
    });
    call(channel, method, Body::new(StreamBody::new(Box::pin(slowly)))).await
}

/// Calls a method with those bytes for a body, the five before each message included, and gives what came of it; `Ok` as soon as
/// there is an answer. None where the connection ended without a status.
pub async fn raw_call(channel: Channel, method: &str, body: Vec<u8>) -> Option<Code> {
    call(channel, method, Body::new(Full::from(body))).await
}

async fn call(channel: Channel, method: &str, body: Body) -> Option<Code> {
    let request = Request::post(format!("http://localhost/ssts.v1.Agent/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("the method is a word");
    let response = channel.oneshot(request).await.ok()?;
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Some(status.code());
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_trailers() {
            Ok(trailers) => return Status::from_header_map(&trailers).map(|status| status.code()),
            Err(data) if data.data_ref().is_some_and(|data| !data.is_empty()) => return Some(Code::Ok),
            Err(_) => {}
        }
    }
    None
}
