//! What the parts of a head may look like: targets, header fields, and fields that are lists of
//! tokens.

use httparse::Header;

use super::Refusal;

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

/// Checks the form of a target and returns the host and port it names, if it is a whole URL. `*` is
/// for OPTIONS alone; the form of CONNECT is not served.
pub(super) fn target_authority<'b>(
    method: &str,
    target: &'b str,
) -> Result<Option<&'b str>, Refusal> {
    // RFC 3986 knows only ASCII, and a fragment is never sent.
    if !target
        .bytes()
        .all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#')
    {
        return Err(Refusal::Target);
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(None);
    }
    let rest = strip_scheme(target).ok_or(Refusal::Target)?;
    let name = rest.split(['/', '?']).next().unwrap_or_default();
    if name.is_empty() || !is_authority(name.as_bytes()) {
        return Err(Refusal::Target);
    }
    Ok(Some(name))
}

fn strip_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
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

    #[test]
    fn targets() {
        let bad = Err(Refusal::Target);
        for (target, expected) in [
            ("/", Ok(None)),
            ("/a/b?c=d", Ok(None)),
            ("//a", Ok(None)),
            ("http://h", Ok(Some("h"))),
            ("http://h:80/", Ok(Some("h:80"))),
            ("HTTPS://h/a?b", Ok(Some("h"))),
            ("http://[::1]:80/a", Ok(Some("[::1]:80"))),
            ("http://h?b", Ok(Some("h"))),
            ("http:///a", bad),
            ("http://", bad),
            ("http://u@h/", bad),
            ("ftp://h/", bad),
            ("h:80", bad),
            ("a", bad),
            ("../a", bad),
            ("*", bad),
            ("", bad),
            ("/#a", bad),
            ("/\u{fc}", bad),
        ] {
            assert_eq!(target_authority("GET", target), expected, "{target}");
        }
        assert_eq!(target_authority("OPTIONS", "*"), Ok(None));
        assert_eq!(target_authority("OPTIONS", "**"), bad);
    }
}
