//! Peers that show certificates to each other.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::files::{TlsError, certificates, private_key, provider};

/// Those that sign certificates, from a PEM file: all that are in it, at least one. Blocks.
///
/// # Errors
/// [`TlsError::File`], and [`TlsError::Root`] if one cannot be a root of trust.
pub fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| TlsError::Root {
            path: path.to_owned(),
            source,
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
    let pair = |source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    };
    let (chain, secret) = (certificates(certificate)?, private_key(key)?);
    let roots = roots(trusted)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider())
        .build()
        .expect("there is a root, and no revocation list that could be wrong");
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Provider)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), secret.clone_key())
        .map_err(pair)?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Provider)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, secret)
        .map_err(pair)?;
    client.resumption = Resumption::disabled();
    Ok((Arc::new(server), Arc::new(client)))
}
