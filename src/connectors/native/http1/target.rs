//! The forms of a request target (RFC 9112, 3.2).

use super::{Refusal, fields};

/// Checks the form of a target and returns the host and port it names, if it is a whole URL. `*` is
/// for OPTIONS alone; the form of CONNECT is not served.
pub(super) fn authority<'b>(method: &str, target: &'b str) -> Result<Option<&'b str>, Refusal> {
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
    if name.is_empty() || !fields::is_authority(name.as_bytes()) {
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
    fn forms() {
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
            assert_eq!(authority("GET", target), expected, "{target}");
        }
        assert_eq!(authority("OPTIONS", "*"), Ok(None));
        assert_eq!(authority("OPTIONS", "**"), bad);
    }
}
