//! The seam between the client's threads and the network.

use std::time::Duration;

use super::error::Failure;
use super::machine::Lane;
use super::message::Message;

/// Carries requests to the server and answers back.
///
/// Each lane calls from its own thread, with one request at a time. A transport on which messages
/// come by themselves hands those to [`Machine::receive`](super::machine::Machine::receive), and
/// ends an exchange when the replies to its messages are there.
pub(crate) trait Transport: Send + Sync + 'static {
    /// Its name in `supportedConnectionTypes` and `connectionType`.
    fn connection_type(&self) -> &'static str;

    /// Sends a batch and waits for its answer, as long as the network may take and `hold` besides.
    fn exchange(&self, lane: Lane, body: &str, hold: Duration) -> Result<Answer, Failure>;

    /// Cuts exchanges short, and refuses new ones. Does not block.
    fn close(&self);
}

/// What the server answered.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// In their order.
    pub(crate) messages: Vec<Message>,
    /// How long the server wants to be left alone.
    pub(crate) pause: Option<Duration>,
}
