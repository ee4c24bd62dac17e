//! The carriers of a client, of which each request takes the one that it names.

use std::sync::Weak;
use std::time::Duration;

use super::carrier::{Answer, Carrier, Receiver, Request};
use super::error::Failure;
use super::long_polling::LongPolling;
use super::machine::Lane;
use super::transport::Via;
use super::websocket::WebSocket;

/// Both, of which an unused one costs nothing: neither connects before it is asked to.
pub(crate) struct Carriers {
    pub(crate) long_polling: LongPolling,
    pub(crate) websocket: WebSocket,
}

impl Carrier for Carriers {
    fn attach(&self, receiver: Weak<dyn Receiver>) {
        self.websocket.attach(receiver);
    }

    fn exchange(&self, lane: Lane, request: &Request) -> Result<Answer, Failure> {
        match request.via {
            Via::LongPolling => self.long_polling.exchange(request),
            Via::WebSocket => self.websocket.exchange(lane, request),
        }
    }

    fn close(&self) {
        self.websocket.close();
        self.long_polling.close();
    }

    fn join(&self, timeout: Duration) {
        self.websocket.join(timeout);
    }
}
