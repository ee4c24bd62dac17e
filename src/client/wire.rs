//! Requests to JSON text, answers to messages, and a log of both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use log::Level::Debug;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::error::{Error, Failure};
use super::message::Message;
use super::transport::Transport;
use crate::protocol::json;

/// The members of an `ext` object, as raw JSON.
pub(crate) type Ext = BTreeMap<String, Box<RawValue>>;

/// Appends a message to an array; the values are JSON text, and what is absent is left out.
pub(crate) fn write(out: &mut Vec<u8>, channel: &str, fields: &[(&str, Option<&str>)]) {
    let channel = json::string(channel);
    let channel = std::iter::once(("channel", &*channel));
    let fields = fields
        .iter()
        .filter_map(|(name, raw)| Some((*name, (*raw)?)));
    json::write_object(out, channel.chain(fields));
}

/// A message as a request of its own.
pub(crate) fn single(channel: &str, fields: &[(&str, Option<&str>)]) -> String {
    let mut body = vec![b'['];
    write(&mut body, channel, fields);
    body.push(b']');
    String::from_utf8(body).expect("because it is made of text")
}

/// A handshake, as a request of its own.
pub(crate) fn handshake(id: u64, offer: &[Transport], ext: &Ext) -> String {
    let types: Vec<_> = offer.iter().map(|transport| transport.name()).collect();
    let types = serde_json::to_string(&types).unwrap_or_else(|_| "[]".into());
    let ext = (!ext.is_empty()).then(|| serde_json::to_string(ext).unwrap_or_default());
    let fields = [
        ("id", Some(&*json::string(&id.to_string()))),
        ("version", Some("\"1.0\"")),
        ("minimumVersion", Some("\"1.0\"")),
        ("supportedConnectionTypes", Some(&types)),
        ("ext", ext.as_deref()),
    ];
    single("/meta/handshake", &fields)
}

/// The messages of an answer. Elements that are no messages are left out.
///
/// Takes an array or a single object, with or without the comment of `json-comment-filtered`
/// around it, whatever the content type says.
pub(crate) fn decode(body: &[u8]) -> Result<Vec<Message>, Failure> {
    // Enough of a foreign body to recognise it in an error message.
    let beginning = || String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
    let refuse = || Failure::NotBayeux(beginning());
    let text = std::str::from_utf8(body).map_err(|_| refuse())?;
    let text = uncommented(text.trim_start_matches('\u{feff}').trim());
    if text.starts_with('{') {
        return Ok(vec![Message::parse(text).ok_or_else(refuse)?]);
    }
    let mut messages = Vec::new();
    json::for_each_element(text, |raw| messages.extend(Message::parse(raw))).ok_or_else(refuse)?;
    Ok(messages)
}

fn uncommented(text: &str) -> &str {
    let inner = text
        .strip_prefix("/*")
        .and_then(|rest| rest.strip_suffix("*/"));
    inner.unwrap_or(text).trim()
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
    let json = to_json(value)?;
    members(&json)?;
    Ok(json.into())
}

fn members(json: &RawValue) -> Result<Ext, Error> {
    serde_json::from_str(json.get()).map_err(|_| Error::Json("ext must be an object".into()))
}

/// Logs a request that leaves.
pub(crate) fn log_sent(transport: Transport, body: &str) {
    if log::log_enabled!(Debug) {
        for message in decode(body.as_bytes()).unwrap_or_default() {
            log::debug!(">>> {} {}", transport.name(), summary(&message));
        }
    }
}

/// Logs messages that have come.
pub(crate) fn log_received(transport: Transport, messages: &[Message]) {
    if log::log_enabled!(Debug) {
        for message in messages {
            log::debug!("<<< {} {}", transport.name(), summary(message));
        }
    }
}

/// Channel, id, size and outcome. Neither data nor `ext` nor the session's id: whoever reads a log
/// must not be able to act as the client, or learn what it was told.
fn summary(message: &Message) -> String {
    let mut line = message.channel().to_owned();
    if let Some(id) = message.id() {
        let _ = write!(line, " id {id}");
    }
    if message.has_data() {
        let _ = write!(line, ", {} bytes", message.data_json().len());
    }
    match (message.successful(), message.error()) {
        (Some(true), _) => line.push_str(", successful"),
        (Some(false), error) => {
            let _ = write!(line, ", failed: {}", error.unwrap_or_default());
        }
        (None, _) => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_names_itself() {
        let ext = to_ext(&serde_json::json!({"ack": true, "a": {"user": "x"}})).unwrap();
        assert_eq!(
            handshake(1, &[Transport::LongPolling], &ext),
            "[{\"channel\":\"/meta/handshake\",\"id\":\"1\",\"version\":\"1.0\",\
             \"minimumVersion\":\"1.0\",\"supportedConnectionTypes\":[\"long-polling\"],\
             \"ext\":{\"a\":{\"user\":\"x\"},\"ack\":true}}]"
        );
        assert!(!handshake(1, &[Transport::LongPolling], &Ext::new()).contains("ext"));
    }

    #[test]
    fn texts_are_escaped() {
        let (id, data) = (json::string("\"\n"), Some("[1.0]"));
        let out = single("/a", &[("id", Some(&id)), ("ext", None), ("data", data)]);
        assert_eq!(out, r#"[{"channel":"/a","id":"\"\n","data":[1.0]}]"#);
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

    #[test]
    fn the_summary_has_no_secrets() {
        for (json, line) in [
            (
                r#"{"channel":"/meta/handshake","id":"1","ext":{"password":"secret"}}"#,
                "/meta/handshake id 1",
            ),
            (
                r#"{"channel":"/meta/handshake","id":"1","clientId":"secret","successful":true}"#,
                "/meta/handshake id 1, successful",
            ),
            (
                r#"{"channel":"/a","data":"secret","clientId":"secret"}"#,
                "/a, 8 bytes",
            ),
            (
                r#"{"channel":"/a","id":7,"successful":false,"error":"403:no:publish_denied"}"#,
                "/a id 7, failed: 403:no:publish_denied",
            ),
        ] {
            assert_eq!(summary(&Message::parse(json).unwrap()), line);
        }
    }
}
