//! A message on its way to receivers: encoded once, shared by all.
//!
//! In memory it is what most receivers take from it, a WebSocket frame around a batch of one;
//! those that collect several messages in one array take the object out of its middle.

mod fit;
mod rewrite;

use std::ops::Range;
use std::sync::OnceLock;

use super::channel::ChannelName;
use super::client_id::{ClientId, LocalId};
use super::json;
use super::message::Message;
use crate::util::Booked;
pub(crate) use fit::Fit;

/// The opcode of a WebSocket's text frame.
const TEXT: u8 = 0x1;

/// What an allocator adds to three pieces of memory: the message, with the count of its handles,
/// its bytes, and its channel with a count.
const OVERHEAD: usize = 5 * 16;

/// Who published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Publisher {
    /// The server, or an anonymous client.
    Nobody,
    /// A remote session.
    Remote(ClientId),
    /// A client inside the server.
    Local(LocalId),
}

/// What a publication is made of; raw JSON except for `sender`.
#[derive(Clone, Debug)]
pub(crate) struct Draft<'a> {
    /// The channel.
    pub(crate) channel: &'a ChannelName,
    /// `data`
    pub(crate) data: Option<&'a str>,
    /// `ext`
    pub(crate) ext: Option<&'a str>,
    /// Further fields: raw JSON key (with quotes), raw JSON value.
    pub(crate) extra: Vec<(&'a str, &'a str)>,
    /// Public id of the publisher, plain text; written as `sender`.
    pub(crate) sender: Option<&'a str>,
    /// The publisher's message id, as raw JSON. Not written, kept beside it.
    pub(crate) id: Option<&'a str>,
    /// Who published.
    pub(crate) publisher: Publisher,
}

/// An immutable message for any number of receivers.
#[derive(Debug)]
pub struct Publication {
    channel: ChannelName,
    publisher: Publisher,
    /// The frame, and the publisher's message id behind it.
    bytes: Box<[u8]>,
    /// The object in the frame, which ends one byte behind it.
    object: Range<usize>,
    data: Option<Range<usize>>,
    ext: Option<Range<usize>>,
    fit: Fit,
    /// Its memory, in the books of the broker that has queued it first.
    booked: OnceLock<Booked>,
}

impl<'a> Draft<'a> {
    /// Nothing but a channel.
    pub(crate) fn new(channel: &'a ChannelName) -> Self {
        Self {
            channel,
            data: None,
            ext: None,
            extra: Vec::new(),
            sender: None,
            id: None,
            publisher: Publisher::Nobody,
        }
    }

    /// What of a client's message is delivered: `data`, `ext`, and the fields that Bayeux does not
    /// define.
    pub(crate) fn from_message(message: Message<'a>, channel: &'a ChannelName) -> Self {
        Self {
            data: message.data(),
            ext: message.ext(),
            extra: message.extra().collect(),
            id: message.id(),
            ..Self::new(channel)
        }
    }

    /// Encodes it.
    pub(crate) fn build(&self) -> Publication {
        let sender = self.sender.map(|sender| {
            let mut out = Vec::with_capacity(sender.len() + 2);
            json::write_string(&mut out, sender);
            out
        });
        let id = self.id.unwrap_or_default().as_bytes();
        let object_len = self.object_len(sender.as_deref());
        let (header, header_len) = frame_header(TEXT, object_len + 2);
        let mut out = Vec::with_capacity(header_len + object_len + 2 + id.len());
        out.extend_from_slice(&header[..header_len]);
        out.push(b'[');
        let start = out.len();
        out.extend_from_slice(b"{\"channel\":\"");
        // Needs no escapes: channels have no characters that do.
        out.extend_from_slice(self.channel.as_str().as_bytes());
        out.push(b'"');
        let data = self
            .data
            .map(|raw| append(&mut out, "\"data\"", raw.as_bytes()));
        let ext = self
            .ext
            .map(|raw| append(&mut out, "\"ext\"", raw.as_bytes()));
        for (key, value) in &self.extra {
            append(&mut out, key, value.as_bytes());
        }
        if let Some(sender) = &sender {
            append(&mut out, "\"sender\"", sender);
        }
        out.push(b'}');
        let object = start..out.len();
        assert_eq!(
            object.len(),
            object_len,
            "because the frame's header tells the length"
        );
        out.push(b']');
        out.extend_from_slice(id);
        Publication {
            channel: self.channel.clone(),
            publisher: self.publisher,
            bytes: out.into_boxed_slice(),
            object,
            data,
            ext,
            fit: Fit::Everybody,
            booked: OnceLock::new(),
        }
    }

