//! A message on its way to receivers: encoded once, shared by all.

use super::channel::ChannelName;
use super::client_id::{ClientId, LocalId};
use super::message::Message;

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
pub struct Draft<'a> {
    /// The channel.
    pub channel: &'a ChannelName,
    /// `data`
    pub data: Option<&'a str>,
    /// `ext`
    pub ext: Option<&'a str>,
    /// Further fields: raw JSON key (with quotes), raw JSON value.
    pub extra: Vec<(&'a str, &'a str)>,
    /// Public id of the publisher, plain text; written as `sender`.
    pub sender: Option<&'a str>,
    /// The publisher's message id, as raw JSON. Not written, kept beside it.
    pub id: Option<&'a str>,
    /// Who published.
    pub publisher: Publisher,
}

/// An immutable message for any number of receivers.
#[derive(Debug)]
pub struct Publication {
    channel: ChannelName,
    publisher: Publisher,
    bytes: Box<[u8]>,
}

impl<'a> Draft<'a> {
    /// Nothing but a channel.
    pub fn new(channel: &'a ChannelName) -> Self {
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

    /// What of a client's message is delivered.
    pub fn from_message(body: &'a str, message: &Message, channel: &'a ChannelName) -> Self {
        let _ = (body, message);
        Self::new(channel)
    }

    /// Encodes it.
    pub fn build(&self) -> Publication {
        unimplemented!()
    }
}

impl Publication {
    /// What of a client's message is delivered; `sender` is the publisher's public id, if shown.
    pub fn from_message(
        body: &str,
        message: &Message,
        channel: &ChannelName,
        publisher: Publisher,
        sender: Option<&str>,
    ) -> Self {
        Draft {
            sender,
            publisher,
            ..Draft::from_message(body, message, channel)
        }
        .build()
    }

    /// A message with nothing but `data`, as raw JSON.
    pub fn new(channel: &ChannelName, data_json: &str, publisher: Publisher) -> Self {
        Draft {
            data: Some(data_json),
            publisher,
            ..Draft::new(channel)
        }
        .build()
    }

    /// A message with any fields (plain key, raw JSON value) but `channel` and `clientId`, which
    /// are left out.
    pub fn with_fields(channel: &ChannelName, fields: &[(&str, &str)]) -> Self {
        let _ = (channel, fields);
        unimplemented!()
    }

    /// The JSON object.
    pub fn json(&self) -> &[u8] {
        &self.bytes
    }

    /// An unmasked WebSocket text frame that holds `[object]`.
    pub fn frame(&self) -> &[u8] {
        &self.bytes
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// `data` as raw JSON; `null` when there is none.
    pub fn data(&self) -> &str {
        unimplemented!()
    }

    /// `ext` as raw JSON.
    pub fn ext(&self) -> Option<&str> {
        unimplemented!()
    }

    /// The publisher's message id as raw JSON, whether receivers see it or not.
    pub fn id(&self) -> Option<&str> {
        unimplemented!()
    }

    /// Who published.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }
}
