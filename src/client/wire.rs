//! Requests to JSON text, and answers to messages.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::error::{Error, Failure};
use super::message::Message;

/// The members of an `ext` object, as raw JSON.
pub(crate) type Ext = BTreeMap<String, Box<RawValue>>;

/// Writes one message; every value is JSON text.
pub(crate) struct Encoder<'a> {
    out: &'a mut String,
}

impl<'a> Encoder<'a> {
    /// Begins with the channel.
    pub(crate) fn begin(out: &'a mut String, channel: &str) -> Self {
        out.push_str("{\"channel\":");
        out.push_str(&quoted(channel));
        Self { out }
    }

    /// A field with a raw value.
    pub(crate) fn raw(self, name: &str, json: &str) -> Self {
        self.out.push_str(",\"");
        self.out.push_str(name);
        self.out.push_str("\":");
        self.out.push_str(json);
        self
    }

    /// A field with a raw value, if there is one.
    pub(crate) fn maybe(self, name: &str, json: Option<&str>) -> Self {
        match json {
            Some(json) => self.raw(name, json),
            None => self,
        }
    }

    /// A field with a text.
    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        let quoted = quoted(text);
        self.raw(name, &quoted)
    }

    pub(crate) fn end(self) {
        self.out.push('}');
    }
}

/// A handshake, as a batch of its own.
pub(crate) fn handshake(id: u64, connection_types: &[&str], ext: &Ext) -> String {
    let types = serde_json::to_string(connection_types).unwrap_or_else(|_| "[]".into());
    let ext = (!ext.is_empty()).then(|| serde_json::to_string(ext).unwrap_or_default());
    let mut body = String::from("[");
    Encoder::begin(&mut body, "/meta/handshake")
        .text("id", &id.to_string())
        .text("version", "1.0")
        .text("minimumVersion", "1.0")
        .raw("supportedConnectionTypes", &types)
        .maybe("ext", ext.as_deref())
        .end();
    body.push(']');
    body
}

/// The messages of an answer. Elements that are no messages are left out.
///
/// Takes an array or a single object, with or without the comment of `json-comment-filtered`
/// around it, whatever the content type says.
pub(crate) fn decode(body: &[u8]) -> Result<Vec<Message>, Failure> {
    let refuse = || Failure::NotBayeux(beginning(body));
    let text = std::str::from_utf8(body).map_err(|_| refuse())?;
    let text = uncommented(text.trim_start_matches('\u{feff}').trim());
    if text.starts_with('{') {
        return Ok(vec![Message::parse(text).ok_or_else(refuse)?]);
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| refuse())?;
    Ok(elements
        .iter()
        .filter_map(|raw| Message::parse(raw.get()))
        .collect())
}

/// A value as JSON text.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, Error> {
    to_raw_value(value).map_err(|error| Error::Json(error.to_string()))
}

/// A value that must be an object, as its members.
pub(crate) fn to_ext<T: Serialize + ?Sized>(value: &T) -> Result<Ext, Error> {
    members(&to_json(value)?)
}

/// A value that must be an object, as JSON text.
pub(crate) fn to_object<T: Serialize + ?Sized>(value: &T) -> Result<Box<str>, Error> {
    let raw = to_json(value)?;
    members(&raw)?;
    Ok(raw.into())
}

fn members(raw: &RawValue) -> Result<Ext, Error> {
    serde_json::from_str(raw.get()).map_err(|_| Error::Json("ext must be an object".into()))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("because writing a string cannot fail")
}

fn uncommented(text: &str) -> &str {
    let inner = text
        .strip_prefix("/*")
        .and_then(|rest| rest.strip_suffix("*/"));
    inner.unwrap_or(text).trim()
}

/// Enough of a foreign body to recognise it in an error message.
fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_names_itself() {
        let ext = to_ext(&serde_json::json!({"ack": true, "a": {"user": "x"}})).unwrap();
        assert_eq!(
            handshake(1, &["long-polling"], &ext),
            "[{\"channel\":\"/meta/handshake\",\"id\":\"1\",\"version\":\"1.0\",\
             \"minimumVersion\":\"1.0\",\"supportedConnectionTypes\":[\"long-polling\"],\
             \"ext\":{\"a\":{\"user\":\"x\"},\"ack\":true}}]"
        );
        assert!(!handshake(1, &["long-polling"], &Ext::new()).contains("ext"));
    }

    #[test]
    fn texts_are_escaped() {
        let mut out = String::new();
        Encoder::begin(&mut out, "/a")
            .text("id", "\"\n")
            .raw("data", "[1.0]")
            .end();
        assert_eq!(out, r#"{"channel":"/a","id":"\"\n","data":[1.0]}"#);
    }

    #[test]
    fn arrays_objects_and_comments_are_taken() {
        for body in [
            r#"[{"channel":"/a"},{"channel":"/b"}]"#,
            "\u{feff} [{\"channel\":\"/a\"},{\"channel\":\"/b\"}]\r\n",
            "/*[{\"channel\":\"/a\"},\n{\"channel\":\"/b\"}]*/",
            " /* [ {\"channel\":\"\\/a\"} , 5, null, {\"x\":1}, {\"channel\":\"/b\"}]\n*/ ",
        ] {
            let messages = decode(body.as_bytes()).unwrap();
            let channels: Vec<_> = messages.iter().map(Message::channel).collect();
            assert_eq!(channels, ["/a", "/b"], "{body}");
        }
        assert_eq!(decode(br#"{"channel":"/a"}"#).unwrap().len(), 1);
        assert_eq!(decode(b"[]").unwrap().len(), 0);
    }

    #[test]
    fn everything_else_is_an_error() {
        for body in [
            &b"<html>"[..],
            b"",
            b"null",
            b"\"x\"",
            b"[1",
            b"{}",
            b"\xff\xfe",
            b"/*[]",
        ] {
            assert!(
                matches!(decode(body), Err(Failure::NotBayeux(_))),
                "{body:?}"
            );
        }
        let long = vec![b'x'; 10_000];
        assert_eq!(decode(&long), Err(Failure::NotBayeux("x".repeat(80))));
    }

    #[test]
    fn ext_is_an_object() {
        assert!(matches!(to_ext(&[1, 2]), Err(Error::Json(_))));
        assert!(to_ext(&serde_json::json!({})).unwrap().is_empty());
    }
}
