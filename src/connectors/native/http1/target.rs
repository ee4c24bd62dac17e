//! The forms of a request target (RFC 9112, 3.2).

use super::{Refusal, fields};

/// A target, reduced to the path and query that a site serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'b> {
    /// Path and query, beginning with `/`; or `*`.
    pub(super) path: &'b str,
    /// Host and port of an absolute target.
    pub(super) authority: Option<&'b str>,
}

/// Takes a target apart. `*` is for OPTIONS alone.
pub(super) fn split<'b>(method: &str, target: &'b str) -> Result<Target<'b>, Refusal> {
    // RFC 3986 knows only ASCII, and a fragment is never sent.
    if !target
        .bytes()
        .all(|byte| matches!(byte, b'!'..=b'~') && byte != b'#')
    {
        return Err(Refusal::Target);
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(Target {
            path: target,
            authority: None,
        });
    }
    let rest = strip_scheme(target).ok_or(Refusal::Target)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || !fields::is_authority(authority.as_bytes()) {
        return Err(Refusal::Target);
    }
    match path.as_bytes().first() {
        None => Ok(Target {
            path: "/",
            authority: Some(authority),
        }),
        Some(b'/') => Ok(Target {
            path,
            authority: Some(authority),
        }),
        // `http://host?query` has an empty path, which we would have to make up.
        Some(_) => Err(Refusal::Target),
    }
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
        let ok = |path, authority| Ok(Target { path, authority });
        let bad = Err(Refusal::Target);
        for (target, expected) in [
            ("/", ok("/", None)),
            ("/a/b?c=d", ok("/a/b?c=d", None)),
            ("//a", ok("//a", None)),
            ("http://h", ok("/", Some("h"))),
            ("http://h:80/", ok("/", Some("h:80"))),
            ("HTTPS://h/a?b", ok("/a?b", Some("h"))),
            ("http://[::1]:80/a", ok("/a", Some("[::1]:80"))),
            ("http://h?b", bad),
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
            assert_eq!(split("GET", target), expected, "{target}");
        }
        assert_eq!(split("OPTIONS", "*"), ok("*", None));
        assert_eq!(split("OPTIONS", "**"), bad);
    }
}
