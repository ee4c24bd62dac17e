//! Request bodies to messages.
//!
//! One pass over the body decides about all of it: a body that is not JSON, or too much of it, is
//! refused before anything of it is executed. What is wrong with one message is that message's
//! matter alone.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::depth;
use super::fields::Collected;
use super::json::EachField;
use super::message::{Entry, Parsed};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// What a body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Messages in a body.
    pub messages: usize,
    /// Arrays and objects open at once, the batch's own included.
    pub depth: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            messages: 1000,
            depth: 128,
        }
    }
}

/// The messages of a body, in order, with the text that they are parts of.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    text: String,
    entries: Vec<Entry>,
}

impl Batch {
    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// About how many bytes of memory it takes: a message is more than its text.
    pub fn memory(&self) -> usize {
        let entries = self.entries.iter().map(Entry::memory);
        self.text.capacity() + entries.sum::<usize>()
    }

    /// The message at that place.
    pub fn get(&self, at: usize) -> Option<Parsed<'_>> {
        let entry = self.entries.get(at)?;
        Some(Parsed::new(&self.text, entry))
    }

    /// All messages.
    pub fn iter(&self) -> impl Iterator<Item = Parsed<'_>> {
        let entries = self.entries.iter();
        entries.map(|entry| Parsed::new(&self.text, entry))
    }
}

/// The whole body is refused. `Display` is one line of plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Not UTF-8.
    NotUtf8,
    /// Not JSON.
    NotJson(String),
    /// JSON, but neither an object nor an array of objects.
    NotMessages,
    /// More messages than allowed.
    TooManyMessages {
        /// The limit.
        max: usize,
    },
    /// Deeper than allowed.
    TooDeep {
        /// The limit.
        max: usize,
    },
}

/// Reads a request body: an array of message objects, or one.
///
/// `data`, `ext` and fields of others are checked to be JSON and left where they are.
pub fn parse<'b>(
    body: impl Into<Cow<'b, [u8]>>,
    limits: &BatchLimits,
) -> Result<Batch, BatchError> {
    let text = match body.into() {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    };
    let text = text.ok_or(BatchError::NotUtf8)?;
    let entries = entries(&text, limits)?;
    Ok(Batch {
        // Spans count from the start of the text, wherever that is. What is refused is not copied.
        text: text.into_owned(),
        entries,
    })
}

fn entries(text: &str, limits: &BatchLimits) -> Result<Vec<Entry>, BatchError> {
    if u32::try_from(text.len()).is_err() {
        return Err(BatchError::NotJson("4 GiB or more".to_owned()));
    }
    if depth::exceeds(text.as_bytes(), limits.depth) {
        return Err(BatchError::TooDeep { max: limits.depth });
    }
    let json = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut refusal = None;
    let root = Root {
        text,
        max: limits.messages,
        refusal: &mut refusal,
    };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = root.deserialize(&mut deserializer);
    let read = read.and_then(|entries| deserializer.end().map(|()| entries));
    match (read, refusal) {
        // Reading was broken off.
        (Err(_), Some(refusal @ BatchError::TooManyMessages { .. })) => Err(refusal),
        (Err(error), _) => Err(BatchError::NotJson(error.to_string())),
        (Ok(_), Some(refusal)) => Err(refusal),
        (Ok(entries), None) => Ok(entries),
    }
}

/// The visitor methods for values that are neither arrays nor objects, all with the same body.
macro_rules! scalars {
    ($self:ident => $result:expr) => {
        scalars!(@each $self, $result, visit_bool: bool, visit_i64: i64, visit_u64: u64);
        scalars!(@each $self, $result, visit_f64: f64, visit_str: &str);

        fn visit_unit<E: de::Error>($self) -> Result<Self::Value, E> {
            $result
        }
    };
    (@each $self:ident, $result:expr, $($visit:ident: $type:ty),*) => {
        $(fn $visit<E: de::Error>($self, _: $type) -> Result<Self::Value, E> {
            $result
        })*
    };
}

