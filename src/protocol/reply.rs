//! Replies, written straight into the response.

use super::advice::Advice;
use super::error::ErrorText;
use super::json;

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

impl ReplyTo<'_> {
    /// Begins a reply with `successful: true`. A comma is written first where `out` ends in an
    /// object, so that replies can be appended one after the other.
    pub fn success<'o>(&self, out: &'o mut Vec<u8>) -> Reply<'o> {
        self.begin(out).raw("successful", "true")
    }

    /// Begins a reply with `successful: false` and the error; separated as in [`Self::success`].
    pub fn failure<'o>(
        &self,
        out: &'o mut Vec<u8>,
        error: &ErrorText,
        advice: Option<&Advice>,
    ) -> Reply<'o> {
        let reply = self
            .begin(out)
            .raw("successful", "false")
            .string("error", error);
        match advice {
            Some(advice) => reply.advice(advice),
            None => reply,
        }
    }

    /// The same without what is long: for where there is no room. The id is always short.
    pub fn brief(self) -> Self {
        let is_short = |text: &&str| text.len() <= BRIEF;
        Self {
            channel_raw: Some(self.channel_raw).filter(is_short).unwrap_or_default(),
            id: self.id,
            client_id: self.client_id.filter(is_short),
            subscription: self.subscription.filter(is_short),
        }
    }

    fn begin<'o>(&self, out: &'o mut Vec<u8>) -> Reply<'o> {
        if out.last() == Some(&b'}') {
            out.push(b',');
        }
        out.push(b'{');
        let mut reply = Reply { out };
        if !self.channel_raw.is_empty() {
            reply = reply.raw("channel", self.channel_raw);
        }
        if let Some(id) = self.id {
            reply = reply.raw("id", id);
        }
        if let Some(client_id) = self.client_id {
            reply = reply.string("clientId", client_id);
        }
        if let Some(subscription) = self.subscription {
            reply = reply.raw("subscription", subscription);
        }
        reply
    }
}

/// Most bytes of what a brief reply echoes: any channel that is spelt without escapes.
const BRIEF: usize = 257;

/// Gives the last reply in `out`, which has none yet, an `ext` of these members: raw JSON without
/// the braces. For what is known only after the reply was written.
pub(crate) fn add_ext(out: &mut Vec<u8>, members: &[u8]) {
    debug_assert_eq!(out.last(), Some(&b'}'), "a reply was written");
    out.pop();
    out.extend_from_slice(b",\"ext\":{");
    out.extend_from_slice(members);
    out.extend_from_slice(b"}}");
}

/// A reply being written. It is complete when this is dropped.
pub struct Reply<'o> {
    out: &'o mut Vec<u8>,
}

