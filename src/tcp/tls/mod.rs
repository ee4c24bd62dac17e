//! TLS under the connections of this component, by `rustls` (feature `tls`).
//!
//! In scope: [`TlsAcceptor`] and [`TlsConnector`], steps before a connection is opened, for servers
//! and for clients; [`TlsLayer`], what they put under the connection; reading certificates and
//! keys; configurations for the two common cases ([`server_config`], [`mutual_configs`]).
//! Out of scope: which certificates to trust and what to ask of the peer otherwise, which the
//! configurations of [`rustls`] say; it is re-exported, so that they are of the version that is
//! wanted here.
//!
//! The handshake has the deadline of all steps (`pre_connect_timeout`). Bytes that TLS holds and
//! the kernel has not taken count as waiting: in `pending_write`, for the write deadline and
//! for the drained callback. A peer that ends its stream without saying so (close_notify) has
//! failed (`UnexpectedEof`), for its stream may have been cut short.
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//! use bayeux::tcp::{ServerConfig, tls};
//!
//! # fn main() -> Result<(), tls::TlsError> {
//! let tls = tls::server_config(Path::new("cert.pem"), Path::new("key.pem"), &[])?;
//! let mut config = ServerConfig::default();
//! config.reactor.pre_connect = vec![Arc::new(tls::TlsAcceptor::new(tls))];
//! # Ok(())
//! # }
//! ```

mod files;
mod layer;
mod mutual;
mod step;

pub use rustls;

pub use files::{TlsError, certificates, private_key, provider, server_config};
pub use layer::TlsLayer;
pub use mutual::{mutual_configs, roots};
pub use step::{TlsAcceptor, TlsConnector};
