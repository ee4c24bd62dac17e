//! What the headers of a request make of a file: whether it is sent, which part, in which coding.

use std::time::SystemTime;

use crate::http::date;
use crate::http::headers::Headers;
use crate::http::request::RequestHead;

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

/// What part of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it: there was no range, or none that this server understands.
    Whole,
    /// From the first to the last byte, both included.
    Bytes { first: u64, last: u64 },
    /// A range that has nothing in common with the file.
    Outside,
}

/// Reads the value of `Range` for a file of `size` bytes. Several ranges, other units and what is
/// malformed mean the whole file, as RFC 9110 permits.
pub(super) fn range(value: &[u8], size: u64) -> Part {
    let Some((first, last)) = single(value) else {
        return Part::Whole;
    };
    let part = match (first, last) {
        (None, None) => return Part::Whole,
        (Some(first), Some(last)) if first > last => return Part::Whole,
        (None, Some(suffix)) => (size.saturating_sub(suffix), u64::MAX),
        (Some(first), last) => (first, last.unwrap_or(u64::MAX)),
    };
    if part.0 < size {
        Part::Bytes {
            first: part.0,
            last: part.1.min(size - 1),
        }
    } else {
        Part::Outside
    }
}

/// The two numbers of a lone range, either of which may be missing.
fn single(value: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim_matches([' ', '\t']).split_once('-')?;
    unit.eq_ignore_ascii_case("bytes").then_some(())?;
    Some((number(first)?, number(last)?))
}

/// Digits, or nothing at all. What is too large for a file counts as the largest number.
fn number(digits: &str) -> Option<Option<u64>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX)))
}

/// Whether the whole file is asked for, whatever it is like.
pub(in crate::http) fn wants(head: &RequestHead<'_>) -> bool {
    const UNLESS: [&str; 5] = [
        "range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
    ];
    let depends = |name: &&str| head.headers.get(name).is_some();
    head.method == "GET" && !UNLESS.iter().any(depends)
}

/// Whether the client takes gzip: by its name, or by `*` when it is not named.
pub(in crate::http) fn accepts_gzip(headers: &Headers<'_>) -> bool {
    let mut star = false;
    for element in headers.list("accept-encoding") {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let wanted = !parts.any(is_zero_weight);
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            return wanted;
        }
        star |= coding == b"*" && wanted;
    }
    star
}

/// `q=0`, `q=0.0` and so on.
fn is_zero_weight(parameter: &[u8]) -> bool {
    let weight = parameter
        .strip_prefix(b"q=")
        .or_else(|| parameter.strip_prefix(b"Q="));
    weight.is_some_and(|weight| weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::testing::with_headers;

    const TAG: &str = "\"a-1\"";
    const BEFORE: &str = "Thu, 01 Jan 1970 00:59:59 GMT";
    const MODIFIED: &str = "Thu, 01 Jan 1970 01:00:00 GMT";
    const AFTER: &str = "Thu, 01 Jan 1970 01:00:01 GMT";

    fn modified() -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_millis(3_600_900))
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
            with_headers(lines, |headers| {
                assert_eq!(evaluate(&headers, TAG, modified()), expected, "{lines:?}");
            });
        }
    }

    #[test]
    fn without_a_known_date_only_tags_count() {
        with_headers(
            &[
                ("If-Modified-Since", AFTER),
                ("If-Unmodified-Since", BEFORE),
            ],
            |headers| {
                assert_eq!(evaluate(&headers, TAG, None), Conditions::Hold);
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
            with_headers(&[("If-Range", value)], |headers| {
                assert_eq!(range_applies(&headers, TAG, modified()), applies, "{value}");
            });
        }
        with_headers(&[], |headers| {
            assert!(range_applies(&headers, TAG, modified()))
        });
        with_headers(&[("If-Range", MODIFIED)], |headers| {
            assert!(!range_applies(&headers, TAG, None))
        });
    }

    #[test]
    fn ranges_of_a_file_of_100_bytes() {
        let bytes = |first, last| Part::Bytes { first, last };
        for (value, part) in [
            ("bytes=0-9", bytes(0, 9)),
            ("bytes=95-", bytes(95, 99)),
            ("bytes=-5", bytes(95, 99)),
            ("bytes=90-1000", bytes(90, 99)),
            ("bytes=-1000", bytes(0, 99)),
            ("bytes=0-0", bytes(0, 0)),
            ("bytes=99-99", bytes(99, 99)),
            ("Bytes= 0-9 ", bytes(0, 9)),
            ("bytes=0-99999999999999999999999", bytes(0, 99)),
            ("bytes=100-", Part::Outside),
            ("bytes=200-300", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=99999999999999999999999-", Part::Outside),
            ("bytes=9-0", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("lines=0-9", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes", Part::Whole),
            ("", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=--5", Part::Whole),
            ("bytes=+1-5", Part::Whole),
            ("bytes=0-9,20-29", Part::Whole),
            ("bytes=0-9999999999999999999999x", Part::Whole),
        ] {
            assert_eq!(range(value.as_bytes(), 100), part, "{value}");
        }
        assert_eq!(range(b"\xff", 100), Part::Whole);
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        for value in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            assert_eq!(range(value.as_bytes(), 0), Part::Outside, "{value}");
        }
    }

    #[test]
    fn gzip_is_taken_when_named_or_covered() {
        for (value, takes) in [
            ("gzip", true),
            ("GZIP", true),
            ("br, x-gzip;q=0.5", true),
            ("gzip, deflate, br", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("gzip;q=0, *", false),
            ("*, gzip;q=0", false),
            ("*;q=0", false),
            ("identity", false),
            ("gzipx", false),
            ("", false),
        ] {
            let found = with_headers(&[("accept-encoding", value)], |it| accepts_gzip(&it));
            assert_eq!(found, takes, "{value}");
        }
        assert!(!accepts_gzip(&Headers::new(&[])));
    }
}