impl Reply<'_> {
    /// Adds the advice.
    pub fn advice(mut self, advice: &Advice) -> Self {
        self.key("advice");
        advice.write(self.out);
        self
    }

    /// Adds a field with a raw JSON value.
    pub fn raw(mut self, key: &str, raw: &str) -> Self {
        self.key(key);
        self.out.extend_from_slice(raw.as_bytes());
        self
    }

    /// Adds a field with a text value.
    pub fn string(mut self, key: &str, text: &str) -> Self {
        self.key(key);
        json::write_string(self.out, text);
        self
    }

    /// Adds a field with an array of texts.
    pub fn strings(mut self, key: &str, texts: &[&str]) -> Self {
        self.key(key);
        self.out.push(b'[');
        for (at, text) in texts.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            json::write_string(self.out, text);
        }
        self.out.push(b']');
        self
    }

    /// Completes the reply; the same as dropping it.
    pub fn finish(self) {}

    fn key(&mut self, key: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        json::write_string(self.out, key);
        self.out.push(b':');
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BatchLimits, Parsed, error, parse};

    const FULL: ReplyTo<'_> = ReplyTo {
        channel_raw: r#""/meta/subscribe""#,
        id: Some("7"),
        client_id: Some("abc"),
        subscription: Some(r#"["/a"]"#),
    };
    const BARE: ReplyTo<'_> = ReplyTo {
        channel_raw: "",
        id: None,
        client_id: None,
        subscription: None,
    };

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_echo_what_they_answer() {
        assert_eq!(
            written(|out| FULL.success(out).finish()),
            concat!(
                r#"{"channel":"/meta/subscribe","id":7,"clientId":"abc","#,
                r#""subscription":["/a"],"successful":true}"#
            )
        );
        assert_eq!(
            written(|out| BARE.failure(out, &error::channel_missing(), None).finish()),
            r#"{"successful":false,"error":"400::channel_missing"}"#
        );
    }

    #[test]
    fn replies_carry_more_fields() {
        let reply = written(|out| {
            BARE.success(out)
                .string("version", "1.0")
                .strings("supportedConnectionTypes", &["long-polling", "web\"socket"])
                .strings("none", &[])
                .advice(&Advice::none())
                .raw("a\"b", "[]")
                .finish();
            add_ext(out, br#""ack":true"#);
        });
        assert_eq!(
            reply,
            concat!(
                r#"{"successful":true,"version":"1.0","#,
                r#""supportedConnectionTypes":["long-polling","web\"socket"],"none":[],"#,
                r#""advice":{"reconnect":"none"},"a\"b":[],"ext":{"ack":true}}"#
            )
        );
    }

    #[test]
    fn failures_carry_error_and_advice() {
        let advice = Advice::handshake(0);
        assert_eq!(
            written(|out| BARE
                .failure(out, &error::session_unknown(), Some(&advice))
                .finish()),
            concat!(
                r#"{"successful":false,"error":"402::session_unknown","#,
                r#""advice":{"reconnect":"handshake","interval":0}}"#
            )
        );
        let hostile = error::publish_denied("\"\n\\");
        assert_eq!(
            written(|out| BARE.failure(out, &hostile, None).finish()),
            r#"{"successful":false,"error":"403:\"\n\\:publish_denied"}"#
        );
    }

    #[test]
    fn replies_in_a_row_are_separated() {
        let replies = written(|out| {
            BARE.success(out);
            BARE.success(out);
        });
        assert_eq!(replies, r#"{"successful":true},{"successful":true}"#);
        let replies = written(|out| {
            out.push(b'[');
            BARE.success(out);
            out.push(b',');
            BARE.success(out);
        });
        assert_eq!(replies, r#"[{"successful":true},{"successful":true}"#);
    }

    #[test]
    fn messages_and_what_was_no_message() {
        let table = [
            (
                r#"{"channel":"/\u0061","id":"1","clientId":"c","data":1}"#,
                r#"{"channel":"/\u0061","id":"1","clientId":"c","successful":true}"#,
            ),
            (
                r#"{"channel":"/meta/handshake","id":"1","clientId":"c"}"#,
                r#"{"channel":"/meta/handshake","id":"1","successful":true}"#,
            ),
            (
                r#"{"channel":"/a","id":1.5,"clientId":"\ud800","subscription": {"x":1} }"#,
                concat!(
                    "{\"channel\":\"/a\",\"clientId\":\"\u{fffd}\",",
                    r#""subscription":{"x":1},"successful":false,"#,
                    r#""error":"405::message_id_invalid"}"#
                ),
            ),
        ];
        for (body, expected) in table {
            let batch = parse(body.as_bytes(), &BatchLimits::default()).unwrap();
            let parsed = batch.get(0).unwrap();
            let reply = written(|out| match parsed {
                Parsed::Message(message) => message.reply_to().success(out).finish(),
                Parsed::Rejected(rejected) => {
                    let to = parsed.reply_to();
                    to.failure(out, rejected.error(), None).finish();
                }
            });
            assert_eq!(reply, expected, "{body}");
        }
    }
}
