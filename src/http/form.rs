//! What the body of a POST is by its declared type, and form fields: how several `message` fields
//! of a body or a query become one batch.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use serde::de::IgnoredAny;

use super::headers::Headers;
use super::refusal::Refusal;

/// How a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    /// JSON.
    Json,
    /// Form fields.
    Form,
    /// JSON, unless it begins with `message=`: a form of a page of another origin, which may set
    /// no other type without being asked for permission, or of a client that says nothing.
    Text,
}

impl BodyKind {
    /// By the request's `Content-Type`; no type is as good as plain text. `None` for a type that is
    /// not understood, and for any content coding.
    pub(super) fn of(headers: &Headers<'_>) -> Option<Self> {
        if headers
            .list("content-encoding")
            .any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
        {
            return None;
        }
        let declared = headers.get("content-type").unwrap_or_default();
        let essence = declared
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let table: [(&[u8], Self); 5] = [
            (b"application/json", Self::Json),
            (b"text/json", Self::Json),
            (b"", Self::Text),
            (b"text/plain", Self::Text),
            (b"application/x-www-form-urlencoded", Self::Form),
        ];
        let row = table
            .into_iter()
            .find(|(name, _)| essence.eq_ignore_ascii_case(name));
        row.map(|(_, kind)| kind)
    }

    /// Whether this body consists of form fields.
    pub(super) fn is_form(self, body: &[u8]) -> bool {
        match self {
            Self::Json => false,
            Self::Form => true,
            Self::Text => body.starts_with(b"message="),
        }
    }
}

/// The pairs of a form or a query in their order, not decoded.
fn pairs(form: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    form.split(|byte| *byte == b'&').map(|pair| {
        let end = pair
            .iter()
            .position(|byte| *byte == b'=')
            .unwrap_or(pair.len());
        (&pair[..end], pair.get(end + 1..).unwrap_or_default())
    })
}

/// The values of all fields of that name in their order, decoded once. Escapes that are none stay
/// as they are.
pub(super) fn values<'a>(form: &'a [u8], name: &str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    pairs(form)
        .filter(move |(found, _)| decode(found)[..] == *name.as_bytes())
        .map(|(_, value)| decode(value))
}

/// Whether there is a field of that name.
pub(super) fn has(form: &[u8], name: &str) -> bool {
    pairs(form).any(|(found, _)| decode(found)[..] == *name.as_bytes())
}

/// Joins the `message` fields of a form into the body of one request: JSON text, to be parsed as
/// if it had been posted. A lone field is passed on as it is.
///
/// # Errors
///
/// [`Refusal::NoMessage`]; [`Refusal::FormField`] if one of several fields is not JSON by itself or
/// neither array nor object (else two broken fields could make up a whole).
pub(super) fn batch(form: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut messages = values(form, "message");
    let first = messages.next().ok_or(Refusal::NoMessage)?;
    let Some(second) = messages.next() else {
        return Ok(first.into_owned());
    };
    let mut joined = vec![b'['];
    for field in [first, second].into_iter().chain(messages) {
        join(&mut joined, &field)?;
    }
    joined.push(b']');
    Ok(joined)
}

/// Appends the elements of one field, which is an array of messages or a single one.
fn join(joined: &mut Vec<u8>, field: &[u8]) -> Result<(), Refusal> {
    let text = field.strip_prefix(BOM).unwrap_or(field).trim_ascii();
    serde_json::from_slice::<IgnoredAny>(text).map_err(|_| Refusal::FormField)?;
    let elements = match text {
        [b'[', inner @ .., b']'] => inner.trim_ascii(),
        [b'{', ..] => text,
        _ => return Err(Refusal::FormField),
    };
    if elements.is_empty() {
        return Ok(());
    }
    if joined.len() > 1 {
        joined.push(b',');
    }
    joined.extend_from_slice(elements);
    Ok(())
}

fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    for (n, part) in raw.split(|byte| *byte == b'+').enumerate() {
        if n > 0 {
            decoded.push(b' ');
        }
        decoded.extend(percent_decode(part));
    }
    Cow::Owned(decoded)
}