/// The value that the body is. What is JSON, but refused, is noted beside it: the error that serde
/// carries through is text only.
struct Root<'b, 'r> {
    text: &'b str,
    max: usize,
    refusal: &'r mut Option<BatchError>,
}

impl<'b> DeserializeSeed<'b> for Root<'b, '_> {
    type Value = Vec<Entry>;

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<Vec<Entry>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'b> Visitor<'b> for Root<'b, '_> {
    type Value = Vec<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("messages")
    }

    fn visit_map<A: MapAccess<'b>>(self, map: A) -> Result<Vec<Entry>, A::Error> {
        Ok(vec![read_message(self.text, map)?])
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut seq: A) -> Result<Vec<Entry>, A::Error> {
        let mut entries = Vec::new();
        let mut count = 0;
        while let Some(element) = seq.next_element_seed(Element { text: self.text })? {
            count += 1;
            if count > self.max {
                *self.refusal = Some(BatchError::TooManyMessages { max: self.max });
                return Err(de::Error::custom("too many"));
            }
            match element {
                Some(entry) => entries.push(entry),
                None => *self.refusal = Some(BatchError::NotMessages),
            }
        }
        Ok(entries)
    }

    scalars!(self => {
        *self.refusal = Some(BatchError::NotMessages);
        Ok(Vec::new())
    });
}

/// An element of the batch; `None` when it is no object.
struct Element<'b> {
    text: &'b str,
}

impl<'b> DeserializeSeed<'b> for Element<'b> {
    type Value = Option<Entry>;

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'b> Visitor<'b> for Element<'b> {
    type Value = Option<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'b>>(self, map: A) -> Result<Self::Value, A::Error> {
        read_message(self.text, map).map(Some)
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    scalars!(self => Ok(None));
}

fn read_message<'b, A: MapAccess<'b>>(text: &'b str, map: A) -> Result<Entry, A::Error> {
    let mut fields = Collected::new(text);
    EachField(|key, value| fields.add(key, value)).visit_map(map)?;
    Ok(fields.finish())
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("the body is not UTF-8"),
            Self::NotJson(what) => write!(f, "the body is not JSON: {what}"),
            Self::NotMessages => f.write_str("the body is not an array of message objects"),
            Self::TooManyMessages { max } => write!(f, "more than {max} messages"),
            Self::TooDeep { max } => write!(f, "JSON nested deeper than {max}"),
        }
    }
}

