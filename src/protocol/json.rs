//! Small JSON tools for text that stays raw: strings in both directions, and looking into objects
//! and arrays without building a tree.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Appends the text as a JSON string, with quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut written = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&text.as_bytes()[written..at]);
        written = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
    }
    out.extend_from_slice(&text.as_bytes()[written..]);
    out.push(b'"');
}

/// The text as a JSON string, with quotes.
pub(crate) fn string(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    String::from_utf8(out).expect("because text was written, and escapes are ASCII")
}

/// The text of a raw JSON string (with quotes). `None`: it is another value, or it has half a
/// surrogate pair in it and so is no text.
pub(crate) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    match unescape(raw)? {
        (text, true) => Some(text),
        (_, false) => None,
    }
}

/// Like [`decode`], with U+FFFD for the halves of surrogate pairs.
pub(crate) fn decode_lossy(raw: &str) -> Option<Cow<'_, str>> {
    unescape(raw).map(|(text, _)| text)
}

/// Calls back with the raw key and the raw value of each field of a raw JSON object, in order,
/// duplicates included. `None`: it is no object, or something follows it.
pub(crate) fn for_each_field<'a>(raw: &'a str, each: impl FnMut(&'a str, &'a str)) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    deserializer.deserialize_map(EachField(each)).ok()?;
    deserializer.end().ok()
}

/// Calls back with each raw element of a raw JSON array. `None`: it is no array, or something
/// follows it.
pub(crate) fn for_each_element<'a>(raw: &'a str, each: impl FnMut(&'a str)) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    deserializer.deserialize_seq(EachElement(each)).ok()?;
    deserializer.end().ok()
}

/// Whether it is one JSON value.
pub(crate) fn is_value(raw: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(raw).is_ok()
}

/// Whether a raw JSON object has that field with the value `true`.
pub(crate) fn flag(raw: &str, name: &str) -> bool {
    field(raw, name) == Some("true")
}

/// Appends an object of plain names and raw JSON values; a comma goes before it where `out` ends
/// in an object.
pub(crate) fn write_object<'a>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a str, &'a str)>,
) {
    if out.last() == Some(&b'}') {
        out.push(b',');
    }
    out.push(b'{');
    for (n, (name, raw)) in fields.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        out.extend_from_slice(raw.as_bytes());
    }
    out.push(b'}');
}

/// The raw value of the last field of that name in a raw JSON object.
pub(crate) fn field<'a>(raw: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    for_each_field(raw, |key, value| {
        if decode(key).is_some_and(|key| key == name) {
            found = Some(value);
        }
    })?;
    found
}

/// Visits an object, giving out raw keys and values.
pub(super) struct EachField<F>(pub(super) F);

impl<'de, F: FnMut(&'de str, &'de str)> Visitor<'de> for EachField<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<&RawValue>()? {
            let value = map.next_value::<&RawValue>()?;
            (self.0)(key.get(), value.get());
        }
        Ok(())
    }
}

struct EachElement<F>(F);

impl<'de, F: FnMut(&'de str)> Visitor<'de> for EachElement<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element::<&RawValue>()? {
            (self.0)(element.get());
        }
        Ok(())
    }
}

/// The text, and whether it is exact. `None` when the raw text is no JSON string.
fn unescape(raw: &str) -> Option<(Cow<'_, str>, bool)> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some((Cow::Borrowed(inner), true));
    }
    let mut text = String::with_capacity(inner.len());
    let mut exact = true;
    let mut rest = inner;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let simple = match *escape.as_bytes().first()? {
            byte @ (b'"' | b'\\' | b'/') => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (decoded, after) = code_point(escape)?;
                exact &= decoded.is_some();
                text.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
                rest = after;
                continue;
            }
            _ => return None,
        };
        text.push(simple);
        rest = &escape[1..];
    }
    text.push_str(rest);
    Some((Cow::Owned(text), exact))
}

