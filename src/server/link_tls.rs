//! TLS for the links of the server, from the settings; nothing without the feature.

#[cfg(feature = "tls")]
pub(super) use on::LinkTls;

#[cfg(not(feature = "tls"))]
pub(super) use off::LinkTls;

#[cfg(feature = "tls")]
mod on {
    use std::path::PathBuf;
    use std::sync::Arc;

    use crate::config::Config;
    use crate::link::{self, Tls};
    use crate::server::StartError;
    use crate::tcp::tls::rustls::{ClientConfig, ServerConfig};
    use crate::tcp::tls::{TlsError, mutual_configs};

    /// Certificates for links, if the settings name some.
    pub(in crate::server) struct LinkTls(Option<(Tls, Files)>);

    struct Files {
        certificate: PathBuf,
        key: PathBuf,
        roots: PathBuf,
    }

    /// What was read again.
    pub(in crate::server) type Renewed = (Arc<ServerConfig>, Arc<ClientConfig>);

    impl Files {
        fn of(config: &Config) -> Option<Self> {
            Some(Self {
                certificate: config.link_tls_cert.clone()?,
                key: config.link_tls_key.clone()?,
                roots: config.link_tls_client_ca.clone()?,
            })
        }

        fn read(&self) -> Result<Renewed, TlsError> {
            mutual_configs(&self.certificate, &self.key, &self.roots)
        }
    }

    impl LinkTls {
        pub(in crate::server) fn new(config: &Config) -> Result<Self, StartError> {
            let Some(files) = Files::of(config) else {
                return Ok(Self(None));
            };
            let (server, client) = files.read().map_err(StartError::Tls)?;
            Ok(Self(Some((Tls::new(server, client), files))))
        }

        /// Puts TLS under the node's links.
        pub(in crate::server) fn secure(&self, node: &mut link::Config) {
            if let Some((tls, _)) = &self.0 {
                node.set_tls(tls.clone());
            }
        }

        /// Reads the files again.
        pub(in crate::server) fn read(&self) -> Result<Option<Renewed>, TlsError> {
            let files = self.0.as_ref().map(|(_, files)| files);
            files.map(Files::read).transpose()
        }

        pub(in crate::server) fn replace(&self, renewed: Option<Renewed>) {
            if let (Some((tls, _)), Some((server, client))) = (&self.0, renewed) {
                tls.replace(server, client);
            }
        }
    }
}

#[cfg(not(feature = "tls"))]
mod off {
    use crate::config::Config;
    use crate::link;
    use crate::server::StartError;

    pub(in crate::server) struct LinkTls;

    impl LinkTls {
        #[allow(clippy::unnecessary_wraps)] // as with the feature
        pub(in crate::server) fn new(_config: &Config) -> Result<Self, StartError> {
            Ok(Self)
        }

        #[allow(clippy::unused_self)] // as with the feature
        pub(in crate::server) fn secure(&self, _node: &mut link::Config) {}
    }
}