impl std::error::Error for BatchError {}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BatchLimits = BatchLimits {
        messages: 3,
        depth: 5,
    };

    fn refused(body: &[u8]) -> BatchError {
        parse(body, &LIMITS).expect_err(&String::from_utf8_lossy(body))
    }

    #[test]
    fn one_object_or_an_array_of_them() {
        let table = [
            ("[]", 0),
            (" [ ] ", 0),
            ("{}", 1),
            (" {\"channel\":\"/a\"}\r\n", 1),
            ("[{},{}]", 2),
            ("[{\"channel\":\"/a\"},{},{\"x\":[[[]]]}]", 3),
        ];
        for (body, count) in table {
            let batch = parse(body.as_bytes(), &LIMITS).unwrap();
            assert_eq!(batch.len(), count, "{body}");
            assert_eq!(
                (batch.iter().count(), batch.is_empty()),
                (count, count == 0)
            );
        }
    }

    #[test]
    fn what_is_no_json() {
        #[rustfmt::skip]
        let bodies = [
            "", " ", "[", "{", "]", "[{}", "[{},]", "[,]", "{,}", "[{}]]", "[{}] x", "{} {}",
            "nul", "'a'", "{a:1}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "[5,", "[1 2]", "\"\\x\"",
            "// x\n[]", "[]\0", "\u{feff}", "\u{feff}\u{feff}[]",
        ];
        for body in bodies {
            assert!(
                matches!(refused(body.as_bytes()), BatchError::NotJson(_)),
                "{body:?}"
            );
        }
    }

    /// Also where nothing reads it later.
    #[test]
    fn what_is_no_json_deep_inside() {
        #[rustfmt::skip]
        let values = [
            "Infinity", "-Infinity", "NaN", "undefined", "True", "nul", "truex", "0x1", "1.", ".5",
            "+1", "1e", "01", "-", "--1", "'a'", "1 2", "{a:1}", "[1,]", "[,]", "{,}", "{\"a\"}",
            "{\"a\":}", "// x\n1", "\"\n\"", "\"\0\"", "\"\u{1f}\"", "\"\t\"", "\"\\x41\"",
            "\"\\u12\"", "\"\\u12g4\"", "\"\\\"", "\"\\'\"", "\"", "{\"\n\":1}", "{1:2}", "[1}",
        ];
        for value in values {
            for field in [
                "data",
                "ext",
                "id",
                "channel",
                "unknown",
                "successful",
                "advice",
            ] {
                for (before, after) in [("", ""), ("[", "]"), ("{\"a\":", "}")] {
                    let body = format!("[{{\"{field}\":{before}{value}{after}}}]");
                    let error = refused(body.as_bytes());
                    assert!(matches!(error, BatchError::NotJson(_)), "{body}: {error}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_batch() {
        #[rustfmt::skip]
        let bodies = [
            "1", "-1", "1.5", "null", "true", "\"x\"", "[1]", "[null]", "[\"x\"]", "[false]",
            "[1.5]", "[-1]", "[[]]", "[[{}]]", "[{},[{},5]]", "[{},null]", "[5,{}]",
        ];
        for body in bodies {
            assert_eq!(refused(body.as_bytes()), BatchError::NotMessages, "{body}");
        }
    }

    #[test]
    fn limits() {
        let many = BatchError::TooManyMessages { max: 3 };
        assert_eq!(refused(b"[{},{},{},{}]"), many);
        assert_eq!(refused(b"[0,0,0,0]"), many);
        assert_eq!(refused(b"[[],[],[],[]]"), many);
        // The limit comes before what follows it is looked at.
        assert_eq!(
            refused(format!("[{}", "{},".repeat(1_000_000)).as_bytes()),
            many
        );
        let deep = BatchError::TooDeep { max: 5 };
        assert!(parse(b"[{\"data\":[[[]]]}]", &LIMITS).is_ok());
        assert_eq!(refused(b"[{\"data\":[[[[]]]]}]"), deep);
        assert_eq!(refused(b"[{\"x\":{\"x\":{\"x\":{\"x\":{}}}}}]"), deep);
        assert_eq!(refused("[".repeat(1_000_000).as_bytes()), deep);
    }

    #[test]
    fn the_encoding() {
        #[rustfmt::skip]
        let invalid: [&[u8]; 9] = [
            b"\xff", b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
            b"\xe2\x28\xa1", b"\xf0\x9f\x98", b"[\0]\0\xff\xfe",
        ];
        for bytes in invalid {
            let body = [b"[{\"data\":\"", bytes, b"\"}]"].concat();
            assert_eq!(refused(&body), BatchError::NotUtf8, "{bytes:?}");
        }
        let body = "\u{feff}[{\"channel\":\"/a\",\"data\":\"\u{20ac}\"}]";
        let batch = parse(body.as_bytes(), &LIMITS).unwrap();
        for batch in [parse(body.as_bytes().to_vec(), &LIMITS).unwrap(), batch] {
            let Some(Parsed::Message(message)) = batch.get(0) else {
                panic!("{batch:?}")
            };
            assert_eq!(message.data(), Some("\"\u{20ac}\""));
        }
    }

    #[test]
    fn refusals_are_one_line() {
        let errors = [
            refused(b"\xff"),
            refused(b"[\n\n"),
            refused(b"5"),
            refused(b"[0,0,0,0]"),
            refused(b"[[[[[["),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(
                !text.is_empty() && !text.contains('\n') && text.len() < 100,
                "{text}"
            );
        }
    }
}
