//! An authority of a story's own, made by `sstsctl pki`, and clients of it that share nothing with sstsctl.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::{Ctl, Daemon, Ground, outside};

/// An authority in a folder of the ground, with a certificate for a host's address.
#[derive(Debug)]
pub struct Pki {
    folder: PathBuf,
    address: &'static str,
}

impl Pki {
    /// As a new user makes it, for 127.0.0.1.
    pub fn new(ground: &Ground, name: &str) -> Self {
        Self::of_host_at(ground, name, "127.0.0.1")
    }

    /// For a host at that address.
    pub fn of_host_at(ground: &Ground, name: &str, address: &'static str) -> Self {
        let pki = Self { folder: ground.path(name), address };
        pki.ctl(ground).words("pki init").run().assert_status(0);
        let issue = format!("pki issue host here --address {address}");
        pki.ctl(ground).words(&issue).run().assert_status(0);
        pki
    }

    /// `sstsctl` with its folder.
    pub fn ctl(&self, ground: &Ground) -> Ctl {
        Ctl::bare(ground).args(["--pki", &self.folder.display().to_string()])
    }

    /// Issues a client's certificate; gives its folder.
    pub fn client(&self, ground: &Ground, name: &str, role: &str) -> PathBuf {
        self.ctl(ground).words(&format!("pki issue client {name} --role {role}")).run().assert_status(0);
        self.folder.join("clients").join(name)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the host's certificate.
    pub fn host(&self) -> PathBuf {
        self.folder.join("hosts/here")
    }

    /// Section `[tls]` of a daemon on a free port, with `more` keys.
    pub fn config(&self, more: &str) -> String {
        let host = self.host();
        let host = host.display();
        format!(
            "[tls]\nlisten = [\"{}:0\"]\ncertificate = \"{host}/host.crt\"\nkey = \"{host}/host.key\"\n\
             clients_ca = \"{host}/ca.crt\"\nrevoked = \"{host}/revoked.crl\"\n{more}\n",
            self.address
        )
    }

    /// A client of these versions of TLS that trusts this authority, with the certificate in a folder, or none.
    pub fn tls(
        &self,
        client: Option<&Path>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(self.folder.join("ca.crt")).expect("sstsctl wrote it");
        roots.add(authority).expect("it is one");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("ring has them")
            .with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some(folder) => {
                let certificate =
                    CertificateDer::from_pem_file(folder.join("client.crt")).expect("it is there");
                let key = PrivateKeyDer::from_pem_file(folder.join("client.key")).expect("it is there");
                builder.with_client_auth_cert(vec![certificate], key).expect("they belong together")
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }

    /// A handshake, as far as the client is concerned.
    ///
    /// # Errors
    /// As the client sees it.
    pub async fn shake(
        address: SocketAddr,
        config: Arc<ClientConfig>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::from(address.ip());
        TlsConnector::from(config).connect(name, TcpStream::connect(address).await?).await
    }

    /// A gRPC channel with the certificate in a folder.
    pub async fn connect(&self, address: SocketAddr, client: &Path) -> Channel {
        let config = self.tls(Some(client), &[&rustls::version::TLS13]);
        let connector = service_fn(move |_| {
            let config = config.clone();
            async move { Self::shake(address, config).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector(connector).await.expect("the daemon listens")
    }
}

/// Where a daemon with [`Pki::config`] listens.
pub fn tls_address(daemon: &Daemon) -> SocketAddr {
    let mut found = None;
    outside::within(Duration::from_secs(20), || {
        let log = daemon.log();
        let line = log.lines().find(|line| line.contains("listening over TLS"));
        found = line.and_then(|line| line.rsplit("address=").next()?.trim().parse().ok());
        found.is_some()
    });
    found.unwrap_or_else(|| panic!("it does not listen over TLS:\n{}", daemon.log()))
}
