//! The way to the network: both transports, of which each request takes the one that it names.

use std::time::Duration;

use super::error::Failure;
use super::http::Http;
use super::model::{Answer, Request};
use super::websocket::WebSocket;

/// Carries requests to the server.
pub(crate) trait Network: Send + Sync {
    /// Sends a request. Over HTTP it waits for the answer; otherwise the owner of the WebSocket is
    /// told what comes of it.
    fn send(&self, request: Request) -> Option<Result<Answer, Failure>>;

    /// Cuts short what waits, and refuses further requests. Does not block.
    fn close(&self);

    /// After [`Self::close`]: waits for threads of its own, at most so long.
    fn join(&self, timeout: Duration);
}

/// Both, of which an unused one costs nothing: neither connects before it is asked to.
pub(crate) struct Transports {
    pub(crate) http: Http,
    pub(crate) websocket: WebSocket,
}

impl Network for Transports {
    fn send(&self, request: Request) -> Option<Result<Answer, Failure>> {
        let Some(socket) = request.socket else {
            return Some(self.http.exchange(&request));
        };
        self.websocket.send(socket, request);
        None
    }

    fn close(&self) {
        self.websocket.close();
        self.http.close();
    }

    fn join(&self, timeout: Duration) {
        self.websocket.join(timeout);
    }
}
