//! Long-polling: each batch is a POST, and its answer is the response.

use std::time::Duration;

use parking_lot::Mutex;
use ureq::http::{HeaderName, HeaderValue, Response, Uri, header};
use ureq::{Agent, Body};

use super::cookies::Jar;
use super::error::{Error, Failure};
use super::machine::Lane;
use super::options::Options;
use super::transport::{Answer, Transport};
use super::wire;
use crate::clock::Clock;

/// One agent for both lanes: as their requests overlap, each has a connection of its own.
pub(crate) struct LongPolling {
    agent: Agent,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    jar: Mutex<Jar>,
    clock: std::sync::Arc<dyn Clock>,
    network_timeout: Duration,
    max_response: u64,
}

impl LongPolling {
    /// Checks the URL; does not connect.
    pub(crate) fn new(
        url: &str,
        headers: Vec<(HeaderName, HeaderValue)>,
        options: &Options,
        clock: std::sync::Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let uri = parse_url(url)?;
        let secure = uri.scheme_str() == Some("https");
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("bayeux-client/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            jar: Mutex::new(Jar::new(uri.path(), secure)),
            uri,
            headers,
            clock,
            network_timeout: options.network_timeout,
            max_response: options.max_response,
        })
    }

    fn post(&self, body: &str, hold: Duration) -> Result<Response<Body>, Failure> {
        let mut request = self
            .agent
            .post(&self.uri)
            .header(header::CONTENT_TYPE, "application/json;charset=UTF-8");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(cookies) = self.jar.lock().header(self.clock.wall()) {
            request = request.header(header::COOKIE, cookies);
        }
        // Not the global timeout: with it each request would resolve the name in a new thread.
        let network = Some(self.network_timeout);
        let request = request
            .config()
            .timeout_connect(network)
            .timeout_send_request(network)
            .timeout_send_body(network)
            .timeout_recv_response(Some(self.network_timeout.saturating_add(hold)))
            .timeout_recv_body(network)
            .build();
        request.send(body).map_err(|error| self.failure(error))
    }

    fn keep_cookies(&self, response: &Response<Body>) {
        let mut jar = self.jar.lock();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            if let Ok(cookie) = cookie.to_str() {
                jar.store(cookie, self.clock.wall());
            }
        }
    }

    fn failure(&self, error: ureq::Error) -> Failure {
        use std::io::ErrorKind;
        use ureq::Timeout;
        match error {
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                Failure::Connect(error.to_string())
            }
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                Failure::Connect(error.to_string())
            }
            ureq::Error::Io(io)
                if matches!(
                    io.kind(),
                    ErrorKind::ConnectionRefused
                        | ErrorKind::HostUnreachable
                        | ErrorKind::NetworkUnreachable
                        | ErrorKind::AddrNotAvailable
                        | ErrorKind::NotConnected
                ) =>
            {
                Failure::Connect(io.to_string())
            }
            ureq::Error::Timeout(_) => Failure::Timeout,
            ureq::Error::BodyExceedsLimit(_) => Failure::TooLarge {
                limit: self.max_response,
            },
            ureq::Error::Io(io) => Failure::Io(io.kind(), io.to_string()),
            other => Failure::Protocol(other.to_string()),
        }
    }
}

impl Transport for LongPolling {
    fn connection_type(&self) -> &'static str {
        "long-polling"
    }

    fn exchange(&self, _: Lane, body: &str, hold: Duration) -> Result<Answer, Failure> {
        let mut response = self.post(body, hold)?;
        self.keep_cookies(&response);
        let status = response.status();
        let pause = retry_after(&response).filter(|_| !status.is_success());
        let body = response
            .body_mut()
            .with_config()
            .limit(self.max_response)
            .read_to_vec();
        let messages = body
            .map_err(|error| self.failure(error))
            .and_then(|body| wire::decode(&body));
        match messages {
            // An overloaded Bayeux server says so in Bayeux, too.
            Ok(messages) if status.is_success() || !messages.is_empty() => {
                Ok(Answer { messages, pause })
            }
            Err(failure) if status.is_success() => Err(failure),
            _ => Err(Failure::Status {
                code: status.as_u16(),
                retry_after: pause,
            }),
        }
    }

    fn close(&self) {
        self.agent.clone().shutdown();
    }
}

fn parse_url(url: &str) -> Result<Uri, Error> {
    let refuse = |why: &str| Error::Config(format!("{url:?}: {why}"));
    let uri: Uri = url.parse().map_err(|_| refuse("not a URL"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") if cfg!(feature = "client-tls") => {}
        Some("https") => return Err(refuse("https needs the cargo feature `client-tls`")),
        _ => return Err(refuse("neither http nor https")),
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Err(refuse("credentials belong into a header or the handshake"))
        }
        Some(authority) if !authority.host().is_empty() => Ok(uri),
        _ => Err(refuse("no host")),
    }
}

/// Seconds only: no Bayeux server sends a date.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    Some(Duration::from_secs(
        value.to_str().ok()?.trim().parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        for url in ["http://localhost:1/cometd", "http://[::1]/", "http://a"] {
            assert!(parse_url(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "/cometd",
            "localhost:80",
            "ftp://a/",
            "http:///x",
            "http://u:p@a/",
            "a b",
        ] {
            assert!(matches!(parse_url(url), Err(Error::Config(_))), "{url}");
        }
        assert_eq!(
            parse_url("https://a/").is_ok(),
            cfg!(feature = "client-tls")
        );
    }
}
