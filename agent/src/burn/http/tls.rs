//! TLS as a client: whom to trust, and what to offer. `ring` computes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::{
    error::HttpError,
    load::{HttpLoad, Version},
};

/// TLS 1.2 and 1.3, with what the load says.
///
/// Trusted are the host's own certificates, as every other client of it does, and those of the agent's configuration.
pub(super) fn config(load: &HttpLoad) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError::Roots { path: None, reason: error.to_string() })?;
    let builder = if load.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(&load.ca_files)?)
    };
    let mut config = builder.with_no_client_auth();
    if !load.resume {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

/// What is offered, in the order of preference: RFC 7301.
pub(super) fn alpn(version: Version) -> Vec<Vec<u8>> {
    match version {
        Version::Auto => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Version::Http1 => vec![b"http/1.1".to_vec()],
        Version::Http2 => vec![b"h2".to_vec()],
    }
}

fn roots(ca_files: &[PathBuf]) -> Result<RootCertStore, HttpError> {
    let failed =
        |path: Option<&Path>, reason: String| HttpError::Roots { path: path.map(Path::to_owned), reason };
    let mut store = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    // A certificate of the host's that can't be used is no reason to trust none of them.
    store.add_parsable_certificates(native.certs);
    for path in ca_files {
        let in_file = |error: &dyn std::fmt::Display| failed(Some(path), error.to_string());
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| in_file(&error))?;
        let mut count = 0;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| in_file(&error))?;
            store.add(certificate).map_err(|error| in_file(&error))?;
            count += 1;
        }
        if count == 0 {
            return Err(in_file(&"it holds no certificate"));
        }
    }
    if store.is_empty() {
        let reason = native.errors.first().map_or_else(
            || "this host has none; install ca-certificates, or set http.ca_files in the agent's configuration".into(),
            ToString::to_string,
        );
        return Err(failed(None, reason));
    }
    Ok(store)
}

/// Takes any certificate; that its owner signed the handshake is still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
