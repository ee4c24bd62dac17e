//! A request as the connectors hand it over: the head as it was parsed, and the body in full.

use super::headers::Headers;
use super::proxies::Caller;

/// What comes before the body. The connector has checked the framing and that an HTTP/1.1 request
/// has exactly one `Host`.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// As it came; methods are case-sensitive.
    pub method: &'a str,
    /// The request target as it came.
    pub target: &'a str,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// The header lines.
    pub headers: Headers<'a>,
}

/// A request whose body has arrived.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method, target, headers.
    pub head: RequestHead<'a>,
    /// The body, without any transfer coding.
    pub body: &'a [u8],
    /// Who sent it.
    pub caller: &'a Caller,
}

/// The parts of a request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Host and port, when the target was a whole URL; it then counts instead of `Host`.
    pub authority: Option<&'a str>,
    /// From the first slash to the query, not decoded; `*` for the server as a whole.
    pub path: &'a str,
    /// What follows the question mark, not decoded.
    pub query: Option<&'a str>,
}

impl<'a> RequestHead<'a> {
    /// The target's parts; `None` if it is neither a path, nor a whole `http` URL, nor `*`.
    pub fn target(&self) -> Option<Target<'a>> {
        let (authority, rest) = match self.target.strip_prefix('/') {
            Some(_) => (None, self.target),
            None if self.target == "*" => (None, "*"),
            None => {
                let after = strip_scheme(self.target)?;
                let end = after.find(['/', '?']).unwrap_or(after.len());
                let (authority, rest) = after.split_at(end);
                (
                    Some(authority).filter(|authority| !authority.is_empty()),
                    rest,
                )
            }
        };
        if authority.is_none() && rest.is_empty() {
            return None;
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        Some(Target {
            authority,
            path,
            query,
        })
    }

    /// Host and port that the request was sent to; behind trusted proxies those they report.
    pub fn authority(&self) -> Option<&'a str> {
        if let Some(host) = self.headers.reported_host() {
            return Some(host);
        }
        let named = self.target().and_then(|target| target.authority);
        named.or_else(|| self.headers.text("host"))
    }

    /// Whether the client would keep the connection open.
    pub fn keeps_alive(&self) -> bool {
        match self.minor_version {
            0 => self.headers.list_has("connection", "keep-alive"),
            _ => !self.headers.list_has("connection", "close"),
        }
    }

    /// Whether only the head of the answer is wanted.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

fn strip_scheme(url: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let start = url.get(..scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme)
            .then(|| &url[scheme.len()..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head<'a>(target: &'a str, lines: &'a [httparse::Header<'a>]) -> RequestHead<'a> {
        RequestHead {
            method: "GET",
            target,
            minor_version: 1,
            headers: Headers::new(lines),
        }
    }

    #[test]
    fn targets_have_three_forms() {
        let table = [
            ("/", Some((None, "/", None))),
            ("/cometd?a=1&b=?", Some((None, "/cometd", Some("a=1&b=?")))),
            ("//x/y", Some((None, "//x/y", None))),
            ("/?", Some((None, "/", Some("")))),
            ("http://h:80/p?q", Some((Some("h:80"), "/p", Some("q")))),
            ("HTTPS://h", Some((Some("h"), "/", None))),
            ("http://h?q", Some((Some("h"), "/", Some("q")))),
            ("*", Some((None, "*", None))),
            ("", None),
            ("?q", None),
            ("x", None),
            ("../x", None),
            ("h:80", None),
            ("ftp://h/p", None),
            ("http://", None),
            ("http:/h", None),
            ("**", None),
        ];
        for (target, parts) in table {
            let expected = parts.map(|(authority, path, query)| Target {
                authority,
                path,
                query,
            });
            assert_eq!(head(target, &[]).target(), expected, "{target}");
        }
    }

    #[test]
    fn a_url_as_target_outweighs_the_host_line() {
        let lines = [httparse::Header {
            name: "Host",
            value: b"h.example:1",
        }];
        assert_eq!(head("/x", &lines).authority(), Some("h.example:1"));
        assert_eq!(head("http://other/x", &lines).authority(), Some("other"));
        assert_eq!(head("/x", &[]).authority(), None);
    }
}
