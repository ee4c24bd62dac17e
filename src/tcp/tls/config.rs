//! Configurations of `rustls` from PEM files.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};

/// Why certificates and keys cannot be used.
#[derive(Debug)]
pub struct TlsError {
    message: String,
    source: Box<dyn Error + Send + Sync>,
}

impl TlsError {
    fn new(message: String, source: impl Error + Send + Sync + 'static) -> Self {
        Self {
            message,
            source: Box::new(source),
        }
    }

    /// A file cannot be read, is not PEM, or has nothing of what it should.
    fn file(path: &Path, wanted: &str, source: pem::Error) -> Self {
        let path = path.display();
        let message = match &source {
            pem::Error::NoItemsFound => format!("{path} has no {wanted} in PEM form"),
            pem::Error::Io(error) => format!("cannot read {path}: {error}"),
            other => format!("cannot read {path}: {other}"),
        };
        Self::new(message, source)
    }

    /// The key does not belong to the certificate, or one of them is none.
    fn pair(certificate: &Path, key: &Path, source: rustls::Error) -> Self {
        let (certificate, key) = (certificate.display(), key.display());
        let message = match &source {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!("{key} is not the key of the certificate {certificate}")
            }
            other => format!("cannot use {certificate} with {key}: {other}"),
        };
        Self::new(message, source)
    }

    /// The provider of cryptography refuses.
    fn provider(source: rustls::Error) -> Self {
        Self::new(format!("cannot set up TLS: {source}"), source)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// The cryptography that this crate is built with: `ring`. For the builders of [`rustls`].
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// All certificates of a PEM file, at least one. Blocks.
///
/// # Errors
/// If the file cannot be read, is not PEM, or has none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::file(path, "certificate", source);
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
/// If the file cannot be read, is not PEM, or has none.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::file(path, "private key", source))
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
        .map_err(TlsError::provider)?
        .with_no_client_auth()
        .with_single_cert(chain, private_key(key)?);
    let mut config = config.map_err(|source| TlsError::pair(certificate, key, source))?;
    config.ticketer = ring::Ticketer::new().map_err(TlsError::provider)?;
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    Ok(Arc::new(config))
}

/// Those that sign certificates, from a PEM file: all that are in it, at least one. Blocks.
///
/// # Errors
/// If the file cannot be read, has none, or one cannot be a root of trust.
pub fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| {
            let path = path.display();
            let message = format!("cannot trust a certificate of {path}: {source}");
            TlsError::new(message, source)
        })?;
    }
    Ok(Arc::new(roots))
}

/// Both ends of connections between programs that trust the same roots and nobody else: TLS 1.3;
/// each end shows its certificate, and demands one that a root has signed, for servers
/// (`serverAuth`) or clients (`clientAuth`) as its role is. Sessions are not resumed, so every
/// connection is checked in full. Blocks while it reads the files.
///
/// # Errors
/// If a file cannot be read, or certificate and key do not fit together.
pub fn mutual_configs(
    certificate: &Path,
    key: &Path,
    trusted: &Path,
) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>), TlsError> {
    let pair = |source| TlsError::pair(certificate, key, source);
    let (chain, secret) = (certificates(certificate)?, private_key(key)?);
    let roots = roots(trusted)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
        .build()
        .expect("there is a root, and no revocation list that could be wrong");
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::provider)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), secret.clone_key())
        .map_err(pair)?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::provider)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, secret)
        .map_err(pair)?;
    client.resumption = Resumption::disabled();
    Ok((Arc::new(server), Arc::new(client)))
}
