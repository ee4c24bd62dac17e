//! The server: where it is, how to talk to it, and the cookies that it has set.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ureq::http::{HeaderMap, Uri, header};

use super::cookies::Jar;
use super::error::Error;
use super::options::Options;
use super::transport::Transport;
use crate::clock::Clock;

/// What the client calls itself.
pub(crate) const USER_AGENT: &str = concat!("bayeux-client/", env!("CARGO_PKG_VERSION"));

/// What all connections to one server have in common.
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: Arc<Options>,
    clock: Arc<dyn Clock>,
    jar: Mutex<Jar>,
}

/// Where the server is.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    uri: Uri,
    secure: bool,
}

impl Peer {
    pub(crate) fn new(endpoint: Endpoint, options: Arc<Options>, clock: Arc<dyn Clock>) -> Self {
        let jar = Mutex::new(Jar::new(endpoint.uri.path(), endpoint.secure));
        Self {
            endpoint,
            options,
            clock,
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

impl Endpoint {
    /// Checks the URL, and what is to be done with it. Also says which transport that leaves.
    pub(crate) fn new(url: &str, transport: Option<Transport>) -> Result<(Self, Transport), Error> {
        let refuse = |why: &str| Error::Config(format!("{url:?}: {why}"));
        let uri: Uri = url.parse().map_err(|_| refuse("not a URL"))?;
        let (secure, polling) = match uri.scheme_str() {
            Some("http") => (false, true),
            Some("https") => (true, true),
            Some("ws") => (false, false),
            Some("wss") => (true, false),
            _ => return Err(refuse("neither http, https, ws nor wss")),
        };
        if secure && !cfg!(feature = "client-tls") {
            return Err(refuse("encryption needs the cargo feature `client-tls`"));
        }
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => {
                return Err(refuse("credentials belong into a header or the handshake"));
            }
            Some(authority) if !authority.host().is_empty() => {
                let port = authority.as_str().strip_prefix(authority.host());
                // Else it would be taken for the standard one, where somebody else may listen.
                if authority.port_u16().is_none() && !matches!(port, Some("" | ":")) {
                    return Err(refuse("not a port"));
                }
            }
            _ => return Err(refuse("no host")),
        }
        let transport = match transport {
            Some(Transport::LongPolling) if !polling => {
                return Err(refuse("long-polling needs http or https"));
            }
            Some(transport) if polling => transport,
            None if polling => Transport::Auto,
            _ => Transport::WebSocket,
        };
        Ok((Self { uri, secure }, transport))
    }

    #[cfg(feature = "client-tls")]
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host without brackets.
    #[cfg(feature = "client-tls")]
    pub(crate) fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The host as it stands in the header `Host`.
    fn authority(&self) -> &str {
        self.uri.authority().map_or("", |all| all.as_str())
    }

    /// `HOST:PORT`, to connect to.
    pub(crate) fn target(&self) -> String {
        let standard = if self.secure { 443 } else { 80 };
        let port = self.uri.port_u16().unwrap_or(standard);
        format!("{}:{port}", self.uri.host().unwrap_or_default())
    }

    /// As `http` or `https`.
    pub(crate) fn http(&self) -> Uri {
        self.with_scheme(if self.secure { "https" } else { "http" })
    }

    /// As `ws` or `wss`.
    pub(crate) fn websocket(&self) -> Uri {
        self.with_scheme(if self.secure { "wss" } else { "ws" })
    }

    fn with_scheme(&self, scheme: &str) -> Uri {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder()
            .scheme(scheme)
            .authority(self.authority())
            .path_and_query(path)
            .build()
            .expect("because all its parts are those of a URL")
    }
}

/// Seconds only: no Bayeux server sends a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(value.trim().parse().ok()?))
}

/// What a server that refuses says to people: the first line of a body of plain text, of bounded
/// length; empty if the body is anything else.
pub(crate) fn told(headers: &HeaderMap, body: &[u8]) -> String {
    let media = headers.get(header::CONTENT_TYPE);
    if !media.is_some_and(|media| media.as_bytes().starts_with(b"text/plain")) {
        return String::new();
    }
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        for url in [
            "http://localhost:1/cometd",
            "http://[::1]/",
            "http://[::1]:",
            "http://a",
            "ws://a/b",
        ] {
            assert!(Endpoint::new(url, None).is_ok(), "{url}");
        }
        for url in [
            "",
            "/cometd",
            "localhost:80",
            "ftp://a/",
            "http:///x",
            "http://a:65536/",
            "http://[::1]:99999/",
            "ws://u:p@a/",
            "a b",
        ] {
            assert!(
                matches!(Endpoint::new(url, None), Err(Error::Config(_))),
                "{url}"
            );
        }
        for url in ["https://a/", "wss://a/"] {
            let accepted = Endpoint::new(url, None).is_ok();
            assert_eq!(accepted, cfg!(feature = "client-tls"));
        }
    }

    #[test]
    fn the_scheme_limits_the_choice() {
        let choice = |url, wanted| Endpoint::new(url, wanted).map(|(_, transport)| transport);
        let (http, ws) = ("http://a/", "ws://a/");
        assert_eq!(choice(http, None), Ok(Transport::Auto));
        assert_eq!(
            choice(http, Some(Transport::WebSocket)),
            Ok(Transport::WebSocket)
        );
        assert_eq!(choice(ws, None), Ok(Transport::WebSocket));
        assert_eq!(choice(ws, Some(Transport::Auto)), Ok(Transport::WebSocket));
        assert!(choice(ws, Some(Transport::LongPolling)).is_err());
    }

    #[test]
    fn its_parts() {
        let (endpoint, _) = Endpoint::new("ws://[::1]:81/c?x=1", None).unwrap();
        assert_eq!(endpoint.target(), "[::1]:81");
        #[cfg(feature = "client-tls")]
        assert_eq!(endpoint.host(), "::1");
        assert_eq!(endpoint.http().to_string(), "http://[::1]:81/c?x=1");
        assert_eq!(endpoint.authority(), "[::1]:81");
        let (endpoint, _) = Endpoint::new("http://a", None).unwrap();
        assert_eq!(endpoint.websocket().to_string(), "ws://a/");
        assert_eq!(endpoint.target(), "a:80");
        assert_eq!(endpoint.uri.path(), "/");
    }
}
