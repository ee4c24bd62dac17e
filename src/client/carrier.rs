//! The seam between the client's threads and the network.

use std::sync::Weak;
use std::time::Duration;

use super::error::Failure;
use super::machine::Lane;
use super::message::Message;
use super::transport::Via;

/// Carries requests to the server and answers back.
///
/// Each lane calls from its own thread, with one request at a time.
pub(crate) trait Carrier: Send + Sync + 'static {
    /// Who gets the messages that come by themselves. Told once, before the first exchange.
    fn attach(&self, receiver: Weak<dyn Receiver>);

    /// Sends a batch and waits for its answer, as long as the network may take and the request's
    /// hold besides. Where messages come by themselves the receiver has got all of them, and the
    /// answer has none.
    fn exchange(&self, lane: Lane, request: &Request) -> Result<Answer, Failure>;

    /// Cuts exchanges short, and refuses new ones. Does not block.
    fn close(&self);

    /// After [`Self::close`]: waits for threads of its own, at most so long.
    fn join(&self, timeout: Duration);
}

/// Takes messages that come by themselves, in their order.
pub(crate) trait Receiver: Send + Sync {
    fn receive(&self, messages: &[Message]);
}

/// A batch to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// An array of messages as JSON.
    pub(crate) body: String,
    /// Of the messages in it; each gets a reply.
    pub(crate) ids: Vec<u64>,
    /// How long the answer may take besides what the network takes.
    pub(crate) hold: Duration,
    /// How it is to travel.
    pub(crate) via: Via,
}

/// What the server answered.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// In their order.
    pub(crate) messages: Vec<Message>,
    /// How long the server wants to be left alone.
    pub(crate) pause: Option<Duration>,
}