/// Reads `uXXXX`, and the second half of a pair behind it. The character is `None` for a half that
/// stands alone; the whole is `None` when the digits are none.
fn code_point(escape: &str) -> Option<(Option<char>, &str)> {
    let (first, after) = four_digits(escape)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first), after));
    }
    let second = after.strip_prefix('\\').and_then(four_digits);
    match second {
        Some((second @ 0xdc00..0xe000, after)) => {
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            Some((char::from_u32(code), after))
        }
        _ => Some((None, after)),
    }
}

fn four_digits(escape: &str) -> Option<(u32, &str)> {
    let digits = escape.strip_prefix('u')?.get(..4)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(digits, 16).ok()?, &escape[5..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_survive_the_way_there_and_back() {
        let table = [
            ("", r#""""#),
            ("plain \u{fc} \u{1f600}", "\"plain \u{fc} \u{1f600}\""),
            ("\"", r#""\"""#),
            ("a\\b\"c", r#""a\\b\"c""#),
            ("\n\r\t\0\u{1f}\u{7f}", "\"\\n\\r\\t\\u0000\\u001f\u{7f}\""),
        ];
        for (text, expected) in table {
            let raw = string(text);
            assert_eq!(raw, expected);
            assert_eq!(serde_json::from_str::<String>(&raw).unwrap(), text);
            assert_eq!(decode(&raw).unwrap(), text);
        }
    }

    #[test]
    fn decoding_agrees_with_the_json_parser() {
        let table = [
            r#""abc""#,
            r#""\u0061\u00fC\u20ac""#,
            r#""\ud83d\ude00!""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""\ud83d""#,
            r#""\ud83dx""#,
            r#""\ude00""#,
            r#""\ud83d\u0041""#,
            r#""\ud83d\ud83d\ude00""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\u+123""#,
            r#""\x41""#,
            r#""\""#,
            r#"""#,
            "5",
            "null",
            "",
            "\"\\u00\u{fc}0\"",
        ];
        for raw in table {
            let expected = serde_json::from_str::<String>(raw).ok();
            assert_eq!(decode(raw).map(Cow::into_owned), expected, "{raw}");
        }
        assert!(matches!(decode(r#""abc""#), Some(Cow::Borrowed("abc"))));
    }

    #[test]
    fn half_a_pair_is_replaced_when_asked_for() {
        let table = [
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""a\ude00b""#, "a\u{fffd}b"),
            (r#""\ud83d\u0041""#, "\u{fffd}A"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
        ];
        for (raw, expected) in table {
            assert_eq!(decode_lossy(raw).unwrap(), expected, "{raw}");
        }
        assert_eq!(decode_lossy("[]"), None);
    }

    #[test]
    fn looking_into_objects_and_arrays() {
        let raw = r#" {"a": 1 ,"\u0062":[2],"a":{"x":3}} "#;
        let mut seen = Vec::new();
        for_each_field(raw, |key, value| seen.push((key, value))).unwrap();
        assert_eq!(
            seen,
            [
                ("\"a\"", "1"),
                ("\"\\u0062\"", "[2]"),
                ("\"a\"", "{\"x\":3}")
            ]
        );
        assert_eq!(field(raw, "a"), Some("{\"x\":3}"));
        assert_eq!(field(raw, "b"), Some("[2]"));
        assert_eq!(field(raw, "c"), None);
        assert_eq!(field("[]", "a"), None);

        let mut seen = Vec::new();
        for_each_element("[1, \"x\" ,[]]", |element| seen.push(element)).unwrap();
        assert_eq!(seen, ["1", "\"x\"", "[]"]);
        assert_eq!(for_each_element("{}", |_| ()), None);
        assert_eq!(for_each_field("5", |_, _| ()), None);
        assert_eq!(for_each_field("{} x", |_, _| ()), None);
        assert_eq!(for_each_element("[][]", |_| ()), None);
    }
}
