//! Origins: where a page comes from, as browsers and native clients say it in requests, and which
//! of them the settings let in.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Scheme, host and port. A port that is the scheme's own is left out, as browsers do. Pages of
/// files (`file://`) and those that browsers keep apart (`null`) have no host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// The origin that an `Origin` header names, or of the URL that a `Referer` holds. What follows
    /// the port does not matter: native clients give the whole URL of the server.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if text.eq_ignore_ascii_case(NULL) {
            return Some(Self {
                scheme: text,
                host: "",
                port: None,
            });
        }
        let (scheme, rest) = text.split_once("://")?;
        let (authority, _) = rest.split_at(end_of_authority(rest));
        if authority.is_empty() && scheme.eq_ignore_ascii_case(FILE) {
            return Some(Self {
                scheme,
                host: "",
                port: None,
            });
        }
        let mut letters = scheme.bytes();
        let plain = letters.next()?.is_ascii_alphabetic()
            && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let (host, port) = split_authority(authority)?;
        let port = port.filter(|port| Some(*port) != default_port(scheme));
        plain.then_some(Self { scheme, host, port })
    }

    /// Whether a page of this origin is a page of the server that answers at `authority` (host
    /// and port), or a native client that names the server itself. The scheme is not compared,
    /// since a proxy may have ended TLS; but it must be one that a server can have.
    pub(super) fn is_at(&self, authority: &str) -> bool {
        let Some(own) = default_port(self.scheme) else {
            return false;
        };
        split_authority(authority).is_some_and(|(host, port)| {
            host.eq_ignore_ascii_case(self.host) && port.filter(|port| *port != own) == self.port
        })
    }
}

/// An origin whose pages may use the server, or several by a pattern.
///
/// Written as browsers send it: scheme, host and, unless it is the scheme's own, port, such as
/// `https://app.example:8443`. For the host may stand `*.` and a name, which is every name that
/// ends so, but not that name itself; for the port `*`, which is any. `file://` are pages of files,
/// `null` those that browsers keep apart (sandboxed frames and, in some browsers, files): whose
/// they are nobody can tell. `*` is every origin, whatever it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(Allowed);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Any,
    Pages {
        scheme: Box<str>,
        /// Names below the host, instead of the host.
        below: bool,
        host: Box<str>,
        port: Port,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Any,
    Is(Option<u16>),
}

impl AllowedOrigin {
    /// Whether it is `*`. Cookies then are neither read nor set.
    pub fn is_any(&self) -> bool {
        self.0 == Allowed::Any
    }

    pub(super) fn covers(&self, origin: &Origin<'_>) -> bool {
        match &self.0 {
            Allowed::Any => true,
            Allowed::Pages {
                scheme,
                below,
                host,
                port,
            } => {
                let theirs = origin.host.to_ascii_lowercase();
                let hosts = match below {
                    true => theirs
                        .strip_suffix(&host[..])
                        .is_some_and(|name| name.len() > 1 && name.ends_with('.')),
                    false => theirs == host[..],
                };
                hosts
                    && origin.scheme.eq_ignore_ascii_case(scheme)
                    && (*port == Port::Any || *port == Port::Is(origin.port))
            }
        }
    }

    /// Reads lower-case text.
    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self(Allowed::Any));
        }
        let (text, any_port) = match text.strip_suffix(":*") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (plain, below) = match text.split_once("://*.") {
            Some((scheme, name)) => (format!("{scheme}://{name}"), true),
            None => (text.to_owned(), false),
        };
        let rest = plain.split_once("://").map_or("", |(_, rest)| rest);
        let origin = Origin::parse(&plain).filter(|_| end_of_authority(rest) == rest.len())?;
        let is_pattern = any_port || below;
        let is_odd = origin.host.is_empty() || below && origin.host.starts_with(['[', '.']);
        if is_pattern && is_odd || any_port && origin.port.is_some() {
            return None;
        }
        Some(Self(Allowed::Pages {
            scheme: origin.scheme.into(),
            below,
            host: origin.host.into(),
            port: match any_port {
                true => Port::Any,
                false => Port::Is(origin.port),
            },
        }))
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    /// The error says what is wrong and what to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        Self::read(&lower).ok_or_else(|| {
            let (scheme, rest) = lower.split_once("://").unwrap_or(("https", &lower));
            let better = format!("{scheme}://{}", &rest[..end_of_authority(rest)]);
            let hint = match Self::read(&better) {
                Some(_) => format!("; did you mean `{better}`?"),
                None => ", such as `https://app.example`, `https://*.app.example`, \
                         `http://localhost:*`, `file://`, `null`, or `*` for any"
                    .to_owned(),
            };
            format!("`{text}` is no origin{hint}")
        })
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Allowed::Pages {
            scheme,
            below,
            host,
            port,
        } = &self.0
        else {
            return f.write_str("*");
        };
        if &scheme[..] == NULL && host.is_empty() {
            return f.write_str(NULL);
        }
        let below = if *below { "*." } else { "" };
        write!(f, "{scheme}://{below}{host}")?;
        match port {
            Port::Any => f.write_str(":*"),
            Port::Is(Some(port)) => write!(f, ":{port}"),
            Port::Is(None) => Ok(()),
        }
    }
}

