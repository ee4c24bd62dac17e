//! Certificates and keys from PEM files.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};

/// Why certificates and keys cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, is not PEM, or has nothing of what it should.
    File {
        /// Which file.
        path: PathBuf,
        /// What it should have.
        wanted: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The key does not belong to the certificate, or one of them is none.
    Pair {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong with them.
        source: rustls::Error,
    },
    /// A certificate cannot be a root of trust.
    Root {
        /// The file that it is in.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The provider of cryptography refuses.
    Provider(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                wanted,
                source,
            } => match source {
                pem::Error::NoItemsFound => {
                    write!(f, "{} has no {wanted} in PEM form", path.display())
                }
                pem::Error::Io(error) => write!(f, "cannot read {}: {error}", path.display()),
                other => write!(f, "cannot read {}: {other}", path.display()),
            },
            Self::Pair {
                certificate,
                key,
                source,
            } => {
                let (certificate, key) = (certificate.display(), key.display());
                match source {
                    rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                        write!(f, "{key} is not the key of the certificate {certificate}")
                    }
                    other => write!(f, "cannot use {certificate} with {key}: {other}"),
                }
            }
            Self::Root { path, source } => {
                write!(
                    f,
                    "cannot trust a certificate of {}: {source}",
                    path.display()
                )
            }
            Self::Provider(error) => write!(f, "cannot set up TLS: {error}"),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Pair { source, .. } | Self::Root { source, .. } | Self::Provider(source) => {
                Some(source)
            }
        }
    }
}

/// The cryptography that this crate is built with: `ring`. For the builders of [`rustls`].
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// All certificates of a PEM file, at least one. Blocks.
///
/// # Errors
/// [`TlsError::File`].
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File {
        path: path.to_owned(),
        wanted: "certificate",
        source,
    };
    let found = CertificateDer::pem_file_iter(path).map_err(wrong)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if found.is_empty() {
        return Err(wrong(pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// The first private key of a PEM file: PKCS #8, PKCS #1 or SEC 1, not encrypted. Blocks.
///
/// # Errors
/// [`TlsError::File`].
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        wanted: "private key",
        source,
    })
}

/// A server with one certificate, its chain behind it in the same file, for clients of any kind:
/// TLS 1.2 and 1.3, sessions resumed by tickets, and these protocols to choose from (ALPN); none
/// for no choice. Blocks while it reads the files.
///
/// # Errors
/// If a file cannot be read or the two do not fit together.
pub fn server_config(
    certificate: &Path,
    key: &Path,
    protocols: &[&str],
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(certificate)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_no_client_auth()
        .with_single_cert(chain, private_key(key)?);
    let mut config = config.map_err(|source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })?;
    config.ticketer = ring::Ticketer::new().map_err(TlsError::Provider)?;
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    Ok(Arc::new(config))
}
