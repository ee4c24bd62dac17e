//! One message that waits to be sent, with all that its later fate depends on.

use std::sync::Arc;

use super::slot::Slot;
use super::wire::Encoder;

/// A message to send.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    /// Where it goes on the wire.
    pub(crate) channel: Box<str>,
    /// The fields that its kind needs, as JSON text.
    pub(crate) data: Option<Box<str>>,
    pub(crate) ext: Option<Box<str>>,
    /// Who wants to know.
    pub(crate) slot: Option<Arc<Slot>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Publish,
    /// A publish to a service whose answer is a message with the same id.
    Call,
    /// `again`: on a new session, for what was there before.
    Subscribe {
        pattern: Box<str>,
        again: bool,
    },
    Unsubscribe {
        pattern: Box<str>,
    },
    Disconnect,
    /// Of an earlier session, which is named.
    Forget {
        client_id: Box<str>,
    },
}

impl Op {
    /// Appends it as JSON, in the session's name.
    pub(crate) fn encode(&self, out: &mut String, client_id: &str) {
        let client_id = match &self.kind {
            Kind::Forget { client_id } => client_id,
            _ => client_id,
        };
        let message = Encoder::begin(out, &self.channel)
            .text("clientId", client_id)
            .text("id", &self.id.to_string())
            .maybe("data", self.data.as_deref())
            .maybe("ext", self.ext.as_deref());
        match &self.kind {
            Kind::Subscribe { pattern, .. } | Kind::Unsubscribe { pattern } => {
                message.text("subscription", pattern).end();
            }
            _ => message.end(),
        }
    }

    /// Sending it twice does the same as sending it once.
    pub(crate) fn is_subscription(&self) -> bool {
        matches!(self.kind, Kind::Subscribe { .. } | Kind::Unsubscribe { .. })
    }

    /// About its length on the wire.
    pub(crate) fn size(&self) -> usize {
        let pattern = match &self.kind {
            Kind::Subscribe { pattern, .. } | Kind::Unsubscribe { pattern } => pattern.len(),
            _ => 0,
        };
        let parts = [&self.data, &self.ext].map(|part| part.as_ref().map_or(0, |text| text.len()));
        self.channel.len() + pattern + parts[0] + parts[1] + 96
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(kind: Kind, channel: &str, data: Option<&str>) -> String {
        let op = Op {
            id: 7,
            kind,
            channel: channel.into(),
            data: data.map(Into::into),
            ext: data.map(|_| "{}".into()),
            slot: None,
        };
        let mut out = String::new();
        op.encode(&mut out, "me");
        assert!(out.len() <= op.size(), "{out}");
        out
    }

    #[test]
    fn each_kind_has_its_form() {
        assert_eq!(
            encoded(Kind::Publish, "/a", Some("[1.0]")),
            r#"{"channel":"/a","clientId":"me","id":"7","data":[1.0],"ext":{}}"#
        );
        let pattern: Box<str> = "/a/**".into();
        let subscribe = Kind::Subscribe {
            pattern,
            again: true,
        };
        assert_eq!(
            encoded(subscribe, "/meta/subscribe", None),
            r#"{"channel":"/meta/subscribe","clientId":"me","id":"7","subscription":"/a/**"}"#
        );
        assert_eq!(
            encoded(Kind::Disconnect, "/meta/disconnect", None),
            r#"{"channel":"/meta/disconnect","clientId":"me","id":"7"}"#
        );
        let client_id = "old".into();
        assert_eq!(
            encoded(Kind::Forget { client_id }, "/meta/disconnect", None),
            r#"{"channel":"/meta/disconnect","clientId":"old","id":"7"}"#
        );
    }
}
