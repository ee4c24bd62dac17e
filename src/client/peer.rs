//! What all connections to one server have in common.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::cookies::Jar;
use super::endpoint::Endpoint;
use super::options::Options;
use crate::clock::Clock;

/// What the client calls itself.
pub(crate) const USER_AGENT: &str = concat!("bayeux-client/", env!("CARGO_PKG_VERSION"));

/// The server, how to talk to it, and the cookies that it has set.
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) network_timeout: Duration,
    pub(crate) max_response: u64,
    pub(crate) clock: Arc<dyn Clock>,
    #[cfg(feature = "client-tls")]
    pub(crate) roots: Option<super::options::Roots>,
    jar: Mutex<Jar>,
}

impl Peer {
    pub(crate) fn new(
        endpoint: Endpoint,
        headers: Vec<(HeaderName, HeaderValue)>,
        options: &Options,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let jar = Mutex::new(Jar::new(endpoint.path(), endpoint.is_secure()));
        Self {
            endpoint,
            headers,
            network_timeout: options.network_timeout,
            max_response: options.max_response,
            clock,
            #[cfg(feature = "client-tls")]
            roots: options.roots.clone(),
            jar,
        }
    }

    /// The value of the header `Cookie`, if there is anything to send.
    pub(crate) fn cookies(&self) -> Option<String> {
        self.jar.lock().header(self.clock.wall())
    }

    /// Keeps what the answer sets.
    pub(crate) fn keep_cookies(&self, headers: &HeaderMap) {
        let mut jar = self.jar.lock();
        for cookie in headers.get_all(header::SET_COOKIE) {
            if let Ok(cookie) = cookie.to_str() {
                jar.store(cookie, self.clock.wall());
            }
        }
    }
}

/// Seconds only: no Bayeux server sends a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(value.trim().parse().ok()?))
}
