//! The files that TLS needs: read, checked, and looked at for changes.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::TLS13,
};

use crate::config::TlsConfig;

/// Whatever a PEM file holds, it is not larger.
const MAX_BYTES: u64 = 16 << 20;

/// Why TCP can't be listened on, or what changed can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be used.
    #[error(
        "{key} = {}: {reason}; `sstsctl pki issue host` makes these files (docs/security.md)", path.display()
    )]
    File {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Others may read the key.
    #[error("tls.key = {}: its mode is {mode:04o}, so others may have read it; make a new one, or chmod 600", path.display())]
    Wide {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// They don't fit together.
    #[error("{0}; `sstsctl pki issue host` makes files that fit together (docs/security.md)")]
    Unfit(String),
    /// The kernel refused.
    #[error("tls.listen = {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// What connections are made and judged with.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    pub(super) server: Arc<ServerConfig>,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
}

/// What tells that a file was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp([Option<[i128; 4]>; 4]);

impl Stamp {
    pub(super) fn of(config: &TlsConfig) -> Self {
        let stamp = |path: &Path| {
            let about = fs::metadata(path).ok()?;
            let changed = i128::from(about.ctime()) * 1_000_000_000 + i128::from(about.ctime_nsec());
            Some([changed, about.ino().into(), about.dev().into(), about.size().into()])
        };
        let TlsConfig { certificate, key, clients_ca, revoked, .. } = config;
        Self([certificate, key, clients_ca, revoked].map(|path| stamp(path)))
    }
}

impl Trust {
    /// What the files say: TLS 1.3 alone, and nobody without a certificate. No session is resumed: a certificate is looked at in
    /// every handshake.
    pub(super) fn read(config: &TlsConfig) -> Result<Self, TlsError> {
        let TlsConfig { certificate, key, clients_ca, revoked, .. } = config;
        let chain = certificates("tls.certificate", certificate)?;
        let key = private_key(key)?;
        let mut roots = RootCertStore::empty();
        for authority in certificates("tls.clients_ca", clients_ca)? {
            roots.add(authority).map_err(|error| file("tls.clients_ca", clients_ca, error.to_string()))?;
        }
        let text = read("tls.revoked", revoked)?;
        let lists = CertificateRevocationListDer::pem_slice_iter(&text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| file("tls.revoked", revoked, error.to_string()))?;
        if lists.is_empty() {
            return Err(file("tls.revoked", revoked, "it holds no list of revoked certificates".into()));
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .with_crls(lists)
            .build()
            .map_err(|error| file("tls.revoked", revoked, error.to_string()))?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| TlsError::Unfit(error.to_string()))?
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::Unfit(format!("tls.certificate and tls.key: {error}")))?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;
        Ok(Self { server: Arc::new(server), verifier })
    }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(key, path)?;
    let found = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| file(key, path, error.to_string()))?;
    if found.is_empty() { Err(file(key, path, "it holds no certificate".into())) } else { Ok(found) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const KEY: &str = "tls.key";
    let about = fs::metadata(path).map_err(|error| file(KEY, path, error.to_string()))?;
    let mode = about.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(TlsError::Wide { path: path.to_owned(), mode });
    }
    let text = read(KEY, path)?;
    // The reader's words could hold some of it.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| file(KEY, path, "it holds no private key".into()))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |reason: String| file(key, path, reason);
    let about = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !about.is_file() || about.len() > MAX_BYTES {
        return Err(failed("it is no file in PEM form".into()));
    }
    fs::read(path).map_err(|error| failed(error.to_string()))
}

fn file(key: &'static str, path: &Path, reason: String) -> TlsError {
    TlsError::File { key, path: path.to_owned(), reason }
}
