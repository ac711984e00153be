//! The gRPC server: what every socket offers, and what connections over TCP are held to beside.

use std::time::Duration;

use ssts_agent::{
    config::TlsConfig,
    rpc::{Audited, Incoming, Listener, Rights, TlsListener},
};
use ssts_proto::{FILE_DESCRIPTOR_SET, v1::agent_server::AgentServer};
use tokio::sync::watch;
use tonic::transport::{Server, server::Router};
use tower::layer::util::{Identity, Stack};

/// A scenario of a thousand phases is some 100 KiB.
const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// For the answer to a call, its request read; streams begin in it. Stopping a run takes the longest.
const CALL_TIME: Duration = Duration::from_secs(60);
/// Calls and watches at once on one connection to a Unix socket.
const MAX_STREAMS: u32 = 256;
/// A client that does not answer a ping for so long is gone.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_ANSWER_TIME: Duration = Duration::from_secs(10);
/// Of a request's headers, in bytes: HPACK's are counted unpacked.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// Answers on one Unix socket until told to stop.
pub(crate) async fn on_socket(
    service: Audited,
    rights: Rights,
    mut listener: Listener,
    stopped: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let Some(socket) = listener.take() else { return Ok(()) };
    // Without pings: the kernel tells when a local client is gone, and one that its user put to sleep may go on later.
    let server = bounded(Server::builder(), MAX_STREAMS);
    let router = router(server, service, rights, MAX_MESSAGE_BYTES).await;
    router.serve_with_incoming_shutdown(Incoming::new(socket), told_to_stop(stopped)).await
}

/// Answers on one TCP port until told to stop.
pub(crate) async fn over_tls(
    service: Audited,
    rights: Rights,
    listener: TlsListener,
    limits: TlsConfig,
    stopped: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let server = bounded(Server::builder(), limits.max_streams)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_ANSWER_TIME));
    let max_message = usize::try_from(limits.max_message_bytes).unwrap_or(usize::MAX);
    let router = router(server, service, rights, max_message).await;
    router.serve_with_incoming_shutdown(listener.incoming(), told_to_stop(stopped)).await
}

/// What no client gets more of, wherever it comes from.
fn bounded(server: Server, max_streams: u32) -> Server {
    server
        .timeout(CALL_TIME)
        .concurrency_limit_per_connection(usize::try_from(max_streams).unwrap_or(usize::MAX))
        .max_concurrent_streams(max_streams)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
}

async fn router(
    server: Server,
    service: Audited,
    rights: Rights,
    max_message_bytes: usize,
) -> Router<Stack<Rights, Identity>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let agent = AgentServer::new(service).max_decoding_message_size(max_message_bytes);
    health.set_serving::<AgentServer<Audited>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut router = server.layer(rights).add_service(health_service).add_service(agent);
    // Both versions: older clients ask for v1alpha. The descriptors are compiled in, so building can't fail.
    if let (Ok(v1), Ok(v1alpha)) = (reflection().build_v1(), reflection().build_v1alpha()) {
        router = router.add_service(v1).add_service(v1alpha);
    }
    router
}

async fn told_to_stop(mut stopped: watch::Receiver<bool>) {
    let _sender_gone = stopped.wait_for(|stopped| *stopped).await;
}
