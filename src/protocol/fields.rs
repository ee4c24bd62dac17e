//! The fields of one message object, sorted by what they mean, then checked.

use std::borrow::Cow;

use super::client_id::SentId;
use super::error::{self, ErrorText};
use super::json;
use super::message::{AdviceRequest, Field, Message, Parsed, Rejected, Span, Target};

/// Longest id, in bytes: of the text of a string, of the digits of a number.
const MAX_ID: usize = 128;

/// The fields that Bayeux defines for requests. They are checked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Channel,
    ClientId,
    ConnectionType,
    Version,
    MinimumVersion,
    SupportedConnectionTypes,
    Advice,
    Ext,
    Subscription,
    Data,
    Id,
}

const KNOWN: [(Known, &str); 11] = [
    (Known::Channel, "channel"),
    (Known::ClientId, "clientId"),
    (Known::ConnectionType, "connectionType"),
    (Known::Version, "version"),
    (Known::MinimumVersion, "minimumVersion"),
    (Known::SupportedConnectionTypes, "supportedConnectionTypes"),
    (Known::Advice, "advice"),
    (Known::Ext, "ext"),
    (Known::Subscription, "subscription"),
    (Known::Data, "data"),
    (Known::Id, "id"),
];

/// What becomes of a key.
enum Meaning {
    Known(Known),
    /// Neither read nor delivered: fields of replies, and `sender`, which only the server may set.
    Ignored,
    Extra,
}

fn meaning(key: &str) -> Meaning {
    match key {
        "successful" | "error" | "timestamp" | "sender" => Meaning::Ignored,
        _ => KNOWN
            .iter()
            .find(|(_, name)| *name == key)
            .map_or(Meaning::Extra, |(known, _)| Meaning::Known(*known)),
    }
}

/// Collects the fields of one object; what it holds borrows from the body.
pub(super) struct Fields<'b> {
    body: &'b str,
    /// The first value of each known field, `null` included.
    values: [Option<&'b str>; KNOWN.len()],
    duplicate: Option<&'static str>,
    extra: Vec<Field>,
}

impl<'b> Fields<'b> {
    pub(super) fn new(body: &'b str) -> Self {
        Self {
            body,
            values: [None; KNOWN.len()],
            duplicate: None,
            extra: Vec::new(),
        }
    }

    /// Takes a raw key and a raw value.
    pub(super) fn add(&mut self, key: &'b str, value: &'b str) {
        // A key that is no text (half a surrogate pair) is none of ours.
        let meaning = json::decode(key).map_or(Meaning::Extra, |key| meaning(&key));
        match meaning {
            Meaning::Known(known) => {
                let slot = &mut self.values[known as usize];
                if slot.is_none() {
                    *slot = Some(value);
                } else {
                    self.duplicate.get_or_insert(KNOWN[known as usize].1);
                }
            }
            Meaning::Ignored => {}
            Meaning::Extra => self.extra.push(Field {
                key: Span::locate(self.body, key),
                value: Span::locate(self.body, value),
            }),
        }
    }

    pub(super) fn finish(mut self) -> Parsed {
        match self.message() {
            Ok(message) => Parsed::Message(message),
            Err(error) => Parsed::Rejected(self.rejected(error)),
        }
    }

    /// The checks, in the order of their precedence.
    fn message(&mut self) -> Result<Message, ErrorText> {
        self.check_types()?;
        let supported = self.supported()?;
        if let Some(name) = self.duplicate {
            return Err(error::duplicate_field(name));
        }
        let raw = self
            .value(Known::Channel)
            .ok_or_else(error::channel_missing)?;
        let channel = json::decode(raw)
            .and_then(|channel| Target::of(&channel))
            .ok_or_else(error::channel_invalid)?;
        if self.value(Known::Id).is_some_and(|id| !is_valid_id(id)) {
            return Err(error::message_id_invalid());
        }
        Ok(Message {
            channel,
            channel_raw: Span::locate(self.body, raw),
            id: self.span(Known::Id),
            client_id: self.client_id(),
            // Of all fields, this one can be null.
            data: self.values[Known::Data as usize].map(|raw| Span::locate(self.body, raw)),
            ext: self.span(Known::Ext),
            advice: self.value(Known::Advice).map(advice_request),
            connection_type: self.text(Known::ConnectionType).map(Into::into),
            supported,
            subscription: self.span(Known::Subscription),
            extra: std::mem::take(&mut self.extra),
        })
    }

    fn check_types(&self) -> Result<(), ErrorText> {
        for (known, name) in KNOWN {
            let Some(raw) = self.value(known) else {
                continue;
            };
            let expected = match known {
                Known::Channel
                | Known::ClientId
                | Known::ConnectionType
                | Known::Version
                | Known::MinimumVersion => b'"',
                Known::SupportedConnectionTypes => b'[',
                Known::Advice | Known::Ext => b'{',
                // These have errors of their own, or any type.
                Known::Subscription | Known::Data | Known::Id => continue,
            };
            if !raw.starts_with(char::from(expected)) {
                return Err(error::invalid_field(name));
            }
        }
        Ok(())
    }