    fn object_len(&self, sender: Option<&[u8]>) -> usize {
        let field = |key: usize, value: usize| 1 + key + 1 + value;
        let extra = self
            .extra
            .iter()
            .map(|(key, value)| field(key.len(), value.len()));
        "{\"channel\":\"\"}".len()
            + self.channel.as_str().len()
            + self
                .data
                .map_or(0, |raw| field("\"data\"".len(), raw.len()))
            + self.ext.map_or(0, |raw| field("\"ext\"".len(), raw.len()))
            + extra.sum::<usize>()
            + sender.map_or(0, |raw| field("\"sender\"".len(), raw.len()))
    }
}

/// Appends a field and returns where its value is.
fn append(out: &mut Vec<u8>, key: &str, value: &[u8]) -> Range<usize> {
    out.push(b',');
    out.extend_from_slice(key.as_bytes());
    out.push(b':');
    let start = out.len();
    out.extend_from_slice(value);
    start..out.len()
}

/// The header of a WebSocket frame from the server, which is the only one of its message and not
/// masked, and the header's length.
pub(crate) fn frame_header(opcode: u8, payload: usize) -> ([u8; 10], usize) {
    let mut header = [0x80 | opcode; 10];
    let length = payload as u64;
    match payload {
        0..=125 => {
            header[1] = payload as u8;
            (header, 2)
        }
        126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&length.to_be_bytes()[6..]);
            (header, 4)
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&length.to_be_bytes());
            (header, 10)
        }
    }
}

impl Publication {
    /// What of a client's message is delivered; `sender` is the publisher's public id, if shown.
    pub fn from_message(
        message: Message<'_>,
        channel: &ChannelName,
        publisher: Publisher,
        sender: Option<&str>,
    ) -> Self {
        Draft {
            sender,
            publisher,
            ..Draft::from_message(message, channel)
        }
        .build()
    }

    /// A message with nothing but `data`, as raw JSON. If it is none, the broker takes the message
    /// nowhere.
    pub fn new(channel: &ChannelName, data_json: &str, publisher: Publisher) -> Self {
        let draft = Draft {
            data: Some(data_json),
            publisher,
            ..Draft::new(channel)
        };
        Self {
            fit: Fit::of([("data", data_json)]),
            ..draft.build()
        }
    }

