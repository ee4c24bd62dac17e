//! Every number that the client goes by.

use std::time::Duration;

use ureq::http::{HeaderName, HeaderValue};

/// Set through the builder, whose methods say what each means, and bound the times so that they can
/// be added to the present.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) backoff_first: Duration,
    pub(crate) backoff_longest: Duration,
    pub(crate) network_timeout: Duration,
    pub(crate) reply_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) max_response: u64,
    pub(crate) queue_messages: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) batch_messages: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) callback_messages: usize,
    pub(crate) callback_bytes: usize,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Instead of the roots of Mozilla.
    #[cfg(feature = "client-tls")]
    pub(crate) roots: Option<Roots>,
}

#[cfg(feature = "client-tls")]
pub(crate) type Roots = Vec<rustls::pki_types::CertificateDer<'static>>;

impl Default for Options {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_secs(1),
            backoff_longest: Duration::from_secs(60),
            network_timeout: Duration::from_secs(10),
            reply_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(2),
            max_response: 16 << 20,
            queue_messages: 10_000,
            queue_bytes: 16 << 20,
            batch_messages: 256,
            batch_bytes: 256 << 10,
            callback_messages: 10_000,
            callback_bytes: 64 << 20,
            headers: Vec::new(),
            #[cfg(feature = "client-tls")]
            roots: None,
        }
    }
}
