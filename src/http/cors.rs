//! Which pages may talk to the server: the rules for `Origin`, and for scripts, which browsers
//! load without asking.

use super::headers::{Headers, is_token};
use super::origin::{AllowedOrigin, Origin};
use super::request::RequestHead;
use super::response::Response;
use crate::settings::Named;

/// What pages of other origins may.
#[derive(Clone, Debug)]
pub(super) struct Cors {
    /// The origins besides the server's own whose pages may use it.
    origins: Vec<AllowedOrigin>,
    /// The headers that they may send besides [`REQUEST_HEADERS`]: names, or `*` for any.
    headers: Vec<String>,
}

/// What the `Origin` of a request amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OriginKind<'a> {
    /// No `Origin`: not a page, or a page of the own origin that only reads.
    Absent,
    /// The server's own.
    Own,
    /// Another one that is allowed; to be echoed.
    Allowed(&'a str),
    /// Any other.
    Foreign,
}

/// Who may use callback-polling, whose requests carry no `Origin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackPolling {
    /// A request must show that a page of the own or of an allowed origin makes it.
    Guarded,
    /// Everybody: pages of any origin act with their visitors' addresses and cookies.
    Open,
    /// Nobody.
    Off,
}

impl Named for CallbackPolling {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("guarded", Self::Guarded),
        ("open", Self::Open),
        ("off", Self::Off),
    ];
}

impl Cors {
    pub(super) fn new(origins: &[AllowedOrigin], headers: &[String]) -> Self {
        Self {
            origins: origins.to_vec(),
            headers: headers.to_vec(),
        }
    }

    /// Whether every origin is allowed. Cookies then are neither read nor set.
    pub(super) fn any(&self) -> bool {
        self.origins.iter().any(AllowedOrigin::is_any)
    }

    /// What a request is by its `Origin`. An empty one counts as none; of several none is believed.
    pub(super) fn classify<'a>(&self, head: &RequestHead<'a>) -> OriginKind<'a> {
        let mut lines = head.headers.get_all("origin");
        let (first, second) = (lines.next(), lines.next());
        let line = match (first, second) {
            (None | Some(b""), None) => return OriginKind::Absent,
            _ => first.unwrap_or_default(),
        };
        let text = std::str::from_utf8(line).unwrap_or_default();
        let origin = Origin::parse(text).filter(|_| second.is_none());
        match origin {
            Some(origin) if is_own(&origin, head) => OriginKind::Own,
            Some(origin) if self.allows(&origin) => OriginKind::Allowed(text),
            // No browser sends what cannot be echoed, so nobody looks for the echo.
            _ if self.any() => OriginKind::Allowed(match text.contains(|c: char| c.is_control()) {
                true => "",
                false => text,
            }),
            _ => OriginKind::Foreign,
        }
    }

    /// Whether a script request shows that an own or allowed page makes it. Pages cannot forge
    /// either header; a page can only leave its `Referer` out, which shows nothing.
    pub(super) fn shows_its_page(&self, head: &RequestHead<'_>) -> bool {
        if self.any() || head.headers.get("sec-fetch-site") == Some(b"same-origin") {
            return true;
        }
        let page = single(&head.headers, "referer").and_then(Origin::parse);
        page.is_some_and(|origin| is_own(&origin, head) || self.allows(&origin))
    }

    fn allows(&self, origin: &Origin<'_>) -> bool {
        self.origins.iter().any(|allowed| allowed.covers(origin))
    }

    /// The answer to OPTIONS: what is possible here, and for a page of an allowed origin, that it
    /// may.
    pub(super) fn preflight(
        &self,
        head: &RequestHead<'_>,
        origin: OriginKind<'_>,
        allow: &str,
    ) -> Response {
        let response = Response::new(204).header("Allow", allow);
        match origin.echo() {
            None => response,
            origin => response
                .readable_by(origin)
                .header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
                .header("Access-Control-Allow-Headers", &self.granted(head))
                .header("Access-Control-Max-Age", "86400"),
        }
    }

    /// The headers that a page may send: the usual ones, and of those it asks for what is allowed.
    fn granted(&self, head: &RequestHead<'_>) -> String {
        let mut granted = REQUEST_HEADERS.to_owned();
        for name in head.headers.list("access-control-request-headers") {
            let name = std::str::from_utf8(name).unwrap_or_default();
            let allowed = |own: &String| own == "*" || own.eq_ignore_ascii_case(name);
            if is_token(name.as_bytes()) && self.headers.iter().any(allowed) {
                granted.extend([", ", name]);
            }
        }
        granted
    }
}

