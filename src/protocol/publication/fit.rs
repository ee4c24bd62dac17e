//! Whom a message may be sent to, by what it is made of.

use crate::protocol::fields::is_reserved;
use crate::protocol::json;

/// Whom a message may be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fit {
    /// What was to be raw JSON is none: it would break whatever it is sent with.
    Nobody,
    /// It has fields that clients obey or take for answers, such as `advice`.
    OneClient,
    /// It may be published.
    Everybody,
}

impl Fit {
    /// For a message with these plain names and raw values.
    pub(super) fn of<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut fit = Self::Everybody;
        for (name, raw) in fields {
            if !json::is_value(raw) {
                return Self::Nobody;
            }
            let own = matches!(name, "channel" | "clientId" | "data" | "ext");
            if !own && is_reserved(name) {
                fit = Self::OneClient;
            }
        }
        fit
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{json, name};
    use super::*;
    use crate::protocol::{Publication, Publisher};

    #[test]
    fn what_would_break_or_mislead_receivers_is_known() {
        let fit = |fields: &[(&str, &str)]| Publication::with_fields(&name("/a"), fields).fit();
        for (fields, expected) in [
            (
                &[("data", "1"), ("ext", "{}"), ("own", "[]")][..],
                Fit::Everybody,
            ),
            (&[("data", "1"), ("advice", "{}")], Fit::OneClient),
            (&[("data", "1"), ("successful", "true")], Fit::OneClient),
            (&[("sender", "\"x\"")], Fit::OneClient),
            (&[("data", "1,\"advice\":{}")], Fit::Nobody),
            (&[("own", "")], Fit::Nobody),
            (&[("data", "1}")], Fit::Nobody),
        ] {
            assert_eq!(fit(fields), expected, "{fields:?}");
        }
        let new = |data: &str| Publication::new(&name("/a"), data, Publisher::Nobody);
        assert_eq!(new("[1").fit(), Fit::Nobody);
        assert_eq!(new("[1]").fit(), Fit::Everybody);
        assert_eq!(new("[1]").with_data("2").fit(), Fit::Everybody);
        assert_eq!(new("[1]").with_data("2]").fit(), Fit::Nobody);
        assert_eq!(new("[1").with_data("2").fit(), Fit::Nobody);
        let twice = [("id", "1"), ("id", "2")];
        let once = Publication::with_fields(&name("/a"), &twice);
        assert_eq!(json(&once), r#"{"channel":"/a","id":1}"#);
    }
}
