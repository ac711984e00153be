//! One simulated agent's port: TLS 1.3, clients with certificates of the authority alone, as a real one's.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use ssts_proto::v1::agent_server::AgentServer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Server, server::Connected};

use super::agent::SimulatedAgent;
use crate::Pki;

const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// What all of them show.
#[derive(Clone)]
pub(super) struct Identity(TlsAcceptor);

impl Identity {
    pub(super) fn of(pki: &Pki) -> Self {
        let host = pki.host();
        let provider = Arc::new(ring::default_provider());
        let authority = CertificateDer::from_pem_file(host.join("ca.crt")).expect("sstsctl wrote it");
        let mut roots = RootCertStore::empty();
        roots.add(authority).expect("it is one");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .expect("there is an authority");
        let certificate = CertificateDer::from_pem_file(host.join("host.crt")).expect("sstsctl wrote it");
        let key = PrivateKeyDer::from_pem_file(host.join("host.key")).expect("sstsctl wrote it");
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("ring has it")
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.send_tls13_tickets = 0;
        Self(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Answers for one agent, until the runtime ends.
pub(super) async fn serve(listener: TcpListener, identity: Identity, agent: SimulatedAgent) {
    let (sender, receiver) = mpsc::channel(16);
    let serving = Server::builder()
        .add_service(AgentServer::new(agent))
        .serve_with_incoming(ReceiverStream::new(receiver));
    let accepting = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (identity, sender) = (identity.clone(), sender.clone());
            tokio::spawn(async move {
                let _best_effort = stream.set_nodelay(true);
                if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIME, identity.0.accept(stream)).await {
                    // The service is over, otherwise.
                    let _ = sender.send(io::Result::Ok(Line(stream))).await;
                }
            });
        }
    };
    tokio::select! {
        // It ends with its connections alone.
        _ = serving => {}
        () = accepting => {}
    }
}

/// A connection, for tonic.
struct Line(TlsStream<TcpStream>);

impl Connected for Line {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
