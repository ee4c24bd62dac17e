//! TLS for the public listener: from the settings, or from the embedder; nothing without the
//! feature.

#[cfg(feature = "tls")]
pub(super) use on::Tls;

#[cfg(not(feature = "tls"))]
pub(super) use off::Tls;

#[cfg(feature = "tls")]
mod on {
    use std::path::PathBuf;
    use std::sync::Arc;

    use crate::config::Config;
    use crate::server::StartError;
    use crate::tcp::tls::{TlsAcceptor, TlsError, server_config};

    /// What the native connector speaks.
    const PROTOCOLS: &[&str] = &["http/1.1"];

    pub(in crate::server) struct Tls {
        acceptor: Option<Arc<TlsAcceptor>>,
        files: Option<Files>,
    }

    struct Files {
        certificate: PathBuf,
        key: PathBuf,
    }

    impl Tls {
        /// What the embedder gave counts more than the files of the settings.
        pub(in crate::server) fn new(config: &Config) -> Result<Self, StartError> {
            if let Some(given) = &config.native.tls {
                return Ok(Self {
                    acceptor: Some(Arc::clone(given)),
                    files: None,
                });
            }
            let files = config.tls_cert.clone().zip(config.tls_key.clone());
            let files = files.map(|(certificate, key)| Files { certificate, key });
            let acceptor = match &files {
                None => None,
                Some(Files { certificate, key }) => {
                    let tls = server_config(certificate, key, PROTOCOLS);
                    let tls = tls.map_err(StartError::Tls)?;
                    Some(Arc::new(TlsAcceptor::new(tls)))
                }
            };
            Ok(Self { acceptor, files })
        }

        pub(in crate::server) fn is_on(&self) -> bool {
            self.acceptor.is_some()
        }

        pub(in crate::server) fn acceptor(&self) -> Option<Arc<TlsAcceptor>> {
            self.acceptor.clone()
        }

        /// Reads the files again.
        pub(in crate::server) fn reload(&self) -> Result<(), TlsError> {
            if let (Some(acceptor), Some(files)) = (&self.acceptor, &self.files) {
                acceptor.replace(server_config(&files.certificate, &files.key, PROTOCOLS)?);
            }
            Ok(())
        }
    }
}

#[cfg(not(feature = "tls"))]
mod off {
    use crate::config::Config;
    use crate::server::StartError;

    pub(in crate::server) struct Tls;

    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // as with the feature
    impl Tls {
        pub(in crate::server) fn new(_config: &Config) -> Result<Self, StartError> {
            Ok(Self)
        }

        pub(in crate::server) fn is_on(&self) -> bool {
            false
        }
    }
}
