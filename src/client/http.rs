//! Long-polling: each batch is a POST, and its answer is the response.

use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Response, Uri, header};
use ureq::{Agent, Body};

use super::error::Failure;
use super::model::{Answer, Request};
use super::peer::{Peer, USER_AGENT, retry_after, told};
use super::wire;

/// One agent for both exchanges: as their requests overlap, each has a connection of its own.
pub(crate) struct Http {
    agent: Agent,
    uri: Uri,
    peer: Arc<Peer>,
}

impl Http {
    /// Does not connect.
    pub(crate) fn new(peer: Arc<Peer>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(USER_AGENT)
            .accept("application/json");
        #[cfg(feature = "client-tls")]
        let config = config.tls_config(super::tls::config(&peer));
        let config = config.build();
        let uri = peer.endpoint.http();
        let agent = Agent::new_with_config(config);
        Self { agent, uri, peer }
    }

    fn post(&self, body: &str, hold: Duration) -> Result<Response<Body>, Failure> {
        let mut request = self
            .agent
            .post(&self.uri)
            .header(header::CONTENT_TYPE, "application/json;charset=UTF-8");
        for (name, value) in &self.peer.options.headers {
            request = request.header(name, value);
        }
        if let Some(cookies) = self.peer.cookies() {
            request = request.header(header::COOKIE, cookies);
        }
        // Not the global timeout: with it each request would resolve the name in a new thread.
        let limit = self.peer.options.network_timeout;
        let network = Some(limit);
        let request = request
            .config()
            .timeout_connect(network)
            .timeout_send_request(network)
            .timeout_send_body(network)
            .timeout_recv_response(Some(limit.saturating_add(hold)))
            .timeout_recv_body(network)
            .build();
        request.send(body).map_err(|error| self.failure(error))
    }

    fn failure(&self, error: ureq::Error) -> Failure {
        use std::io::ErrorKind::{
            AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, NotConnected,
        };
        use ureq::{Error, Timeout};
        let unreachable = |io: &std::io::Error| {
            let kinds = [
                AddrNotAvailable,
                ConnectionRefused,
                HostUnreachable,
                NetworkUnreachable,
                NotConnected,
            ];
            kinds.contains(&io.kind())
        };
        match error {
            Error::HostNotFound
            | Error::ConnectionFailed
            | Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
                Failure::Connect(error.to_string())
            }
            Error::Io(io) if unreachable(&io) => Failure::Connect(io.to_string()),
            Error::Timeout(_) => Failure::Timeout,
            Error::BodyExceedsLimit(_) => Failure::TooLarge {
                limit: self.peer.options.max_response,
            },
            Error::Io(io) => Failure::Io(io.kind(), io.to_string()),
            other => Failure::Protocol(other.to_string()),
        }
    }

    /// Sends a batch and waits for its answer.
    pub(crate) fn exchange(&self, request: &Request) -> Result<Answer, Failure> {
        let mut response = self.post(&request.body, request.hold)?;
        self.peer.keep_cookies(response.headers());
        let status = response.status();
        let pause = retry_after(response.headers()).filter(|_| !status.is_success());
        let body = response
            .body_mut()
            .with_config()
            .limit(self.peer.options.max_response)
            .read_to_vec()
            .map_err(|error| self.failure(error));
        let text = match &body {
            Ok(body) if !status.is_success() => told(response.headers(), body),
            _ => String::new(),
        };
        match body.and_then(|body| wire::decode(&body)) {
            // An overloaded Bayeux server says so in Bayeux, too.
            Ok(messages) if status.is_success() || !messages.is_empty() => {
                Ok(Answer { messages, pause })
            }
            Err(failure) if status.is_success() => Err(failure),
            _ => Err(Failure::Status {
                code: status.as_u16(),
                text,
                retry_after: pause,
            }),
        }
    }

    /// Cuts exchanges short, and refuses new ones.
    pub(crate) fn close(&self) {
        self.agent.clone().shutdown();
    }
}
