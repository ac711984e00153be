//! A client of the gRPC service that shares nothing with sstsctl but the contract.

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

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
