//! A client of the gRPC service that shares nothing with sstsctl but the contract.

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::{
    Code, Status,
    body::Body,
    codegen::http::Request,
    transport::{Channel, Endpoint},
};
use tower::{ServiceExt as _, service_fn};

use crate::Ground;

/// A channel to the daemon on the ground.
pub async fn connect(ground: &Ground) -> Channel {
    let socket = ground.socket();
    let connector = service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The address is never used: the connector knows where to go.
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.expect("the daemon listens")
}

/// Calls a method with those bytes for a body, the five before each message included, and gives what came of it; `Ok` as soon as
/// there is an answer. None where the connection ended without a status.
pub async fn raw_call(channel: Channel, method: &str, body: Vec<u8>) -> Option<Code> {
    let request = Request::post(format!("http://localhost/ssts.v1.Agent/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::from(body)))
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