impl<'a> OriginKind<'a> {
    /// What is known of it when the answer is written: the origin to echo, if there is one.
    pub(super) fn echoing(origin: Option<&'a str>) -> Self {
        origin.map_or(Self::Absent, Self::Allowed)
    }

    /// The origin to echo, if there is one.
    pub(super) fn echo(self) -> Option<&'a str> {
        match self {
            Self::Allowed(origin) => Some(origin),
            Self::Absent | Self::Own | Self::Foreign => None,
        }
    }
}

impl Response {
    /// Lets pages of this origin read it. Stock clients always ask with credentials.
    pub(super) fn readable_by(self, origin: Option<&str>) -> Self {
        let Some(origin) = origin else {
            return self;
        };
        self.header("Access-Control-Allow-Origin", origin)
            .header("Access-Control-Allow-Credentials", "true")
            .header("Vary", "Origin")
    }
}

/// What stock clients and their extensions send; Faye sends Pragma.
const REQUEST_HEADERS: &str = "Accept, Authorization, Content-Type, Pragma, X-Requested-With";

fn is_own(origin: &Origin<'_>, head: &RequestHead<'_>) -> bool {
    head.authority()
        .is_some_and(|authority| origin.is_at(authority))
}

fn single<'a>(headers: &Headers<'a>, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(name);
    match (lines.next(), lines.next()) {
        (Some(value), None) => std::str::from_utf8(value).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::with_headers;

    fn origins(list: &[&str]) -> Cors {
        let list: Vec<_> = list.iter().map(|entry| entry.parse().unwrap()).collect();
        Cors::new(&list, &[])
    }

    fn with_head<T>(lines: &[(&str, &str)], then: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let all = [&[("Host", "own.example:8080")], lines].concat();
        with_headers(&all, |headers| {
            then(&RequestHead {
                method: "POST",
                target: "/cometd",
                minor_version: 1,
                headers,
            })
        })
    }

    #[test]
    fn origins_are_classified() {
        let some = origins(&[
            "http://app.example",
            "https://b.example:8443",
            "https://*.c.example",
            "http://localhost:*",
            "file://",
        ]);
        let table: [(&[&str], OriginKind<'_>); 20] = [
            (&[], OriginKind::Absent),
            (&[""], OriginKind::Absent),
            (&["http://own.example:8080"], OriginKind::Own),
            (&["https://OWN.example:8080"], OriginKind::Own),
            (&["ws://own.example:8080"], OriginKind::Own),
            (&["wss://own.example:8080/cometd"], OriginKind::Own),
            (&["http://own.example"], OriginKind::Foreign),
            (
                &["http://app.example"],
                OriginKind::Allowed("http://app.example"),
            ),
            (
                &["https://b.example:8443"],
                OriginKind::Allowed("https://b.example:8443"),
            ),
            (
                &["https://x.c.example"],
                OriginKind::Allowed("https://x.c.example"),
            ),
            (
                &["http://localhost:3000"],
                OriginKind::Allowed("http://localhost:3000"),
            ),
            (&["file://"], OriginKind::Allowed("file://")),
            (&["https://app.example"], OriginKind::Foreign),
            (&["http://app.example.evil"], OriginKind::Foreign),
            (&["http://evil.example"], OriginKind::Foreign),
            (&["https://c.example"], OriginKind::Foreign),
            (&["null"], OriginKind::Foreign),
            (&["nonsense"], OriginKind::Foreign),
            (
                &["http://app.example", "http://app.example"],
                OriginKind::Foreign,
            ),
            (&["", ""], OriginKind::Foreign),
        ];
        for (values, origin) in table {
            let lines: Vec<_> = values.iter().map(|value| ("Origin", *value)).collect();
            with_head(&lines, |head| {
                assert_eq!(some.classify(head), origin, "{values:?}")
            });
        }
    }

    #[test]
    fn a_star_allows_any() {
        let any = origins(&["http://app.example", "*"]);
        for value in [
            "http://evil.example",
            "http://evil.example/x",
            "null",
            "file://",
            "nonsense",
            "http://u@x",
        ] {
            with_head(&[("Origin", value)], |head| {
                assert_eq!(any.classify(head), OriginKind::Allowed(value))
            });
        }
        for (lines, origin) in [
            (
                &[("Origin", "http://own.example:8080")][..],
                OriginKind::Own,
            ),
            (&[("Origin", "x\u{1}y")], OriginKind::Allowed("")),
            (
                &[("Origin", "http://a"), ("Origin", "http://b")],
                OriginKind::Allowed("http://a"),
            ),
            (&[("Origin", "")], OriginKind::Absent),
        ] {
            with_head(lines, |head| assert_eq!(any.classify(head), origin));
        }
        assert!(any.any() && !origins(&["http://a"]).any());
    }

    #[test]
    fn scripts_show_their_page() {
        let some = origins(&["http://app.example"]);
        let table: [(&[(&str, &str)], bool); 16] = [
            (&[], false),
            (&[("Referer", "http://own.example:8080/a?b")], true),
            (&[("Referer", "http://own.example:8080")], true),
            (&[("Referer", "http://app.example/")], true),
            (&[("Referer", "http://evil.example/x")], false),
            (
                &[("Referer", "http://own.example:8080.evil.example/")],
                false,
            ),
            (
                &[("Referer", "http://evil.example/?http://own.example:8080/")],
                false,
            ),
            (
                &[("Referer", "http://own.example:8080@evil.example/")],
                false,
            ),
            (&[("Referer", "nonsense")], false),
            (
                &[
                    ("Referer", "http://app.example/"),
                    ("Referer", "http://app.example/"),
                ],
                false,
            ),
            (&[("Sec-Fetch-Site", "same-origin")], true),
            (&[("Sec-Fetch-Site", "same-site")], false),
            (&[("Sec-Fetch-Site", "cross-site")], false),
            (&[("Sec-Fetch-Site", "none")], false),
            (
                &[
                    ("Sec-Fetch-Site", "cross-site"),
                    ("Referer", "http://app.example/x"),
                ],
                true,
            ),
            (
                &[
                    ("Sec-Fetch-Site", "cross-site"),
                    ("Referer", "http://evil.example/"),
                ],
                false,
            ),
        ];
        for (lines, shown) in table {
            with_head(lines, |head| {
                assert_eq!(some.shows_its_page(head), shown, "{lines:?}")
            });
        }
        with_head(&[], |head| assert!(origins(&["*"]).shows_its_page(head)));
    }

    /// The answer to a preflight that asks for these headers.
    fn asked(allowed: &[&str], origin: OriginKind<'_>, names: &str) -> Response {
        let list: Vec<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let cors = Cors::new(&[], &list);
        let lines = [("Access-Control-Request-Headers", names)];
        with_head(&lines, |head| cors.preflight(head, origin, "GET"))
    }

    #[test]
    fn the_preflight_permits_allowed_origins_only() {
        for origin in [OriginKind::Absent, OriginKind::Own, OriginKind::Foreign] {
            let response = asked(&["*"], origin, "x-csrf-token");
            assert_eq!(
                (response.status, &response.headers[..]),
                (204, &b"Allow: GET\r\n"[..])
            );
        }
        let response = asked(&["*"], OriginKind::Allowed("http://a"), "");
        let headers = String::from_utf8(response.headers).unwrap();
        for line in [
            "Access-Control-Allow-Origin: http://a",
            "Access-Control-Allow-Credentials: true",
            "Access-Control-Max-Age: 86400",
            "Vary: Origin",
        ] {
            assert!(
                headers.lines().any(|found| found == line),
                "{line} in {headers}"
            );
        }
        assert!(headers.contains("Pragma") && headers.contains("POST"));
        assert!(response.body.is_empty());
    }

    #[test]
    fn the_preflight_grants_headers_that_are_asked_for() {
        let table = [
            (
                &["*"][..],
                "x-csrf-token, X-App,,a b,\u{e9}",
                ", x-csrf-token, X-App",
            ),
            (&["X-CSRF-Token"], "x-csrf-token,x-app", ", x-csrf-token"),
            (&[], "x-csrf-token,content-type", ""),
            (&["*"], "", ""),
        ];
        for (allowed, names, more) in table {
            let response = asked(allowed, OriginKind::Allowed("http://a"), names);
            let headers = String::from_utf8(response.headers).unwrap();
            let line = format!("Access-Control-Allow-Headers: {REQUEST_HEADERS}{more}");
            assert!(headers.lines().any(|found| found == line), "{headers}");
        }
    }
}
