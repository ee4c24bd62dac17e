//! A received message: its JSON text once, and where in it the fields are.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::error::Error;
use crate::protocol::json;

/// A message from the server. Cheap to clone; nothing in it was parsed and written again.
#[derive(Clone)]
pub struct Message(Arc<Inner>);

struct Inner {
    json: Box<str>,
    channel: Box<str>,
    id: Option<Box<str>>,
    successful: Option<bool>,
    fields: Vec<Field>,
}

/// A name, and where in the text the value is.
type Field = (Box<str>, Range<usize>);

impl Message {
    /// Takes one JSON object. `None`: it is none, or has no channel.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut fields = Vec::new();
        json::for_each_field(text, |name, raw| {
            let start = raw.as_ptr() as usize - text.as_ptr() as usize;
            let name = json::decode_lossy(name).unwrap_or_default();
            fields.push((name.into(), start..start + raw.len()));
        })?;
        let text_of = |name| value(find(text, &fields, name)?);
        let integer = || {
            let raw = find(text, &fields, "id")?;
            let digits = raw.strip_prefix('-').unwrap_or(raw);
            let integer = digits.bytes().all(|byte| byte.is_ascii_digit());
            integer.then(|| raw.into())
        };
        Some(Self(Arc::new(Inner {
            json: text.into(),
            channel: text_of("channel")?,
            id: text_of("id").or_else(integer),
            successful: find(text, &fields, "successful").and_then(|raw| raw.parse().ok()),
            fields,
        })))
    }

    /// The reply to a subscribe that the server need not hear of.
    pub(crate) fn local_success() -> Self {
        Self::parse(r#"{"channel":"/meta/subscribe","successful":true}"#)
            .expect("because it is a message")
    }

    /// The channel it was sent to.
    pub fn channel(&self) -> &str {
        &self.0.channel
    }

    /// `data` as the publisher wrote it; `null` when there is none.
    pub fn data_json(&self) -> &str {
        self.field("data").unwrap_or("null")
    }

    /// Whether there is a `data`, be it `null`.
    pub fn has_data(&self) -> bool {
        self.field("data").is_some()
    }

    /// `data` as a value.
    ///
    /// # Errors
    /// [`Error::Json`] if it is not of that type, or nested deeper than 128.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(self.data_json()).map_err(|error| Error::Json(error.to_string()))
    }

    /// `ext` as it came.
    pub fn ext_json(&self) -> Option<&str> {
        self.field("ext")
    }

    /// The id; an integer as its digits.
    pub fn id(&self) -> Option<&str> {
        self.0.id.as_deref()
    }

    /// On replies: whether the server did it.
    pub fn successful(&self) -> Option<bool> {
        self.0.successful
    }

    /// On replies: why it did not.
    pub fn error(&self) -> Option<String> {
        self.text("error")
    }

    /// Any field, as the JSON text that came; of a field that came twice the last.
    pub fn field(&self, name: &str) -> Option<&str> {
        find(&self.0.json, &self.0.fields, name)
    }

    /// The names of all fields, in the order they came.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.0.fields.iter().map(|(name, _)| &**name)
    }

    /// The whole message.
    pub fn json(&self) -> &str {
        &self.0.json
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.value(name)
    }

    /// A field as a value, if it is there and of that type.
    pub(crate) fn value<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        value(self.field(name)?)
    }
}

/// The last field of that name.
fn find<'a>(json: &'a str, fields: &[Field], name: &str) -> Option<&'a str> {
    let (_, range) = fields.iter().rev().find(|(field, _)| **field == *name)?;
    Some(&json[range.clone()])
}

fn value<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({})", self.json())
    }
}

impl PartialEq for Message {
    /// Equal texts.
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_text() {
        let text = r#"{ "channel":"/a","data": {"x" : 1.50},"id":7,"ext":{},"\u0079":[1, 2] }"#;
        let message = Message::parse(text).unwrap();
        assert_eq!(message.channel(), "/a");
        assert_eq!(message.data_json(), r#"{"x" : 1.50}"#);
        assert_eq!(message.id(), Some("7"));
        assert_eq!(message.ext_json(), Some("{}"));
        assert_eq!(message.field("y"), Some("[1, 2]"));
        assert_eq!(message.json(), text);
        assert_eq!(
            message.field_names().collect::<Vec<_>>(),
            ["channel", "data", "id", "ext", "y"]
        );
        let data: std::collections::BTreeMap<String, f64> = message.data().unwrap();
        assert_eq!(data["x"], 1.5);
    }

    #[test]
    fn replies_have_a_verdict() {
        let text = r#"{"channel":"/a","successful":false,"error":"402::session_unknown"}"#;
        let message = Message::parse(text).unwrap();
        assert_eq!(message.successful(), Some(false));
        assert_eq!(message.error().as_deref(), Some("402::session_unknown"));
        assert!(!message.has_data());
        assert_eq!(message.data_json(), "null");
        assert_eq!(message.data::<Option<u8>>(), Ok(None));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in [
            "",
            "[]",
            "1",
            "{}",
            r#"{"channel":5}"#,
            r#"{"channel":"/a"} x"#,
            "{",
        ] {
            assert!(Message::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn fields_of_wrong_types_are_as_good_as_absent() {
        let text = r#"{"channel":"/a","id":{},"successful":"yes","error":5,"data":[}"#;
        assert!(Message::parse(text).is_none());
        let text = r#"{"channel":"/a","id":1.5,"successful":"yes","error":5}"#;
        let message = Message::parse(text).unwrap();
        assert_eq!(
            (message.id(), message.successful(), message.error()),
            (None, None, None)
        );
    }

    #[test]
    fn a_name_that_is_no_text_spoils_nothing() {
        let text = r#"{"\ud800":1,"channel":"/a","\ud800\"x":2,"data":"\ud800"}"#;
        let message = Message::parse(text).unwrap();
        assert_eq!(message.channel(), "/a");
        assert_eq!(message.data_json(), r#""\ud800""#);
        let names: Vec<_> = message.field_names().collect();
        assert_eq!(names, ["\u{fffd}", "channel", "\u{fffd}\"x", "data"]);
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!(
            r#"{{"channel":"/a","data":{}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let message = Message::parse(&deep).unwrap();
        assert!(message.data::<serde_json::Value>().is_err());
    }
}
