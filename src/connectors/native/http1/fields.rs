//! What a header field may look like, and fields that are lists of tokens.

use httparse::Header;

/// The values of all fields of that name, in order.
pub(super) fn values<'h, 'b>(
    fields: &'h [Header<'b>],
    name: &'static str,
) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value)
}

/// The elements of a comma-separated list, without white space around them; empty ones too.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether the bytes are a token (RFC 9110, 5.6.2).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

/// Whether a token may contain the byte.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a field value may contain the byte (RFC 9110, 5.5): no control character but the tab.
pub(super) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether the bytes can name a host, with or without a port. Empty is allowed: a target without
/// authority has that `Host` (RFC 9112, 3.2).
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_no_separators_and_no_controls() {
        for good in ["a", "chunked", "x-y_z.1", "!#$%&'*+-.^_`|~"] {
            assert!(is_token(good.as_bytes()), "{good}");
        }
        for bad in [
            "", " ", "a b", "a,b", "a;q=1", "\"a\"", "a\x0b", "(a)", "\u{fc}", "a:",
        ] {
            assert!(!is_token(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn lists_keep_their_empty_elements() {
        let list = |value: &'static [u8]| elements(value).collect::<Vec<_>>();
        assert_eq!(list(b"a , b,\tc "), [b"a", b"b", b"c"]);
        assert_eq!(list(b""), [b""]);
        assert_eq!(list(b"a,,b"), [&b"a"[..], b"", b"b"]);
    }

    #[test]
    fn authorities_name_hosts_only() {
        for good in [
            "",
            "example.org",
            "example.org:8080",
            "[::1]:80",
            "127.0.0.1",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b",
            "user@host",
            "a/b",
            "a?b",
            "a\\b",
            "<x>",
            "\u{fc}.example",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad:?}");
        }
    }
}