const BOM: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::with_headers;

    #[test]
    fn declared_types() {
        let table = [
            ("application/json", Some(BodyKind::Json)),
            ("APPLICATION/JSON", Some(BodyKind::Json)),
            (
                "application/json; charset=utf-8; x=\"a;b\"",
                Some(BodyKind::Json),
            ),
            ("Text/Json;charset=UTF-8", Some(BodyKind::Json)),
            ("", Some(BodyKind::Text)),
            ("text/plain", Some(BodyKind::Text)),
            ("text/plain;charset=UTF-8", Some(BodyKind::Text)),
            (
                "application/x-www-form-urlencoded ; charset=UTF-8",
                Some(BodyKind::Form),
            ),
            ("text/html", None),
            ("application/xml", None),
            ("multipart/form-data; boundary=x", None),
            ("application/jsonx", None),
            ("application/jso", None),
            ("json", None),
            ("text/json-comment-filtered", None),
        ];
        for (name, kind) in table {
            let found = with_headers(&[("content-type", name)], |it| BodyKind::of(&it));
            assert_eq!(found, kind, "{name}");
        }
        assert_eq!(BodyKind::of(&Headers::new(&[])), Some(BodyKind::Text));
    }

    #[test]
    fn coded_bodies_are_not_understood() {
        for (value, understood) in [("gzip", false), ("identity", true), ("identity, br", false)] {
            let found = with_headers(&[("Content-Encoding", value)], |it| BodyKind::of(&it));
            assert_eq!(found.is_some(), understood, "{value}");
        }
    }

    #[test]
    fn plain_text_may_be_a_form() {
        assert!(BodyKind::Text.is_form(b"message=%5B%5D"));
        assert!(!BodyKind::Text.is_form(b"[]"));
        assert!(!BodyKind::Text.is_form(b" message=[]"));
        assert!(BodyKind::Form.is_form(b"[]"));
        assert!(!BodyKind::Json.is_form(b"message=[]"));
    }

    fn batch_text(form: &str) -> Result<String, Refusal> {
        batch(form.as_bytes()).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn values_come_in_order_and_decoded_once() {
        let form = b"a=1&b=x+y%2Bz%26&&c&=d&%6Dessage=%255B&e=f=g&h=%zz%4&a=2&+a=3";
        for (name, expected) in [
            ("a", &["1", "2"][..]),
            ("b", &["x y+z&"]),
            ("c", &[""]),
            ("", &["", "d"]),
            ("message", &["%5B"]),
            ("e", &["f=g"]),
            ("h", &["%zz%4"]),
            (" a", &["3"]),
            ("x", &[]),
        ] {
            let found: Vec<_> = values(form, name)
                .map(|value| String::from_utf8(value.into_owned()).unwrap())
                .collect();
            assert_eq!(found, expected, "{name}");
            assert_eq!(has(form, name), !expected.is_empty());
        }
    }

    #[test]
    fn message_fields_become_one_batch() {
        let table = [
            ("message=[1]", Ok("[1]")),
            ("message={\"a\":1}", Ok("{\"a\":1}")),
            ("x=1&message={}&messages=3", Ok("{}")),
            ("message={}&message=[{\"a\":1},{}]", Ok("[{},{\"a\":1},{}]")),
            ("message=[]&message=[]", Ok("[]")),
            ("message=[]&message={}&message=+[+]+", Ok("[{}]")),
            ("message=%EF%BB%BF[{}]&message=%0D%0A{}", Ok("[{},{}]")),
            // Left to the parser of batches, which refuses them.
            ("message=", Ok("")),
            ("message", Ok("")),
            ("message=%zz", Ok("%zz")),
            ("message=[[]]&message={}", Ok("[[],{}]")),
            // Fields that are no JSON by themselves never make up a whole.
            ("message=[{}&message={}]", Err(Refusal::FormField)),
            ("message=[{}]&message=", Err(Refusal::FormField)),
            ("message=[{}],[{}]&message={}", Err(Refusal::FormField)),
            ("message={},{}&message={}", Err(Refusal::FormField)),
            ("message=[{}]&message=3", Err(Refusal::FormField)),
            ("message=[{}]&message=\"[]\"", Err(Refusal::FormField)),
            ("message=[{},]&message={}", Err(Refusal::FormField)),
            (
                "message=[{\"a\":\"]\"}]x&message={}",
                Err(Refusal::FormField),
            ),
            ("", Err(Refusal::NoMessage)),
            ("messages=[]", Err(Refusal::NoMessage)),
            ("&&&==&", Err(Refusal::NoMessage)),
        ];
        for (form, expected) in table {
            assert_eq!(batch_text(form), expected.map(str::to_owned), "{form}");
        }
    }

    #[test]
    fn hostile_forms_take_linear_time() {
        let nested = format!(
            "message={0}{1}&message={{}}",
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        let table = [
            ("&".repeat(1 << 20), Err(Refusal::NoMessage)),
            ("=".repeat(1 << 20), Err(Refusal::NoMessage)),
            ("%".repeat(1 << 20), Err(Refusal::NoMessage)),
            ("message&".repeat(1 << 17), Err(Refusal::FormField)),
            ("message=[]&".repeat(1 << 16), Ok(2)),
            (format!("message={}", "+".repeat(1 << 20)), Ok(1 << 20)),
            (nested, Ok(50_000 * 2 + 3)),
        ];
        for (form, expected) in table {
            let outcome = batch_text(&form).map(|body| body.len());
            assert_eq!(outcome, expected, "{}", &form[..20]);
        }
    }
}
