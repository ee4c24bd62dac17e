//! JSON arrays dressed as something else: a script that calls a function, or a comment.

/// The media type of a script.
pub(super) const SCRIPT_TYPE: &str = "text/javascript;charset=UTF-8";
/// The media type of an array inside a comment.
pub(super) const COMMENT_TYPE: &str = "text/json-comment-filtered;charset=UTF-8";

/// The callback that is called when the request names none.
pub(super) const DEFAULT_CALLBACK: &str = "jsonpcallback";

/// The callback's name, if it is one: a letter, `_` or `$`, then at most 63 letters, digits or
/// `_ $ . -`. Nothing else may come to stand in a script that this server sends.
pub(super) fn callback(name: &[u8]) -> Option<&str> {
    let (first, rest) = name.split_first()?;
    let starts = first.is_ascii_alphabetic() || b"_$".contains(first);
    let goes_on = rest
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_$.-".contains(byte));
    let fits = starts && goes_on && name.len() <= 64;
    if fits {
        std::str::from_utf8(name).ok()
    } else {
        None
    }
}

/// The script that calls `callback` with a JSON array. The comment in front keeps the response from
/// being taken for anything but a script; U+2028 and U+2029, line ends in old scripts, are escaped.
pub(super) fn script(callback: &str, array: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(array.len() + callback.len() + 8);
    out.extend_from_slice(b"/**/");
    out.extend_from_slice(callback.as_bytes());
    out.push(b'(');
    replace(array, b'\xe2', &mut out, |rest| match rest {
        [0xe2, 0x80, 0xa8, ..] => Some((3, b"\\u2028")),
        [0xe2, 0x80, 0xa9, ..] => Some((3, b"\\u2029")),
        _ => None,
    });
    out.extend_from_slice(b");");
    out
}

/// A JSON array inside a comment, which a page of another origin cannot read by including it as
/// a script. What would end the comment early is escaped; in JSON it occurs inside strings only.
pub(super) fn comment(array: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(array.len() + 4);
    out.extend_from_slice(b"/*");
    replace(array, b'*', &mut out, |rest| match rest {
        [b'*', b'/', ..] => Some((2, b"*\\/")),
        _ => None,
    });
    out.extend_from_slice(b"*/");
    out
}

/// Copies `from`, asking at every byte that equals `first` what to put in place of how many bytes.
fn replace<'r>(
    from: &[u8],
    first: u8,
    out: &mut Vec<u8>,
    by: impl Fn(&[u8]) -> Option<(usize, &'r [u8])>,
) {
    let mut copied = 0;
    let mut at = 0;
    while let Some(next) = from[at..].iter().position(|byte| *byte == first) {
        at += next;
        if let Some((len, text)) = by(&from[at..]) {
            out.extend_from_slice(&from[copied..at]);
            out.extend_from_slice(text);
            at += len;
            copied = at;
        } else {
            at += 1;
        }
    }
    out.extend_from_slice(&from[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callback_names() {
        let longest = "x".repeat(64);
        for name in [
            "cb",
            "_cometd_jsonp_1",
            "__jsonp1__",
            "$",
            "a.b-c_1",
            "al-ert",
            &longest,
        ] {
            assert_eq!(callback(name.as_bytes()), Some(name));
        }
        let too_long = "x".repeat(65);
        for name in [
            "",
            "1a",
            ".a",
            "-a",
            "a(b)",
            "a b",
            "a;b",
            "a\n",
            "a\0",
            "caf\u{e9}",
            &too_long,
        ] {
            assert_eq!(callback(name.as_bytes()), None, "{name:?}");
        }
        assert_eq!(callback(b"a\xff"), None);
    }

    #[test]
    fn scripts_call_the_function_and_escape_line_separators() {
        let table = [
            ("[]", "/**/cb([]);"),
            (
                "[\"a\u{2028}b\u{2029}\"]",
                "/**/cb([\"a\\u2028b\\u2029\"]);",
            ),
            ("[\"\u{2028}\u{2028}\"]", "/**/cb([\"\\u2028\\u2028\"]);"),
            (
                "[\"\u{201c}\u{20ac}\u{2030}\"]",
                "/**/cb([\"\u{201c}\u{20ac}\u{2030}\"]);",
            ),
        ];
        for (array, expected) in table {
            assert_eq!(
                String::from_utf8(script("cb", array.as_bytes())).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn comments_cannot_be_ended_from_inside() {
        let table = [
            (r#"[{"a":1}]"#, r#"/*[{"a":1}]*/"#),
            (r#"["*/"]"#, r#"/*["*\/"]*/"#),
            (r#"["**/ * / */*/"]"#, r#"/*["**\/ * / *\/*\/"]*/"#),
            (r#"["*\/","*"]"#, r#"/*["*\/","*"]*/"#),
        ];
        for (array, expected) in table {
            let wrapped = String::from_utf8(comment(array.as_bytes())).unwrap();
            assert_eq!(wrapped, expected);
            let inner = &wrapped[2..wrapped.len() - 2];
            let value = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(inner), value(array));
        }
    }

    #[test]
    fn replacing_stops_at_cut_characters() {
        assert_eq!(script("f", b"\xe2\x80"), b"/**/f(\xe2\x80);");
        assert_eq!(comment(b"*"), b"/***/");
    }
}
