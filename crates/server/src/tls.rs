//! Encrypted connections, with a certificate and a key from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// Where certificate and key are, both in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, and those up to one that clients know.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Why connections cannot be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file does not hold what it should.
    #[error("{}: expected {expected} in PEM, found none: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What the reader says.
        reason: String,
    },
    /// Certificate and key do not fit.
    #[error("{} and {} do not go together: {source}", certificate.display(), key.display())]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What the encryption library says.
        source: rustls::Error,
    },
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// If one does not hold what it should, or they do not fit.
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let failed = |path: &Path, expected, reason: String| TlsError::File {
            path: path.to_owned(),
            expected,
            reason,
        };
        let none =
            |error: &dyn std::fmt::Display| failed(&self.certificate, "a certificate", error.to_string());
        let chain = CertificateDer::pem_file_iter(&self.certificate).map_err(|error| none(&error))?;
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| none(&error))?;
        if chain.is_empty() {
            return Err(none(&"the file has no such section"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key);
        let key = key.map_err(|error| failed(&self.key, "a private key", error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pair =
            |source| TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), source };
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config =
            config.map_err(pair)?.with_no_client_auth().with_single_cert(chain, key).map_err(pair)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
