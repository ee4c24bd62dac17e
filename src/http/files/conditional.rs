//! Conditional requests: what the client already has, or insists on.

use std::time::SystemTime;

use crate::http::date;
use crate::http::headers::Headers;

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conditions {
    /// Send the file.
    Hold,
    /// The client has it already.
    NotModified,
    /// It is not the file the client wants.
    Fail,
}

/// Evaluates the conditions in the order of RFC 9110, 13.2.2: tags before dates, and a date only
/// where there is no tag. Dates that cannot be read are ignored.
pub(super) fn evaluate(
    headers: &Headers<'_>,
    tag: &str,
    modified: Option<SystemTime>,
) -> Conditions {
    let changed_since = |name: &str| {
        let since = date::seconds(date::parse(headers.get(name)?)?);
        Some(date::seconds(modified?) > since)
    };
    if headers.get("if-match").is_some() {
        if !headers
            .list("if-match")
            .any(|theirs| theirs == b"*" || theirs == tag.as_bytes())
        {
            return Conditions::Fail;
        }
    } else if changed_since("if-unmodified-since") == Some(true) {
        return Conditions::Fail;
    }
    let has_it = if headers.get("if-none-match").is_some() {
        headers
            .list("if-none-match")
            .any(|theirs| theirs == b"*" || same(theirs, tag))
    } else {
        changed_since("if-modified-since") == Some(false)
    };
    if has_it {
        Conditions::NotModified
    } else {
        Conditions::Hold
    }
}

/// Whether a range still is of the file the client began with; without the header it is.
pub(super) fn range_applies(
    headers: &Headers<'_>,
    tag: &str,
    modified: Option<SystemTime>,
) -> bool {
    let Some(value) = headers.get("if-range") else {
        return true;
    };
    if value.starts_with(b"\"") || value.starts_with(b"W/") {
        return value == tag.as_bytes();
    }
    let theirs = date::parse(value).map(date::seconds);
    theirs.is_some() && theirs == modified.map(date::seconds)
}

fn same(theirs: &[u8], tag: &str) -> bool {
    theirs.strip_prefix(b"W/").unwrap_or(theirs) == tag.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use httparse::Header;
    use std::time::Duration;

    const TAG: &str = "\"a-1\"";
    const BEFORE: &str = "Thu, 01 Jan 1970 00:59:59 GMT";
    const MODIFIED: &str = "Thu, 01 Jan 1970 01:00:00 GMT";
    const AFTER: &str = "Thu, 01 Jan 1970 01:00:01 GMT";

    fn modified() -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(3_600_900))
    }

    fn with<T>(lines: &[(&str, &str)], then: impl FnOnce(&Headers<'_>) -> T) -> T {
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        then(&Headers::new(&lines))
    }

    #[test]
    fn conditions_in_their_order() {
        use Conditions::{Fail, Hold, NotModified};
        let table: [(&[(&str, &str)], Conditions); 22] = [
            (&[], Hold),
            (&[("If-None-Match", TAG)], NotModified),
            (&[("If-None-Match", "W/\"a-1\"")], NotModified),
            (&[("If-None-Match", "\"x\", \"a-1\"")], NotModified),
            (
                &[("If-None-Match", "\"x\""), ("If-None-Match", TAG)],
                NotModified,
            ),
            (&[("If-None-Match", "*")], NotModified),
            (&[("If-None-Match", "\"x\"")], Hold),
            (&[("If-None-Match", "a-1")], Hold),
            (&[("If-None-Match", "")], Hold),
            (&[("If-Modified-Since", MODIFIED)], NotModified),
            (&[("If-Modified-Since", AFTER)], NotModified),
            (&[("If-Modified-Since", BEFORE)], Hold),
            (&[("If-Modified-Since", "yesterday")], Hold),
            (&[("If-Modified-Since", "")], Hold),
            (
                &[("If-None-Match", "\"x\""), ("If-Modified-Since", AFTER)],
                Hold,
            ),
            (
                &[("If-None-Match", TAG), ("If-Modified-Since", BEFORE)],
                NotModified,
            ),
            (&[("If-Match", TAG)], Hold),
            (&[("If-Match", "*")], Hold),
            (&[("If-Match", "W/\"a-1\"")], Fail),
            (&[("If-Match", "\"x\""), ("If-None-Match", TAG)], Fail),
            (&[("If-Unmodified-Since", BEFORE)], Fail),
            (&[("If-Unmodified-Since", MODIFIED)], Hold),
        ];
        for (lines, expected) in table {
            with(lines, |headers| {
                assert_eq!(evaluate(headers, TAG, modified()), expected, "{lines:?}");
            });
        }
    }

    #[test]
    fn without_a_known_date_only_tags_count() {
        with(
            &[
                ("If-Modified-Since", AFTER),
                ("If-Unmodified-Since", BEFORE),
            ],
            |headers| {
                assert_eq!(evaluate(headers, TAG, None), Conditions::Hold);
            },
        );
    }

    #[test]
    fn ranges_of_another_version_do_not_apply() {
        for (value, applies) in [
            (TAG, true),
            ("\"other\"", false),
            ("W/\"a-1\"", false),
            (MODIFIED, true),
            (BEFORE, false),
            (AFTER, false),
            ("nonsense", false),
            ("", false),
        ] {
            with(&[("If-Range", value)], |headers| {
                assert_eq!(range_applies(headers, TAG, modified()), applies, "{value}");
            });
        }
        with(&[], |headers| {
            assert!(range_applies(headers, TAG, modified()))
        });
        with(&[("If-Range", MODIFIED)], |headers| {
            assert!(!range_applies(headers, TAG, None))
        });
    }
}
