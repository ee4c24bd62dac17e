//! One message of a batch: in the batch it is values and places in the batch's text, outside a
//! view of both.

use super::channel::{ChannelKind, ChannelName};
use super::client_id::SentId;
use super::error::ErrorText;
use super::reply::ReplyTo;

/// A place in a batch's text. Cheaper than a borrow: it moves to another thread with the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The part of the text at this place.
    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }

    /// Where in the text a part of it is. The part must be a slice of the text, and the text
    /// shorter than 4 GiB.
    pub(super) fn locate(text: &str, part: &str) -> Self {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        debug_assert!(start + part.len() <= text.len());
        let short = |at: usize| u32::try_from(at).expect("because longer bodies are not parsed");
        Self {
            start: short(start),
            end: short(start + part.len()),
        }
    }
}

/// A message of a batch, as it lies in the batch.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Message(Fields),
    Rejected(Echoed),
}

impl Entry {
    /// The bytes that it takes besides the text.
    pub(super) fn memory(&self) -> usize {
        let fields = match self {
            Self::Message(fields) => fields.extra.capacity(),
            Self::Rejected(_) => 0,
        };
        size_of::<Self>() + fields * size_of::<(Span, Span)>()
    }
}

/// The fields of a well-formed message.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) target: Target,
    pub(super) channel: Span,
    pub(super) id: Option<Span>,
    pub(super) client_id: Option<SentId>,
    pub(super) data: Option<Span>,
    pub(super) ext: Option<Span>,
    pub(super) advice: Option<AdviceRequest>,
    pub(super) connection_type: Option<Box<str>>,
    pub(super) supported: Option<Vec<Box<str>>>,
    pub(super) subscription: Option<Span>,
    /// Keys and values.
    pub(super) extra: Vec<(Span, Span)>,
}

/// What is wrong with a message, and what its reply echoes.
#[derive(Clone, Debug)]
pub(super) struct Echoed {
    pub(super) channel: Option<Span>,
    pub(super) id: Option<Span>,
    pub(super) subscription: Option<Span>,
    pub(super) client_id: Option<SentId>,
    pub(super) error: ErrorText,
}

/// A message of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Parsed<'b> {
    /// Fit to be executed.
    Message(Message<'b>),
    /// To be answered with an error.
    Rejected(Rejected<'b>),
}

impl<'b> Parsed<'b> {
    pub(super) fn new(text: &'b str, entry: &'b Entry) -> Self {
        match entry {
            Entry::Message(fields) => Self::Message(Message { text, fields }),
            Entry::Rejected(echoed) => Self::Rejected(Rejected { text, echoed }),
        }
    }

    /// What the reply echoes.
    pub fn reply_to(self) -> ReplyTo<'b> {
        match self {
            Self::Message(message) => message.reply_to(),
            Self::Rejected(rejected) => rejected.reply_to(),
        }
    }
}

/// A message that cannot be executed.
#[derive(Clone, Copy, Debug)]
pub struct Rejected<'b> {
    text: &'b str,
    echoed: &'b Echoed,
}

impl<'b> Rejected<'b> {
    /// What is wrong with it.
    pub fn error(self) -> &'b ErrorText {
        &self.echoed.error
    }

    /// What there is to echo: a channel that is a string, a valid id, a client id that is a string,
    /// a subscription of any type.
    pub fn reply_to(self) -> ReplyTo<'b> {
        let Self { text, echoed } = self;
        ReplyTo {
            channel_raw: echoed.channel.map_or("", |span| span.of(text)),
            id: echoed.id.map(|span| span.of(text)),
            client_id: echoed.client_id.as_deref(),
            subscription: echoed.subscription.map(|span| span.of(text)),
        }
    }
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

/// A well-formed message. What is raw JSON is part of the batch's text.
#[derive(Clone, Copy, Debug)]
pub struct Message<'b> {
    text: &'b str,
    fields: &'b Fields,
}

impl<'b> Message<'b> {
    /// Where it goes.
    pub fn target(self) -> &'b Target {
        &self.fields.target
    }

    /// The channel as raw JSON string, as the client spelt it.
    pub fn channel_raw(self) -> &'b str {
        self.fields.channel.of(self.text)
    }

    /// The id as raw JSON: a string of 1 to 128 bytes, or an integer of at most 128 digits.
    pub fn id(self) -> Option<&'b str> {
        self.raw(self.fields.id)
    }

    /// The session it claims to come from.
    pub fn client_id(self) -> Option<&'b SentId> {
        self.fields.client_id.as_ref()
    }

    /// `data` as raw JSON. `null` is a value.
    pub fn data(self) -> Option<&'b str> {
        self.raw(self.fields.data)
    }

    /// `ext` as raw JSON, an object.
    pub fn ext(self) -> Option<&'b str> {
        self.raw(self.fields.ext)
    }

    /// The `advice` of a connect or handshake.
    pub fn advice(self) -> Option<AdviceRequest> {
        self.fields.advice
    }

    /// `connectionType`
    pub fn connection_type(self) -> Option<&'b str> {
        self.fields.connection_type.as_deref()
    }

    /// `supportedConnectionTypes`
    pub fn supported(self) -> Option<&'b [Box<str>]> {
        self.fields.supported.as_deref()
    }

    /// `subscription` as raw JSON of any type but null.
    pub fn subscription(self) -> Option<&'b str> {
        self.raw(self.fields.subscription)
    }

    /// Fields that Bayeux does not define (`sender` excepted), in order: raw JSON keys (with
    /// quotes) and raw JSON values.
    pub fn extra(self) -> impl ExactSizeIterator<Item = (&'b str, &'b str)> + use<'b> {
        let text = self.text;
        let fields = self.fields.extra.iter();
        fields.map(move |(key, value)| (key.of(text), value.of(text)))
    }

    /// What the reply echoes.
    pub fn reply_to(self) -> ReplyTo<'b> {
        let target = self.target();
        let subscribing = matches!(target, Target::Subscribe | Target::Unsubscribe);
        let sent = self.fields.client_id.as_deref();
        ReplyTo {
            channel_raw: self.channel_raw(),
            id: self.id(),
            // A handshake's reply has the new one.
            client_id: sent.filter(|_| *target != Target::Handshake),
            subscription: self.subscription().filter(|_| subscribing),
        }
    }

    fn raw(self, span: Option<Span>) -> Option<&'b str> {
        span.map(|span| span.of(self.text))
    }
}

/// What a client wishes for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdviceRequest {
    /// Milliseconds.
    pub timeout: Option<u64>,
    /// Milliseconds.
    pub interval: Option<u64>,
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
        assert!(size_of::<Entry>() <= 256, "{}", size_of::<Entry>());
    }
}
