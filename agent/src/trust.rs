//! Whose certificates this host trusts as a client.

use std::path::{Path, PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Why nobody could be trusted.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.as_deref().map_or_else(|| "the host's own certificates".into(), Path::to_string_lossy))]
pub struct NoTrust {
    /// The file at fault; the host's own certificates where there is none.
    pub path: Option<PathBuf>,
    /// The reader's words.
    pub reason: String,
}

/// The host's own certificates, as every other client of it trusts them, and those of files in PEM form.
///
/// # Errors
/// A file that can't be read or holds no certificate; a host that has none at all.
pub(crate) fn roots(ca_files: &[PathBuf]) -> Result<RootCertStore, NoTrust> {
    let failed = |path: Option<&Path>, reason: String| NoTrust { path: path.map(Path::to_owned), reason };
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
            || "this host has none; install ca-certificates, or name files of them (ca_files) in the agent's configuration".into(),
            ToString::to_string,
        );
        return Err(failed(None, reason));
    }
    Ok(store)
}
