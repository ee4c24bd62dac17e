//! How deep a JSON text is nested, found without parsing it.
//!
//! The parser skips `data` and `ext` without recursion, hence without a limit of its own; but what
//! takes the text next, here or in a client, may recurse.

/// Whether more than `max` arrays and objects are open at once somewhere in the text.
///
/// Of a text that is not JSON the answer means nothing, but is given all the same.
pub(crate) fn exceeds(body: &[u8], max: usize) -> bool {
    // A text with so few brackets cannot be deeper, and most texts are such.
    let brackets = body
        .iter()
        .filter(|&&byte| matches!(byte, b'[' | b'{'))
        .count();
    brackets > max && deepest_exceeds(body, max)
}

fn deepest_exceeds(body: &[u8], max: usize) -> bool {
    let mut depth = 0_usize;
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => {
                            bytes.next();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_open_at_once() {
        let table: &[(&str, usize)] = &[
            ("", 0),
            ("1", 0),
            ("[]", 1),
            ("[[],[],[]]", 2),
            (r#"[{"a":[1,{"b":2}]}]"#, 4),
            (r#"["[[[[[[[[",{"]]]":"{{"}]"#, 2),
            (r#"["\"[[[[",[]]"#, 2),
            (r#"["\\",[[]]]"#, 3),
            (r#"["\\\"[[[",[[]]]"#, 3),
            ("]]]][", 1),
            ("[\"[[[[", 1),
            ("[\"[[[[\\", 1),
            ("[[[[", 4),
        ];
        for (text, depth) in table {
            assert!(!exceeds(text.as_bytes(), *depth), "{text}");
            if *depth > 0 {
                assert!(exceeds(text.as_bytes(), depth - 1), "{text}");
            }
        }
    }

    #[test]
    fn a_million_brackets_are_no_burden() {
        let open = "[".repeat(1_000_000);
        let closed = "]".repeat(1_000_000);
        assert!(exceeds(format!("{open}{closed}").as_bytes(), 128));
        assert!(!exceeds("[]".repeat(1_000_000).as_bytes(), 1));
        assert!(!exceeds(format!("\"{open}\"").as_bytes(), 0));
    }
}
