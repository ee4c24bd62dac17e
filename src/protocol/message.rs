//! One message of a request, as values and as places in the request's body.

use super::channel::ChannelName;
use super::client_id::SentId;
use super::error::ErrorText;

/// A place in a request body. Cheaper than a borrow: it can move to another thread with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The text at this place.
    ///
    /// # Panics
    /// If it is not the body (or a copy of it) that the span was made from.
    pub fn of(self, body: &str) -> &str {
        &body[self.start as usize..self.end as usize]
    }
}

/// A message of a batch.
#[derive(Clone, Debug)]
pub enum Parsed {
    /// Fit to be executed.
    Message(Message),
    /// To be answered with an error.
    Rejected(Rejected),
}

/// A message that cannot be executed, with what its reply echoes.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The channel as raw JSON string, if it was a string.
    pub channel: Option<Span>,
    /// The id as raw JSON, if it was a valid one.
    pub id: Option<Span>,
    /// The subscription as raw JSON, of any type.
    pub subscription: Option<Span>,
    /// The client id, if it was a string.
    pub client_id: Option<SentId>,
    /// What is wrong.
    pub error: ErrorText,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/meta/handshake`
    Handshake,
    /// `/meta/connect`
    Connect,
    /// `/meta/subscribe`
    Subscribe,
    /// `/meta/unsubscribe`
    Unsubscribe,
    /// `/meta/disconnect`
    Disconnect,
    /// Another channel below `/meta`.
    UnknownMeta(ChannelName),
    /// A channel below `/service`.
    Service(ChannelName),
    /// Any other channel.
    Broadcast(ChannelName),
}

/// A well-formed message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it goes.
    pub channel: Target,
    /// The channel as raw JSON string, to echo.
    pub channel_raw: Span,
    /// The id as raw JSON: a string of 1 to 128 bytes, or an integer of at most 128 digits.
    pub id: Option<Span>,
    /// The session it claims to come from.
    pub client_id: Option<SentId>,
    /// `data` as raw JSON. `null` is a value.
    pub data: Option<Span>,
    /// `ext` as raw JSON, an object.
    pub ext: Option<Span>,
    /// The `advice` of a connect or handshake.
    pub advice: Option<AdviceRequest>,
    /// `connectionType`
    pub connection_type: Option<Box<str>>,
    /// `supportedConnectionTypes`
    pub supported: Option<Vec<Box<str>>>,
    /// `subscription` as raw JSON of any type but null.
    pub subscription: Option<Span>,
    /// Fields that Bayeux does not define (`sender` excepted), in order.
    pub extra: Vec<Field>,
}

/// What a client wishes for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdviceRequest {
    /// Milliseconds.
    pub timeout: Option<u64>,
    /// Milliseconds.
    pub interval: Option<u64>,
}

/// A field that Bayeux does not define.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The key as raw JSON string.
    pub key: Span,
    /// The value as raw JSON.
    pub value: Span,
}
