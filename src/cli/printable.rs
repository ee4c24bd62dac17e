//! What others have written, made fit for a terminal: it shows everything and obeys nothing.

use std::borrow::Cow;

/// One line of text. What a terminal would obey is shown as an escape.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| out.extend(c.escape_default()))
}

/// The same with the line breaks left as they are.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c, out| match c {
        '\n' => out.push(c),
        c => out.extend(c.escape_default()),
    })
}

/// JSON in one line. It is the same JSON: white space stands between its parts only, and of the
/// other control characters those beyond ASCII may stand as they are in its strings, or escaped.
pub(super) fn json(json: &str) -> Cow<'_, str> {
    escaped(json, |c, out| match c {
        '\n' | '\r' | '\t' => out.push(' '),
        c => out.push_str(&format!("\\u{:04x}", u32::from(c))),
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c.is_control() {
            true => escape(c, &mut out),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_obeyed() {
        assert_eq!(line("caf\u{e9} \"x\""), "caf\u{e9} \"x\"");
        assert_eq!(line("a\u{1b}[2J\u{9b}J\r\n"), "a\\u{1b}[2J\\u{9b}J\\r\\n");
        assert_eq!(lines("a\u{1b}c\nb\u{7}"), "a\\u{1b}c\nb\\u{7}");
    }

    #[test]
    fn json_fits_a_line_and_stays_the_same() {
        assert_eq!(json("{\"a\":\r\n\t1}"), "{\"a\":   1}");
        let raw = "\"\u{9b}2J\u{7f}\"";
        assert_eq!(json(raw), "\"\\u009b2J\\u007f\"");
        let read = |text: &str| serde_json::from_str::<String>(text).unwrap();
        assert_eq!(read(&json(raw)), read(raw));
    }
}