/// Where the part of a URL ends that names host and port; `rest` is what follows the scheme.
fn end_of_authority(rest: &str) -> usize {
    rest.find(['/', '?', '#']).unwrap_or(rest.len())
}

/// Host and port; `None` if it is neither a name, nor an address, with an optional port.
pub(super) fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    // An IPv6 address has colons of its own, in brackets.
    let bracket = authority.find(']').unwrap_or(0);
    let colon = authority[bracket..].find(':').map(|at| bracket + at);
    let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
    let plain = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !host.is_empty() && host.bytes().all(plain)
        }
    };
    let digits = port.strip_prefix(':').unwrap_or_default();
    let number = match digits {
        "" => None,
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    plain.then_some((host, number))
}

fn default_port(scheme: &str) -> Option<u16> {
    let table = [("http", 80), ("https", 443), ("ws", 80), ("wss", 443)];
    let row = table
        .into_iter()
        .find(|(name, _)| scheme.eq_ignore_ascii_case(name));
    row.map(|(_, port)| port)
}

/// The origin of pages that are kept apart from all others.
const NULL: &str = "null";

/// The scheme of pages that are files.
const FILE: &str = "file";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_requests() {
        let table = [
            ("http://a.example", "http", "a.example", None),
            ("http://a.example:80", "http", "a.example", None),
            ("https://a.example:443", "https", "a.example", None),
            ("ws://a.example:80", "ws", "a.example", None),
            ("wss://a.example:443", "wss", "a.example", None),
            ("https://a.example:80", "https", "a.example", Some(80)),
            ("http://127.0.0.1:8080", "http", "127.0.0.1", Some(8080)),
            ("http://[::1]:8080", "http", "[::1]", Some(8080)),
            ("http://[::1]", "http", "[::1]", None),
            ("http://a.example:", "http", "a.example", None),
            ("chrome-extension://abc", "chrome-extension", "abc", None),
            // As native clients do, and as a `Referer` is.
            ("ws://a.example:81/", "ws", "a.example", Some(81)),
            ("wss://a.example/cometd?x#y", "wss", "a.example", None),
            ("http://a.example?http://b/", "http", "a.example", None),
            ("http://a.example#/", "http", "a.example", None),
            ("file://", "file", "", None),
            ("file:///android_asset/x.html", "file", "", None),
            ("file://share/x", "file", "share", None),
            ("null", "null", "", None),
        ];
        for (text, scheme, host, port) in table {
            let origin = Origin::parse(text).unwrap();
            let found = (origin.scheme, origin.host, origin.port);
            assert_eq!(found, (scheme, host, port), "{text}");
        }
        for text in [
            "",
            "*",
            "nonsense",
            "about:blank",
            "/x",
            "http://",
            "http:///x",
            "null://",
            "http:// a",
            "http://a b",
            "http://u@a",
            "http://u:p@a/",
            "http://a\\@b/",
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
            "http://*.a",
            "http://a:*",
        ] {
            assert!(Origin::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_server_knows_its_own_pages_and_who_names_it() {
        let table = [
            ("http://a.example", "a.example", true),
            ("http://A.example", "a.EXAMPLE", true),
            ("https://a.example", "a.example", true),
            ("ws://a.example", "a.example", true),
            ("wss://a.example/cometd", "a.example", true),
            ("WS://a.example:8080/", "a.example:8080", true),
            ("wss://a.example", "a.example:443", true),
            ("ws://a.example:8080", "a.example", false),
            ("http://a.example", "a.example:80", true),
            ("https://a.example", "a.example:443", true),
            ("https://a.example", "a.example:80", false),
            ("http://a.example:8080", "a.example:8080", true),
            ("http://a.example:8080", "a.example", false),
            ("http://a.example", "a.example:8080", false),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://a.example.evil", "a.example", false),
            ("http://a.example.evil/", "a.example", false),
            ("http://evil/a.example", "a.example", false),
            ("http://evil-a.example", "a.example", false),
            ("capacitor://localhost", "localhost", false),
            ("file://a.example", "a.example", false),
            ("file://", "", false),
            ("null", "null", false),
            ("http://a.example", "", false),
            ("http://a.example", "a.example/x", false),
        ];
        for (origin, authority, own) in table {
            let found = Origin::parse(origin).unwrap().is_at(authority);
            assert_eq!(found, own, "{origin} at {authority}");
        }
    }

    #[test]
    fn settings_cover_what_they_name() {
        let table: [(&str, &[&str], &[&str]); 11] = [
            (
                "http://a",
                &["http://a", "HTTP://A:80", "http://a/"],
                &["https://a", "http://a:1", "ws://a", "http://b.a", "null"],
            ),
            ("http://a:1", &["http://a:1"], &["http://a:2", "http://a"]),
            (
                "https://*.example.com",
                &[
                    "https://x.example.com",
                    "https://X.y.Example.com:443",
                    "https://-.example.com",
                ],
                &[
                    "https://example.com",
                    "https://.example.com",
                    "https://xexample.com",
                    "https://x.example.com.evil",
                    "https://x.example.com:8443",
                    "http://x.example.com",
                    "https://evil/x.example.com",
                    "https://evil?.example.com",
                ],
            ),
            (
                "http://localhost:*",
                &[
                    "http://localhost",
                    "http://localhost:80",
                    "http://localhost:65535/",
                ],
                &[
                    "https://localhost",
                    "http://x.localhost:1",
                    "http://localhost.evil:1",
                ],
            ),
            (
                "http://*.test:*",
                &["http://a.test:1", "http://b.a.test"],
                &["http://test:1"],
            ),
            (
                "http://[::1]:*",
                &["http://[::1]:9", "http://[::1]"],
                &["http://[::2]:9"],
            ),
            ("null", &["null", "NULL"], &["file://", "http://null"]),
            (
                "file://",
                &["file://", "file:///x"],
                &["null", "file://x/y", "http://x"],
            ),
            ("file://x", &["file://x/y"], &["file://"]),
            ("app://x", &["app://x"], &["app://x:1", "http://x"]),
            ("*", &["null", "file://", "http://x:1", "app://x"], &[]),
        ];
        for (setting, inside, outside) in table {
            let setting: AllowedOrigin = setting.parse().unwrap();
            let covers = |text: &&&str| setting.covers(&Origin::parse(text).unwrap());
            assert_eq!(inside.iter().find(|text| !covers(text)), None, "{setting}");
            assert_eq!(outside.iter().find(covers), None, "{setting}");
        }
    }

    #[test]
    fn settings_are_shown_as_they_are_compared() {
        for (text, shown) in [
            ("*", "*"),
            ("Null", "null"),
            ("FILE://", "file://"),
            ("http://a.example:80", "http://a.example"),
            ("HTTPS://App.Example:8443", "https://app.example:8443"),
            ("https://*.Example.com", "https://*.example.com"),
            ("http://localhost:*", "http://localhost:*"),
            ("ws://[::1]:80", "ws://[::1]"),
        ] {
            let setting: AllowedOrigin = text.parse().unwrap();
            assert_eq!(setting.to_string(), shown);
            assert_eq!(shown.parse(), Ok(setting));
        }
    }

    #[test]
    fn what_is_refused_is_not_suggested() {
        let table = [
            ("app.example", Some("https://app.example")),
            ("*.app.example", Some("https://*.app.example")),
            ("localhost:*", Some("https://localhost:*")),
            ("app.example/x", Some("https://app.example")),
            ("http://App.example/", Some("http://app.example")),
            ("http://app.example/x?y", Some("http://app.example")),
            ("file:///x", Some("file://")),
            ("", None),
            ("**", None),
            ("https://", None),
            ("https://*", None),
            ("https://*:*", None),
            ("https://*.", None),
            ("https://*..x", None),
            ("https://*.[::1]", None),
            ("https://a.*.x", None),
            ("https://*a.x", None),
            ("https://a:8*", None),
            ("https://a:1:*", None),
            ("*://a", None),
            ("file://*", None),
            ("file://:*", None),
            ("null:*", Some("https://null:*")),
            ("u@a", None),
            ("a b", None),
            ("caf\u{e9}.example", None),
            ("http://a,http://b", None),
        ];
        for (text, better) in table {
            let shown = text.parse::<AllowedOrigin>().unwrap_err();
            let hint = better.map(|better| format!("; did you mean `{better}`?"));
            let hint = hint.unwrap_or_else(|| ", such as `https://app.example`".to_owned());
            assert!(shown.contains(&hint), "{text}: {shown}");
            assert!(shown.starts_with(&format!("`{text}` is no origin")));
            let named = shown.split('`').skip(3).step_by(2);
            for named in named {
                assert!(named.parse::<AllowedOrigin>().is_ok(), "{named}: {shown}");
            }
        }
    }
}
