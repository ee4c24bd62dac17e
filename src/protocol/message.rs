//! One message of a request, as values and as places in the request's body.

use super::channel::{ChannelKind, ChannelName};
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

    /// Where in the body a part of it is. The part must be a slice of the body, and the body
    /// shorter than 4 GiB.
    pub(super) fn locate(body: &str, part: &str) -> Self {
        let start = part.as_ptr() as usize - body.as_ptr() as usize;
        debug_assert!(start + part.len() <= body.len());
        let short = |at: usize| u32::try_from(at).expect("because longer bodies are not parsed");
        Self {
            start: short(start),
            end: short(start + part.len()),
        }
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

impl Target {
    /// Where a message with this channel goes. `None`: it is no channel to send to.
    pub fn of(channel: &str) -> Option<Self> {
        // Exactly these: "/meta/connect/x" is none of them.
        match channel {
            "/meta/connect" => return Some(Self::Connect),
            "/meta/handshake" => return Some(Self::Handshake),
            "/meta/subscribe" => return Some(Self::Subscribe),
            "/meta/unsubscribe" => return Some(Self::Unsubscribe),
            "/meta/disconnect" => return Some(Self::Disconnect),
            "/meta" | "/service" => return None,
            _ => {}
        }
        let name = ChannelName::try_from(channel).ok()?;
        Some(match name.kind() {
            ChannelKind::Meta => Self::UnknownMeta(name),
            ChannelKind::Service => Self::Service(name),
            ChannelKind::Broadcast => Self::Broadcast(name),
        })
    }

    /// The channel, however the message has spelt it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Handshake => "/meta/handshake",
            Self::Connect => "/meta/connect",
            Self::Subscribe => "/meta/subscribe",
            Self::Unsubscribe => "/meta/unsubscribe",
            Self::Disconnect => "/meta/disconnect",
            Self::UnknownMeta(name) | Self::Service(name) | Self::Broadcast(name) => name.as_str(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let name = |text: &str| ChannelName::try_from(text).unwrap();
        let unknown = |text: &str| Some(Target::UnknownMeta(name(text)));
        let table = [
            ("/meta/handshake", Some(Target::Handshake)),
            ("/meta/connect", Some(Target::Connect)),
            ("/meta/subscribe", Some(Target::Subscribe)),
            ("/meta/unsubscribe", Some(Target::Unsubscribe)),
            ("/meta/disconnect", Some(Target::Disconnect)),
            ("/meta/ping", unknown("/meta/ping")),
            ("/meta/Connect", unknown("/meta/Connect")),
            ("/meta/connect/x", unknown("/meta/connect/x")),
            ("/service/a", Some(Target::Service(name("/service/a")))),
            ("/a", Some(Target::Broadcast(name("/a")))),
            ("/metal", Some(Target::Broadcast(name("/metal")))),
            ("/services/a", Some(Target::Broadcast(name("/services/a")))),
            ("/meta", None),
            ("/service", None),
            ("/meta/", None),
            ("/meta/*", None),
            ("/service/**", None),
            ("/a/*", None),
            ("/**", None),
            ("", None),
        ];
        for (channel, target) in table {
            assert_eq!(Target::of(channel), target, "{channel}");
            assert!(target.is_none_or(|target| target.as_str() == channel));
        }
    }

    #[test]
    fn spans_find_their_text_again() {
        let body = "[1,\"\u{20ac}\"]".to_owned();
        let span = Span::locate(&body, &body[3..8]);
        assert_eq!(
            (span, span.of(&body)),
            (Span { start: 3, end: 8 }, "\"\u{20ac}\"")
        );
        assert_eq!(Span::locate(&body, &body[9..]), Span { start: 9, end: 9 });
    }

    /// A batch of a thousand messages should not take megabytes.
    #[test]
    fn messages_stay_small() {
        assert!(size_of::<Parsed>() <= 256, "{}", size_of::<Parsed>());
    }
}
