//! Replies, written straight into the response.

use super::advice::Advice;
use super::error::ErrorText;
use super::message::{Message, Rejected};

/// What a reply echoes of its message.
#[derive(Clone, Copy, Debug)]
pub struct ReplyTo<'a> {
    /// The channel as raw JSON string. Empty: the reply has none.
    pub channel_raw: &'a str,
    /// The id as raw JSON.
    pub id: Option<&'a str>,
    /// The client id as plain text, without quotes.
    pub client_id: Option<&'a str>,
    /// The subscription as raw JSON.
    pub subscription: Option<&'a str>,
}

impl<'a> ReplyTo<'a> {
    /// Echoes channel, id, client id and subscription of a message.
    pub fn message(body: &'a str, message: &'a Message) -> Self {
        let _ = (body, message);
        unimplemented!()
    }

    /// Echoes what there is to echo.
    pub fn rejected(body: &'a str, rejected: &'a Rejected) -> Self {
        let _ = (body, rejected);
        unimplemented!()
    }

    /// Begins a reply with `successful: true`. A comma is written first where `out` ends in an
    /// object, so that replies can be appended one after the other.
    pub fn success<'o>(&self, out: &'o mut Vec<u8>) -> Reply<'o> {
        Reply { out }
    }

    /// Begins a reply with `successful: false` and the error; separated as in [`Self::success`].
    pub fn failure<'o>(
        &self,
        out: &'o mut Vec<u8>,
        error: &ErrorText,
        advice: Option<&Advice>,
    ) -> Reply<'o> {
        let _ = (error, advice);
        Reply { out }
    }
}

/// A reply being written. It is complete when this is dropped.
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
}

impl Reply<'_> {
    /// Adds the advice.
    pub fn advice(self, advice: &Advice) -> Self {
        let _ = advice;
        self
    }

    /// Adds `ext`, raw JSON.
    pub fn ext(self, raw: &str) -> Self {
        self.raw("ext", raw)
    }

    /// Adds a field with a raw JSON value.
    pub fn raw(self, key: &str, raw: &str) -> Self {
        let _ = (key, raw);
        self
    }

    /// Adds a field with a text value.
    pub fn string(self, key: &str, text: &str) -> Self {
        let _ = (key, text);
        self
    }

    /// Adds a field with an array of texts.
    pub fn strings(self, key: &str, texts: &[&str]) -> Self {
        let _ = (key, texts);
        self
    }

    /// Completes the reply; the same as dropping it.
    pub fn finish(self) {}
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}
