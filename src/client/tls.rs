//! Which servers are believed to be who they say: those with a certificate from a known root.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::error::Error;
use super::peer::Peer;
use crate::tcp::reactor::PreConnect;
use crate::tcp::tls::{TlsConnector, provider};

/// Encrypts a WebSocket to the peer.
pub(crate) fn step(peer: &Peer) -> Result<Arc<dyn PreConnect>, Error> {
    let host = peer.endpoint.host();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Error::Config(format!("{host:?} cannot have a certificate")))?;
    let unusable = |error: rustls::Error| Error::Config(error.to_string());
    let mut roots = RootCertStore::empty();
    match &peer.options.roots {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(own) => {
            for root in own.iter() {
                roots.add(root.clone()).map_err(unusable)?;
            }
        }
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(TlsConnector::new(Arc::new(config), name)))
}

/// The same roots for requests.
pub(crate) fn config(peer: &Peer) -> TlsConfig {
    let roots = match &peer.options.roots {
        None => RootCerts::WebPki,
        Some(own) => {
            let own = own
                .iter()
                .map(|root| Certificate::from_der(root).to_owned());
            RootCerts::Specific(Arc::new(own.collect()))
        }
    };
    TlsConfig::builder().root_certs(roots).build()
}
