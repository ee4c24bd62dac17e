//! JSON strings: writing them, and reading raw ones.

use std::borrow::Cow;

/// Appends the text as a JSON string, with quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    let _ = (out, text);
    unimplemented!()
}

/// The text of a raw JSON string (with quotes). `None`: no string, or a lone surrogate in it.
pub fn decode(raw: &str) -> Option<Cow<'_, str>> {
    let _ = raw;
    unimplemented!()
}

/// Like [`decode`], with U+FFFD for lone surrogates.
pub fn decode_lossy(raw: &str) -> Option<Cow<'_, str>> {
    let _ = raw;
    unimplemented!()
}