    fn supported(&self) -> Result<Option<Vec<Box<str>>>, ErrorText> {
        let Some(raw) = self.value(Known::SupportedConnectionTypes) else {
            return Ok(None);
        };
        let mut types = Some(Vec::new());
        json::for_each_element(raw, |element| match json::decode_lossy(element) {
            Some(text) => types
                .iter_mut()
                .for_each(|types| types.push((*text).into())),
            None => types = None,
        });
        let wrong = || error::invalid_field("supportedConnectionTypes");
        types.map(Some).ok_or_else(wrong)
    }

    /// What the reply to a message that cannot be executed echoes.
    fn rejected(&self, error: ErrorText) -> Rejected {
        let span = |raw| Span::locate(self.body, raw);
        Rejected {
            channel: self
                .value(Known::Channel)
                .filter(|raw| raw.starts_with('"'))
                .map(span),
            id: self
                .value(Known::Id)
                .filter(|raw| is_valid_id(raw))
                .map(span),
            subscription: self.span(Known::Subscription),
            client_id: self.client_id(),
            error,
        }
    }

    /// The raw value of a field; `null` is as good as nothing.
    fn value(&self, known: Known) -> Option<&'b str> {
        self.values[known as usize].filter(|raw| *raw != "null")
    }

    fn span(&self, known: Known) -> Option<Span> {
        self.value(known).map(|raw| Span::locate(self.body, raw))
    }

    fn text(&self, known: Known) -> Option<Cow<'b, str>> {
        self.value(known).and_then(json::decode_lossy)
    }

    fn client_id(&self) -> Option<SentId> {
        self.text(Known::ClientId).map(|text| SentId::from(&*text))
    }
}

/// A string of 1 to 128 bytes, or an integer of no more digits.
fn is_valid_id(raw: &str) -> bool {
    if raw.starts_with('"') {
        return json::decode(raw).is_some_and(|text| (1..=MAX_ID).contains(&text.len()));
    }
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    (1..=MAX_ID).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn advice_request(raw: &str) -> AdviceRequest {
    AdviceRequest {
        timeout: json::field(raw, "timeout").and_then(milliseconds),
        interval: json::field(raw, "interval").and_then(milliseconds),
    }
}

/// A number that is not negative, without its fraction. What is too large to count is as good as
/// forever.
fn milliseconds(raw: &str) -> Option<u64> {
    if let Ok(whole) = raw.parse() {
        return Some(whole);
    }
    let number: f64 = raw.parse().ok()?;
    (number >= 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (at, (known, _)) in KNOWN.iter().enumerate() {
            assert_eq!(*known as usize, at);
        }
    }

    #[test]
    fn ids() {
        let longest = format!("\"{}\"", "x".repeat(MAX_ID));
        let escaped = format!("\"{}\"", "\\u0078".repeat(MAX_ID));
        let digits = "9".repeat(MAX_ID);
        let valid = [
            "0",
            "-0",
            "17",
            "-5",
            "\"0\"",
            "\" \"",
            "\"\u{20ac}\"",
            &longest,
            &escaped,
            &digits,
        ];
        for raw in valid {
            assert!(is_valid_id(raw), "{raw}");
        }
        let longer = format!("\"{}x\"", "x".repeat(MAX_ID));
        let wider = format!("\"{}\"", "\u{20ac}".repeat(43));
        let more = "9".repeat(MAX_ID + 1);
        let invalid = [
            "\"\"",
            "1.0",
            "1e3",
            "-",
            "true",
            "[]",
            "{}",
            "\"\\ud800\"",
            &longer,
            &wider,
            &more,
        ];
        for raw in invalid {
            assert!(!is_valid_id(raw), "{raw}");
        }
    }

    #[test]
    fn wishes() {
        let table = [
            ("0", Some(0)),
            ("30000", Some(30_000)),
            ("1.9", Some(1)),
            ("3e4", Some(30_000)),
            ("-0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("1e99", Some(u64::MAX)),
            ("1e999", Some(u64::MAX)),
            ("-1", None),
            ("-0.5", None),
            ("\"5\"", None),
            ("true", None),
            ("null", None),
            ("[1]", None),
        ];
        for (raw, expected) in table {
            let advice = format!("{{\"timeout\":{raw},\"other\":[5]}}");
            let request = AdviceRequest {
                timeout: expected,
                interval: None,
            };
            assert_eq!(advice_request(&advice), request, "{raw}");
        }
        let both = AdviceRequest {
            timeout: Some(1),
            interval: Some(2),
        };
        assert_eq!(advice_request("{\"interval\":2,\"timeout\":1}"), both);
    }
}
