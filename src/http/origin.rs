//! Origins: where a page comes from, as browsers say it.

use std::fmt;

/// Scheme, host and port. A port that is the scheme's own is left out, as browsers do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// The origin that an `Origin` header, or a setting, names: nothing may follow the port.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        Self::new(scheme, authority)
    }

    /// The origin of a whole URL, such as a `Referer` holds.
    pub(super) fn of_url(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        Self::new(scheme, &rest[..end])
    }

    fn new(scheme: &'a str, authority: &'a str) -> Option<Self> {
        let mut letters = scheme.bytes();
        let plain = letters.next()?.is_ascii_alphabetic()
            && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let (host, port) = split_authority(authority)?;
        let port = port.filter(|port| Some(*port) != default_port(scheme));
        plain.then_some(Self { scheme, host, port })
    }

    /// Whether a page of this origin is a page of the server that answers at `authority` (host
    /// and port). The scheme is not compared, since a proxy may have ended TLS; but it must be one
    /// that a server can have.
    pub(super) fn is_at(&self, authority: &str) -> bool {
        let Some(own) = default_port(self.scheme) else {
            return false;
        };
        split_authority(authority).is_some_and(|(host, port)| {
            host.eq_ignore_ascii_case(self.host) && port.filter(|port| *port != own) == self.port
        })
    }
}

impl PartialEq for Origin<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Host and port; `None` if it is neither a name, nor an address, with an optional port.
fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let close = rest.find(']')?;
            let (host, port) = authority.split_at(close + 2);
            let address = rest[..close].bytes();
            let plain = address
                .clone()
                .all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
            if !plain || address.len() == 0 {
                return None;
            }
            (host, port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            let plain = host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
            if !plain || host.is_empty() {
                return None;
            }
            (host, port)
        }
    };
    match port.strip_prefix(':') {
        None => port.is_empty().then_some((host, None)),
        Some("") => Some((host, None)),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((host, Some(digits.parse().ok()?)))
        }
        Some(_) => None,
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("http") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case("https") {
        Some(443)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_make_an_origin() {
        for (text, shown) in [
            ("http://a.example", "http://a.example"),
            ("http://a.example:80", "http://a.example"),
            ("https://a.example:443", "https://a.example"),
            ("https://a.example:80", "https://a.example:80"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
            ("http://a.example:", "http://a.example"),
            ("chrome-extension://abc", "chrome-extension://abc"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            "null",
            "nonsense",
            "http://",
            "http:// a",
            "http://a b",
            "http://a/",
            "http://a?x",
            "http://a#x",
            "http://u@a",
            "http://u:p@a",
            "http://a:x",
            "http://a:65536",
            "http://a:+1",
            "://a",
            "1x://a",
            "http://[::1",
            "http://[]",
            "http://[::1]x",
            "http://[a]b:1",
            "http://a:1:2",
            "http://caf\u{e9}",
            "http://a\r\nb",
            "http://a, http://b",
        ] {
            assert!(Origin::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_server_knows_its_own_pages() {
        let table = [
            ("http://a.example", "a.example", true),
            ("http://A.example", "a.EXAMPLE", true),
            ("https://a.example", "a.example", true),
            ("http://a.example", "a.example:80", true),
            ("https://a.example", "a.example:443", true),
            ("https://a.example", "a.example:80", false),
            ("http://a.example:8080", "a.example:8080", true),
            ("http://a.example:8080", "a.example", false),
            ("http://a.example", "a.example:8080", false),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://a.example.evil", "a.example", false),
            ("http://evil-a.example", "a.example", false),
            ("capacitor://localhost", "localhost", false),
            ("http://a.example", "", false),
            ("http://a.example", "a.example/x", false),
        ];
        for (origin, authority, own) in table {
            let found = Origin::parse(origin).unwrap().is_at(authority);
            assert_eq!(found, own, "{origin} at {authority}");
        }
    }

    #[test]
    fn urls_have_the_origin_of_their_beginning() {
        let table = [
            ("http://a.example/x?y#z", Some("http://a.example")),
            ("http://a.example", Some("http://a.example")),
            (
                "http://a.example?http://b.example/",
                Some("http://a.example"),
            ),
            ("http://a.example#/", Some("http://a.example")),
            ("http://a.example.evil/", Some("http://a.example.evil")),
            ("http://a.example@evil/", None),
            ("http://a.example\\@evil/", None),
            ("nonsense", None),
            ("/x", None),
            ("about:blank", None),
        ];
        for (url, origin) in table {
            assert_eq!(Origin::of_url(url), origin.and_then(Origin::parse), "{url}");
        }
    }

    #[test]
    fn schemes_differ_between_origins() {
        assert_ne!(Origin::parse("http://a"), Origin::parse("https://a"));
        assert_eq!(Origin::parse("HTTP://A:80"), Origin::parse("http://a"));
        assert_ne!(Origin::parse("http://a:1"), Origin::parse("http://a:2"));
    }
}
