//! Who asks when a proxy stands between: what trusted proxies report, and nobody else.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::headers::Headers;
use super::request::RequestHead;

/// Which peers are proxies whose word counts.
#[derive(Clone)]
pub struct TrustedProxies(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl TrustedProxies {
    /// Those of which the function says so.
    pub fn new(trusted: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(trusted))
    }
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrustedProxies")
    }
}

/// Who sent a request, as far as it is believed. Made once for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// The client: the first hop, counted from here, that is no trusted proxy.
    pub ip: IpAddr,
    /// Whether the client's side is encrypted.
    pub(super) secure: bool,
    /// Host and port that the client asked for, if a trusted proxy said so.
    host: Option<Box<str>>,
}

impl Caller {
    /// The other end of the connection, with nobody in between.
    pub fn direct(peer: IpAddr, secure: bool) -> Self {
        Self {
            peer,
            ip: peer,
            secure,
            host: None,
        }
    }

    /// The head of the caller's request, with the host that it asked for.
    pub(super) fn addressed<'a>(&'a self, mut head: RequestHead<'a>) -> RequestHead<'a> {
        head.headers = head.headers.with_host(self.host.as_deref());
        head
    }

    fn believe(&mut self, proto: Option<&str>, host: Option<&str>) {
        self.secure = proto.map_or(self.secure, is_secure);
        self.host = host.filter(|host| is_host(host)).map(Box::from);
    }
}

impl TrustedProxies {
    /// Who the headers of a request from `peer` say has sent it. `X-Forwarded-For` outweighs
    /// `Forwarded`: a proxy sets the one or the other, and should take away what it does not set.
    pub(super) fn caller(&self, peer: IpAddr, secure: bool, headers: &Headers<'_>) -> Caller {
        let mut caller = Caller::direct(peer, secure);
        if !(self.0)(peer) {
            return caller;
        }
        let plain = headers.get("x-forwarded-for").is_some() || headers.get("forwarded").is_none();
        let name = if plain {
            "x-forwarded-for"
        } else {
            "forwarded"
        };
        let hops: Vec<_> = headers.list(name).collect();
        // From the right, as each hop has added the one before it, past those that are trusted.
        // What is no address ends the walk: only who wrote it knows what it means.
        for hop in hops.into_iter().rev() {
            let hop = std::str::from_utf8(hop).unwrap_or_default();
            let ip = if plain {
                Some(hop)
            } else {
                parameter(hop, "for")
            };
            let Some(ip) = ip.and_then(address) else {
                break;
            };
            caller.ip = ip;
            if !plain {
                // Here each hop says all it knows in one element.
                caller.secure = secure;
                caller.believe(parameter(hop, "proto"), parameter(hop, "host"));
            }
            if !(self.0)(ip) {
                break;
            }
        }
        if plain {
            let proto = last(headers, "x-forwarded-proto");
            caller.believe(proto, last(headers, "x-forwarded-host"));
        }
        caller
    }
}

/// An address as proxies write it: plain, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let plain = bare.unwrap_or(text).parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    plain.or_else(with_port).map(|ip| ip.to_canonical())
}

/// A parameter of an element of `Forwarded`, without its quotes. No address, host or scheme has
/// characters that need escapes.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    Some(quoted.unwrap_or(value))
}

fn last<'a>(headers: &Headers<'a>, name: &str) -> Option<&'a str> {
    std::str::from_utf8(headers.list(name).last()?).ok()
}

fn is_secure(scheme: &str) -> bool {
    ["https", "wss"]
        .iter()
        .any(|secure| scheme.eq_ignore_ascii_case(secure))
}

fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::with_headers;

    const PROXY: &str = "10.0.0.1";

    /// What is believed of a request with these headers, with 10.0.0.0/8 and ::1 trusted.
    fn reported(peer: &str, lines: &[(&str, &str)]) -> (String, Option<bool>, Option<String>) {
        let trusted = TrustedProxies::new(|ip| match ip {
            IpAddr::V4(ip) => ip.octets()[0] == 10,
            IpAddr::V6(ip) => ip.is_loopback(),
        });
        let peer = peer.parse().unwrap();
        let [plain, tls] =
            [false, true].map(|secure| with_headers(lines, |it| trusted.caller(peer, secure, &it)));
        assert_eq!(plain.peer, peer);
        assert_eq!((plain.ip, &plain.host), (tls.ip, &tls.host));
        // Where nothing was said, it is as the connection is.
        let said = plain.secure == tls.secure;
        (
            plain.ip.to_string(),
            said.then_some(plain.secure),
            plain.host.map(String::from),
        )
    }

    #[test]
    fn nobody_but_a_trusted_proxy_is_believed() {
        let all = [
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "app.example"),
            ("Forwarded", "for=5.6.7.8;proto=https"),
        ];
        assert_eq!(
            reported("9.9.9.9", &all),
            ("9.9.9.9".to_owned(), None, None)
        );
        let host = Some("app.example".to_owned());
        assert_eq!(
            reported(PROXY, &all),
            ("1.2.3.4".to_owned(), Some(true), host)
        );
        assert_eq!(reported(PROXY, &[]), (PROXY.to_owned(), None, None));
    }

    #[test]
    fn hops_are_read_from_the_right_up_to_the_first_that_is_not_trusted() {
        for (chain, ip) in [
            ("1.2.3.4", "1.2.3.4"),
            ("6.6.6.6, 1.2.3.4", "1.2.3.4"),
            ("6.6.6.6,1.2.3.4,10.0.0.9 , 10.1.1.1", "1.2.3.4"),
            ("10.0.0.9, 10.1.1.1", "10.0.0.9"),
            ("1.2.3.4, garbage", PROXY),
            ("1.2.3.4, garbage, 10.5.5.5", "10.5.5.5"),
            ("", PROXY),
            ("1.2.3.4:5678", "1.2.3.4"),
            ("[2001:db8::1]:99", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:db8::7, ::1", "2001:db8::7"),
        ] {
            assert_eq!(
                reported(PROXY, &[("X-Forwarded-For", chain)]).0,
                ip,
                "{chain}"
            );
        }
        let two = [
            ("x-forwarded-for", "6.6.6.6"),
            ("X-Forwarded-For", "1.2.3.4"),
        ];
        assert_eq!(reported(PROXY, &two).0, "1.2.3.4", "lines make one list");
    }

    #[test]
    fn forwarded_elements_are_walked_too() {
        for (line, ip, secure, host) in [
            ("for=1.2.3.4", "1.2.3.4", None, None),
            (
                "For=\"1.2.3.4:80\";Proto=HTTPS;host=\"a.b:1\"",
                "1.2.3.4",
                Some(true),
                Some("a.b:1"),
            ),
            ("for=\"[2001:db8::1]:99\"", "2001:db8::1", None, None),
            (
                "for=6.6.6.6;proto=http, for=1.2.3.4;proto=https",
                "1.2.3.4",
                Some(true),
                None,
            ),
            (
                "for=1.2.3.4;proto=https, for=10.0.0.9;proto=http",
                "1.2.3.4",
                Some(true),
                None,
            ),
            ("for=unknown", PROXY, None, None),
            (
                "for=_hidden, for=10.0.0.9;host=x",
                "10.0.0.9",
                None,
                Some("x"),
            ),
            ("proto=https", PROXY, None, None),
        ] {
            let expected = (ip.to_owned(), secure, host.map(str::to_owned));
            assert_eq!(reported(PROXY, &[("Forwarded", line)]), expected, "{line}");
        }
    }

    #[test]
    fn hosts_and_schemes_are_checked() {
        for (host, believed) in [("a.example:8443", true), ("a/b", false), ("a b", false)] {
            let found = reported(PROXY, &[("X-Forwarded-Host", host)]).2;
            assert_eq!(found.is_some(), believed, "{host}");
        }
        for (proto, secure) in [
            ("https", true),
            ("http", false),
            ("WSS", true),
            ("x", false),
        ] {
            assert_eq!(
                reported(PROXY, &[("X-Forwarded-Proto", proto)]).1,
                Some(secure)
            );
        }
    }
}
