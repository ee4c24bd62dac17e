//! The fields of one message object, sorted by what they mean, then checked.

use std::borrow::Cow;

use super::client_id::SentId;
use super::error::{self, ErrorText};
use super::json;
use super::message::{Echoed, Entry, Fields, Span, Target};
use super::values::{advice_request, is_valid_id};

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

/// Whether Bayeux, or the server, gives the field a meaning.
pub(in crate::protocol) fn is_reserved(key: &str) -> bool {
    !matches!(meaning(key), Meaning::Extra)
}

/// Collects the fields of one object; what it holds borrows from the body.
pub(super) struct Collected<'b> {
    body: &'b str,
    /// The first value of each known field, `null` included.
    values: [Option<&'b str>; KNOWN.len()],
    duplicate: Option<&'static str>,
    extra: Vec<(Span, Span)>,
}

impl<'b> Collected<'b> {
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
            Meaning::Extra => {
                let span = |part| Span::locate(self.body, part);
                self.extra.push((span(key), span(value)));
            }
        }
    }

    pub(super) fn finish(mut self) -> Entry {
        match self.fields() {
            Ok(fields) => Entry::Message(fields),
            Err(error) => Entry::Rejected(self.echoed(error)),
        }
    }

    /// The checks, in the order of their precedence.
    fn fields(&mut self) -> Result<Fields, ErrorText> {
        self.check_types()?;
        let supported = self.supported()?;
        if let Some(name) = self.duplicate {
            return Err(error::duplicate_field(name));
        }
        let raw = self
            .value(Known::Channel)
            .ok_or_else(error::channel_missing)?;
        let target = json::decode(raw)
            .and_then(|channel| Target::of(&channel))
            .ok_or_else(error::channel_invalid)?;
        if self.value(Known::Id).is_some_and(|id| !is_valid_id(id)) {
            return Err(error::message_id_invalid());
        }
        Ok(Fields {
            target,
            channel: Span::locate(self.body, raw),
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
    fn echoed(&self, error: ErrorText) -> Echoed {
        let span = |raw| Span::locate(self.body, raw);
        Echoed {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Batch, BatchLimits, Message, Parsed, Rejected, parse};

    fn batch(body: &str) -> Batch {
        parse(body.as_bytes(), &BatchLimits::default()).unwrap()
    }

    fn message(batch: &Batch) -> Message<'_> {
        match batch.get(0) {
            Some(Parsed::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn rejected(batch: &Batch) -> Rejected<'_> {
        match batch.get(0) {
            Some(Parsed::Rejected(rejected)) => rejected,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (at, (known, _)) in KNOWN.iter().enumerate() {
            assert_eq!(*known as usize, at);
        }
    }

    #[test]
    fn a_message_and_its_parts() {
        let body = concat!(
            r#"[{"id": 7 ,"channel":"\/a\u002fb","clientId":"c","data": [1, 2] ,"x":{"y":1},"#,
            r#""ext":{"e":null},"advice":{"timeout":5},"connectionType":"websocket","#,
            r#""supportedConnectionTypes":["a","b"],"subscription":["/c"],"sender":"s"}]"#
        );
        let batch = batch(body);
        let m = message(&batch);
        let Target::Broadcast(channel) = m.target() else {
            panic!("{:?}", m.target())
        };
        assert_eq!(channel.as_str(), "/a/b");
        assert_eq!(m.channel_raw(), r#""\/a\u002fb""#);
        assert_eq!(m.id().unwrap(), "7");
        assert_eq!(m.client_id().map(|id| &**id), Some("c"));
        assert_eq!(m.data().unwrap(), "[1, 2]");
        assert_eq!(m.ext().unwrap(), r#"{"e":null}"#);
        assert_eq!(m.advice().unwrap().timeout, Some(5));
        assert_eq!(m.connection_type(), Some("websocket"));
        assert_eq!(m.supported().unwrap(), ["a".into(), "b".into()]);
        assert_eq!(m.subscription().unwrap(), r#"["/c"]"#);
        let extra: Vec<_> = m.extra().collect();
        assert_eq!(extra, [("\"x\"", "{\"y\":1}")]);
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let body = concat!(
            r#"{"channel":"/a","id":null,"clientId":null,"ext":null,"advice":null,"version":null,"#,
            r#""connectionType":null,"supportedConnectionTypes":null,"subscription":null}"#
        );
        let empty = batch(body);
        let m = message(&empty);
        assert!(m.id().is_none() && m.client_id().is_none() && m.ext().is_none());
        assert!(m.advice().is_none() && m.connection_type().is_none() && m.supported().is_none());
        assert!(m.subscription().is_none() && m.data().is_none() && m.extra().len() == 0);
        let body = r#"{"channel":"/a","data":null}"#;
        assert_eq!(message(&batch(body)).data(), Some("null"));
        let body = r#"{"channel":"/a","supportedConnectionTypes":[]}"#;
        assert_eq!(message(&batch(body)).supported(), Some(&[][..]));
    }

    #[test]
    fn rejections() {
        let table = [
            (r#"{}"#, "400::channel_missing"),
            (r#"{"id":1.5}"#, "400::channel_missing"),
            (r#"{"channel":null}"#, "400::channel_missing"),
            (r#"{"channel":5}"#, "400:channel:invalid_field"),
            (r#"{"channel":["/a"]}"#, "400:channel:invalid_field"),
            (
                r#"{"channel":"/a","clientId":{}}"#,
                "400:clientId:invalid_field",
            ),
            (
                r#"{"channel":"/a","connectionType":1}"#,
                "400:connectionType:invalid_field",
            ),
            (
                r#"{"channel":"/a","version":1.0}"#,
                "400:version:invalid_field",
            ),
            (
                r#"{"channel":"/a","minimumVersion":1}"#,
                "400:minimumVersion:invalid_field",
            ),
            (r#"{"channel":"/a","advice":3}"#, "400:advice:invalid_field"),
            (r#"{"channel":"/a","ext":"x"}"#, "400:ext:invalid_field"),
            (r#"{"channel":"/a","ext":[]}"#, "400:ext:invalid_field"),
            (
                r#"{"channel":"/a","supportedConnectionTypes":"x"}"#,
                "400:supportedConnectionTypes:invalid_field",
            ),
            (
                r#"{"channel":"/a","supportedConnectionTypes":["x",5]}"#,
                "400:supportedConnectionTypes:invalid_field",
            ),
            (
                r#"{"channel":"/a","channel":"/a"}"#,
                "400:channel:duplicate_field",
            ),
            (
                r#"{"channel":"/a","ch\u0061nnel":5}"#,
                "400:channel:duplicate_field",
            ),
            (
                r#"{"channel":null,"channel":"/a"}"#,
                "400:channel:duplicate_field",
            ),
            (r#"{"data":1,"data":1}"#, "400:data:duplicate_field"),
            (r#"{"id":1,"id":1}"#, "400:id:duplicate_field"),
            (r#"{"id":1,"id":1,"advice":3}"#, "400:advice:invalid_field"),
            (
                r#"{"id":1,"id":1,"supportedConnectionTypes":[1]}"#,
                "400:supportedConnectionTypes:invalid_field",
            ),
            (r#"{"channel":""}"#, "405::channel_invalid"),
            (r#"{"channel":"/a/*"}"#, "405::channel_invalid"),
            (r#"{"channel":"/meta"}"#, "405::channel_invalid"),
            (r#"{"channel":"/service"}"#, "405::channel_invalid"),
            (r#"{"channel":"\ud800","id":true}"#, "405::channel_invalid"),
            (r#"{"channel":"/a","id":true}"#, "405::message_id_invalid"),
            (r#"{"channel":"/a","id":""}"#, "405::message_id_invalid"),
            (r#"{"channel":"/a","id":[1]}"#, "405::message_id_invalid"),
            (r#"{"channel":"/a","id":1.0}"#, "405::message_id_invalid"),
        ];
        for (body, error) in table {
            assert_eq!(rejected(&batch(body)).error().as_str(), error, "{body}");
        }
    }

    #[test]
    fn ignored_and_unknown_fields_take_anything() {
        let fields = [
            r#""successful":1,"successful":2"#,
            r#""error":{}"#,
            r#""timestamp":[],"timestamp":null"#,
            r#""sender":1,"sender":"x""#,
            r#""x":1,"x":2,"\ud800":3"#,
            r#""subscription":5"#,
            r#""data":"\ud800""#,
            r#""clientId":"\ud800""#,
            r#""advice":{"timeout":"x","interval":-1,"timeout":null}"#,
        ];
        for field in fields {
            let batch = batch(&format!(r#"{{"channel":"/a",{field}}}"#));
            assert!(
                message(&batch)
                    .advice()
                    .is_none_or(|advice| advice == Default::default())
            );
        }
    }

    #[test]
    fn a_rejection_knows_what_to_echo_and_harms_no_neighbours() {
        let body = concat!(
            r#"[{"channel":"/a","data":1},{"channel":"/b","id":"7","clientId":"c","#,
            r#""subscription":[1],"ext":5},{"channel":"/c","data":2}]"#
        );
        let three = batch(body);
        let kinds: Vec<bool> = three
            .iter()
            .map(|parsed| matches!(parsed, Parsed::Message(_)))
            .collect();
        assert_eq!(kinds, [true, false, true]);
        let reply_to = three.get(1).unwrap().reply_to();
        assert_eq!(reply_to.channel_raw, "\"/b\"");
        assert_eq!(reply_to.id, Some("\"7\""));
        assert_eq!(reply_to.client_id, Some("c"));
        assert_eq!(reply_to.subscription, Some("[1]"));

        let wrong = batch(r#"{"channel":5,"id":{},"clientId":[],"subscription":null}"#);
        let reply_to = rejected(&wrong).reply_to();
        assert!(reply_to.channel_raw.is_empty() && reply_to.id.is_none());
        assert!(reply_to.client_id.is_none() && reply_to.subscription.is_none());
    }
}
