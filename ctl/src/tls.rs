//! The way to an agent over TCP: TLS 1.3, each side with a certificate. Nothing is offered without.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::TLS13,
};
use tokio::{io::AsyncBufReadExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    error::{Failure, Problem},
    pki,
};

/// For the connection and the handshake.
const TIME: Duration = Duration::from_secs(5);

/// An agent, and who we are to it.
#[derive(Clone)]
pub(crate) struct ToAgent {
    /// As the user wrote it: a name or an address.
    name: String,
    port: u16,
    server: ServerName<'static>,
    config: Arc<ClientConfig>,
}

/// Why an agent, or we, would not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Problem);

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// No keys.
impl fmt::Debug for ToAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToAgent").field("name", &self.name).field("port", &self.port).finish_non_exhaustive()
    }
}

impl ToAgent {
    /// With the certificates of a folder, which may be an authority's, or hold one client's alone.
    pub(crate) fn new(name: &str, port: u16, folder: &Path) -> Result<Self, Failure> {
        let own = |file: &str| folder.join(file).exists();
        let own = if own(pki::CLIENT_CERTIFICATE) { folder.to_owned() } else { folder.join(pki::OWN_CLIENT) };
        let mut roots = RootCertStore::empty();
        let authority = folder.join(pki::AUTHORITY);
        for certificate in certificates(&authority)? {
            roots.add(certificate).map_err(|error| unfit(&authority, &error))?;
        }
        let chain = certificates(&own.join(pki::CLIENT_CERTIFICATE))?;
        let key_file = own.join(pki::CLIENT_KEY);
        let key = pki::private_file(&key_file)?;
        // The reader's words could hold some of it.
        let key =
            PrivateKeyDer::from_pem_slice(&key).map_err(|_| unfit(&key_file, &"it holds no private key"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| unfit(folder, &error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| unfit(&own, &error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Self::with(name, port, Arc::new(config))
    }

    /// Another agent of the same authority: a fleet's certificates are read once.
    pub(crate) fn also_to(&self, name: &str, port: u16) -> Result<Self, Failure> {
        Self::with(name, port, self.config.clone())
    }

    fn with(name: &str, port: u16, config: Arc<ClientConfig>) -> Result<Self, Failure> {
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            Failure::usage(
                format!("'{name}' is neither a host's name nor an address"),
                "use --host https://HOST:PORT",
            )
        })?;
        Ok(Self { name: name.to_owned(), port, server, config })
    }

    /// A connection that the agent has let us in by.
    pub(crate) async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let connecting = async {
            let stream = TcpStream::connect((self.name.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            let connector = TlsConnector::from(self.config.clone());
            let mut stream =
                connector.connect(self.server.clone(), stream).await.map_err(|error| self.told(error))?;
            // In TLS 1.3 the agent judges our certificate when for us the handshake is over. Its first words tell: HTTP/2 begins with
            // the server's settings.
            if stream.fill_buf().await.map_err(|error| self.told(error))?.is_empty() {
                return Err(refusal(
                    format!("{} closed the connection", self.name),
                    "see `sstsctl audit export` on that host: there may be too many connections, or none are allowed from here",
                ));
            }
            Ok(stream)
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        timeout(TIME, connecting).await.unwrap_or_else(|_| Err(late()))
    }

    /// What a failed handshake means.
    fn told(&self, error: io::Error) -> io::Error {
        let found = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let name = &self.name;
        match found {
            Some(rustls::Error::InvalidCertificate(why)) => {
                let (why, mend) = match why {
                    CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                        "is not of our authority".to_owned(),
                        "see that --pki names the folder of the authority that the host's certificate is of",
                    ),
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                        format!("is not for '{name}'"),
                        "use the name or address that it was issued for, or issue another one with --address",
                    ),
                    CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                        ("has expired".to_owned(), "make a new one with `sstsctl pki rotate`")
                    }
                    other => {
                        (format!("does not hold: {other}"), "make a new one with `sstsctl pki issue host`")
                    }
                };
                refusal(format!("the certificate of {name} {why}"), mend)
            }
            Some(rustls::Error::AlertReceived(alert)) => {
                use AlertDescription as Alert;
                let why = match alert {
                    Alert::CertificateRevoked => "it is revoked",
                    Alert::CertificateExpired => "it has expired",
                    Alert::UnknownCA | Alert::DecryptError => "it is of another authority",
                    Alert::CertificateRequired => "there is none",
                    Alert::ProtocolVersion => "the versions of TLS don't fit",
                    _ => "its log says why",
                };
                refusal(
                    format!("{name} refuses our certificate: {why}"),
                    "ask whoever keeps its authority for a new one (`sstsctl pki issue client`, `sstsctl pki rotate`)",
                )
            }
            _ => error,
        }
    }
}

fn refusal(message: String, mend: &str) -> io::Error {
    io::Error::other(Refusal(Problem::new(message, mend)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unfit(path, &"it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(unfit(path, &error)),
    }
}

fn unfit(path: &Path, why: &dyn fmt::Display) -> Failure {
    Failure::usage(
        format!("{}: {why}", path.display()),
        "TCP takes certificates: `sstsctl pki init` and `sstsctl pki issue client` make them, --pki names their folder",
    )
}