    /// A message with any fields (plain key, raw JSON value) but `channel` and `clientId`, which
    /// are left out; of several of one name the first counts. If a value is no JSON, the broker
    /// takes the message nowhere; with fields that Bayeux defines beside `data` and `ext` it takes
    /// it to one client only: clients obey an `advice` in any message.
    pub fn with_fields(channel: &ChannelName, fields: &[(&str, &str)]) -> Self {
        let find = |name| {
            fields
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, raw)| *raw)
        };
        let others = || {
            let own = |key: &str| matches!(key, "channel" | "clientId" | "data" | "ext");
            let again = |n: usize, key: &str| fields[..n].iter().any(|(other, _)| *other == key);
            let all = fields.iter().enumerate();
            let all = all.filter(move |(n, (key, _))| !own(key) && !again(*n, key));
            all.map(|(_, field)| field)
        };
        let keys: Vec<String> = others().map(|(key, _)| json::string(key)).collect();
        let values = others().map(|(_, value)| *value);
        let draft = Draft {
            data: find("data"),
            ext: find("ext"),
            id: find("id"),
            extra: keys.iter().map(String::as_str).zip(values).collect(),
            ..Draft::new(channel)
        };
        Self {
            fit: Fit::of(fields.iter().copied()),
            ..draft.build()
        }
    }

    /// What it takes of the memory, however many share it.
    pub(crate) fn memory(&self) -> usize {
        let apart = self.bytes.len() + self.channel.as_str().len();
        size_of::<Self>() + apart + OVERHEAD
    }

    /// Books its memory for as long as anybody has it; once. Returns how much that is, if it was
    /// not booked before.
    pub(crate) fn book(&self, book: impl FnOnce(usize) -> Booked) -> usize {
        let mut new = 0;
        self.booked.get_or_init(|| {
            new = self.memory();
            book(new)
        });
        new
    }

    /// Whom it may be sent to.
    pub(crate) fn fit(&self) -> Fit {
        self.fit
    }

    /// The JSON object.
    pub fn json(&self) -> &[u8] {
        &self.bytes[self.object.clone()]
    }

    /// An unmasked WebSocket text frame that holds `[object]`.
    pub fn frame(&self) -> &[u8] {
        &self.bytes[..self.frame_end()]
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// `data` as raw JSON; `null` when there is none.
    pub fn data(&self) -> &str {
        self.data
            .as_ref()
            .map_or("null", |range| self.text(range.clone()))
    }

    /// `ext` as raw JSON.
    pub fn ext(&self) -> Option<&str> {
        self.ext.as_ref().map(|range| self.text(range.clone()))
    }

    /// The publisher's message id as raw JSON, whether receivers see it or not.
    pub fn id(&self) -> Option<&str> {
        let id = self.frame_end()..self.bytes.len();
        (!id.is_empty()).then(|| self.text(id))
    }

    /// Who published.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    fn frame_end(&self) -> usize {
        self.object.end + 1
    }

    fn text(&self, range: Range<usize>) -> &str {
        std::str::from_utf8(&self.bytes[range]).expect("because it was put there as text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BatchLimits, Parsed, Target, parse};

    pub(super) fn name(text: &str) -> ChannelName {
        ChannelName::try_from(text).unwrap()
    }

    pub(super) fn json(publication: &Publication) -> &str {
        std::str::from_utf8(publication.json()).unwrap()
    }

    /// The publication of a client's message.
    pub(super) fn published(body: &str, sender: Option<&str>) -> Publication {
        let batch = parse(body.as_bytes(), &BatchLimits::default()).unwrap();
        let Some(Parsed::Message(message)) = batch.get(0) else {
            panic!("{body}")
        };
        let (Target::Broadcast(channel) | Target::Service(channel)) = message.target() else {
            panic!("{body}")
        };
        Publication::from_message(message, channel, Publisher::Nobody, sender)
    }

    #[test]
    fn what_of_a_message_is_delivered() {
        let table = [
            (
                r#"{"channel":"/a","data":1}"#,
                r#"{"channel":"/a","data":1}"#,
            ),
            (
                r#"{"data":null,"channel":"\/a"}"#,
                r#"{"channel":"/a","data":null}"#,
            ),
            (
                r#"{"channel":"/a","clientId":"x","id":7,"data":[ 1.0,"\ud800" ],"ext":{"a" : 1}}"#,
                r#"{"channel":"/a","data":[ 1.0,"\ud800" ],"ext":{"a" : 1}}"#,
            ),
            (
                r#"{"x":1,"channel":"/a","x":{"y":2},"data":{}," z":null,"ext":null}"#,
                r#"{"channel":"/a","data":{},"x":1,"x":{"y":2}," z":null}"#,
            ),
            (
                concat!(
                    r#"{"channel":"/a","data":0,"successful":false,"error":"e","advice":{},"#,
                    r#""subscription":"/b","version":"1","minimumVersion":"1","timestamp":"t","#,
                    r#""connectionType":"c","supportedConnectionTypes":[],"sender":"s"}"#
                ),
                r#"{"channel":"/a","data":0}"#,
            ),
            (
                r#"{"channel":"/a","data":0,"\u0063lientId":"x","sende\u0072":"s","\u0069d":1}"#,
                r#"{"channel":"/a","data":0}"#,
            ),
        ];
        for (body, expected) in table {
            assert_eq!(json(&published(body, None)), expected, "{body}");
        }
    }

    #[test]
    fn the_sender_is_the_servers_word() {
        let body = r#"{"channel":"/a","sender":"forged","sender":"again","data":0,"x":1}"#;
        let shown = published(body, Some("a\"b"));
        assert_eq!(
            json(&shown),
            r#"{"channel":"/a","data":0,"x":1,"sender":"a\"b"}"#
        );
    }

    #[test]
    fn receivers_inside_see_the_parts() {
        let publication = published(
            r#"{"channel":"/a/b","id":7,"data":[1],"ext":{"e":1}}"#,
            None,
        );
        assert_eq!(publication.channel().as_str(), "/a/b");
        assert_eq!(publication.data(), "[1]");
        assert_eq!(publication.ext(), Some("{\"e\":1}"));
        assert_eq!(publication.id(), Some("7"));
        assert_eq!(publication.publisher(), &Publisher::Nobody);
        assert_eq!(
            json(&publication),
            r#"{"channel":"/a/b","data":[1],"ext":{"e":1}}"#
        );

        let local = Publisher::Local(LocalId(3));
        let publication = Publication::new(&name("/a"), "\"x\"", local);
        assert_eq!(json(&publication), r#"{"channel":"/a","data":"x"}"#);
        assert_eq!((publication.data(), publication.ext()), ("\"x\"", None));
        assert_eq!((publication.id(), publication.publisher()), (None, &local));
        assert_eq!(
            published(r#"{"channel":"/service/a"}"#, None).data(),
            "null"
        );
    }

    #[test]
    fn pushed_messages_have_any_fields_but_the_client_id() {
        let fields = [
            ("successful", "true"),
            ("clientId", "\"secret\""),
            ("id", "\"9\""),
            ("channel", "\"/other\""),
            ("data", "{}"),
            ("q\"k", "[]"),
            ("ext", "{\"a\":1}"),
        ];
        let publication = Publication::with_fields(&name("/service/a"), &fields);
        assert_eq!(
            json(&publication),
            concat!(
                r#"{"channel":"/service/a","data":{},"ext":{"a":1},"#,
                r#""successful":true,"id":"9","q\"k":[]}"#
            )
        );
        assert_eq!(publication.id(), Some("\"9\""));
        assert_eq!(publication.data(), "{}");
        let bare = Publication::with_fields(&name("/meta/disconnect"), &[("successful", "true")]);
        assert_eq!(
            json(&bare),
            r#"{"channel":"/meta/disconnect","successful":true}"#
        );
    }

    #[test]
    fn frames_hold_an_array_of_one() {
        let overhead = r#"[{"channel":"/a","data":""}]"#.len();
        for (payload, header) in [
            (125, &[0x81, 125][..]),
            (126, &[0x81, 126, 0, 126]),
            (0xffff, &[0x81, 126, 0xff, 0xff]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let data = format!("\"{}\"", "x".repeat(payload - overhead));
            let body = format!(r#"{{"channel":"/a","id":"i","data":{data}}}"#);
            let publication = published(&body, None);
            let frame = publication.frame();
            assert_eq!(&frame[..header.len()], header);
            assert_eq!(frame.len(), header.len() + payload);
            let expected = format!(r#"[{{"channel":"/a","data":{data}}}]"#);
            assert_eq!(&frame[header.len()..], expected.as_bytes());
            assert_eq!(publication.data(), data);
        }
    }
}
