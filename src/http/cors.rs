//! Which pages may talk to the server: the rules for `Origin`, and for scripts, which browsers
//! load without asking.

use super::headers::Headers;
use super::origin::Origin;
use super::request::RequestHead;
use super::response::{Response, push_header};

/// The origins besides the server's own whose pages may use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AllowedOrigins {
    any: bool,
    list: Vec<String>,
}

/// What the `Origin` of a request amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallbackPolling {
    /// A request must show that a page of the own or of an allowed origin makes it.
    #[default]
    Guarded,
    /// Everybody: pages of any origin act with their visitors' addresses and cookies.
    Open,
    /// Nobody.
    Off,
}

impl AllowedOrigins {
    /// From the configuration: origins such as `https://app.example:8443`, or `*` for any.
    ///
    /// # Errors
    ///
    /// The first entry that is neither.
    pub(super) fn new(list: &[String]) -> Result<Self, String> {
        let any = list.iter().any(|entry| entry == "*");
        let list: Vec<_> = list.iter().filter(|entry| *entry != "*").cloned().collect();
        match list.iter().find(|entry| Origin::parse(entry).is_none()) {
            Some(entry) => Err(entry.clone()),
            None => Ok(Self { any, list }),
        }
    }

    /// Whether every origin is allowed. Cookies then are neither read nor set.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Judges a request by its `Origin`. An empty one counts as none; of several none is believed.
    pub(super) fn judge<'a>(&self, head: &RequestHead<'a>) -> Verdict<'a> {
        let mut lines = head.headers.get_all("origin");
        let text = match (lines.next(), lines.next()) {
            (None | Some(b""), None) => return Verdict::Absent,
            (Some(text), None) => text,
            _ => return Verdict::Foreign,
        };
        let Ok(text) = std::str::from_utf8(text) else {
            return Verdict::Foreign;
        };
        match Origin::parse(text) {
            Some(origin) if is_own(&origin, head) => Verdict::Own,
            Some(origin) if self.allows(&origin) => Verdict::Allowed(text),
            // Pages of local files and of sandboxed frames call themselves `null`.
            None if self.any && text == "null" => Verdict::Allowed(text),
            _ => Verdict::Foreign,
        }
    }

    /// Whether a script request shows that an own or allowed page makes it. Pages cannot forge
    /// either header; a page can only leave its `Referer` out, which shows nothing.
    pub(super) fn shows_its_page(&self, head: &RequestHead<'_>) -> bool {
        if self.any || head.headers.get("sec-fetch-site") == Some(b"same-origin") {
            return true;
        }
        let page = single(&head.headers, "referer").and_then(Origin::of_url);
        page.is_some_and(|origin| is_own(&origin, head) || self.allows(&origin))
    }

    fn allows(&self, origin: &Origin<'_>) -> bool {
        self.any
            || self
                .list
                .iter()
                .any(|entry| Origin::parse(entry).as_ref() == Some(origin))
    }
}

impl<'a> Verdict<'a> {
    /// The origin to echo, if there is one.
    pub(super) fn echo(self) -> Option<&'a str> {
        match self {
            Self::Allowed(origin) => Some(origin),
            Self::Absent | Self::Own | Self::Foreign => None,
        }
    }
}

/// Lets a page of this origin read the response. Stock clients always ask with credentials.
pub(super) fn push_echo(out: &mut Vec<u8>, origin: &str) {
    push_header(out, "Access-Control-Allow-Origin", origin);
    push_header(out, "Access-Control-Allow-Credentials", "true");
    push_header(out, "Vary", "Origin");
}

/// The answer to OPTIONS: what is possible here, and for a page of an allowed origin, that it may.
pub(super) fn preflight(verdict: Verdict<'_>, allow: &str) -> Response {
    let mut response = Response::new(204).header("Allow", allow);
    if let Some(origin) = verdict.echo() {
        push_echo(&mut response.headers, origin);
        response = response
            .header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
            .header("Access-Control-Allow-Headers", REQUEST_HEADERS)
            .header("Access-Control-Max-Age", "86400");
    }
    response
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
    use httparse::Header;

    fn origins(list: &[&str]) -> AllowedOrigins {
        let list: Vec<_> = list.iter().map(|entry| (*entry).to_owned()).collect();
        AllowedOrigins::new(&list).unwrap()
    }

    fn with_head<T>(lines: &[(&str, &str)], then: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let mut all = vec![Header {
            name: "Host",
            value: b"own.example:8080",
        }];
        all.extend(lines.iter().map(|(name, value)| Header {
            name,
            value: value.as_bytes(),
        }));
        let headers = Headers::new(&all);
        then(&RequestHead {
            method: "POST",
            target: "/cometd",
            minor_version: 1,
            headers,
        })
    }

    #[test]
    fn origins_are_judged() {
        let some = origins(&["http://app.example", "https://b.example:8443"]);
        let table: [(&[&str], Verdict<'_>); 14] = [
            (&[], Verdict::Absent),
            (&[""], Verdict::Absent),
            (&["http://own.example:8080"], Verdict::Own),
            (&["https://OWN.example:8080"], Verdict::Own),
            (&["http://own.example"], Verdict::Foreign),
            (
                &["http://app.example"],
                Verdict::Allowed("http://app.example"),
            ),
            (
                &["https://b.example:8443"],
                Verdict::Allowed("https://b.example:8443"),
            ),
            (&["https://app.example"], Verdict::Foreign),
            (&["http://app.example.evil"], Verdict::Foreign),
            (&["http://evil.example"], Verdict::Foreign),
            (&["null"], Verdict::Foreign),
            (&["nonsense"], Verdict::Foreign),
            (
                &["http://app.example", "http://app.example"],
                Verdict::Foreign,
            ),
            (&["", ""], Verdict::Foreign),
        ];
        for (values, verdict) in table {
            let lines: Vec<_> = values.iter().map(|value| ("Origin", *value)).collect();
            with_head(&lines, |head| {
                assert_eq!(some.judge(head), verdict, "{values:?}")
            });
        }
    }

    #[test]
    fn a_star_allows_any_that_is_well_formed() {
        let any = origins(&["*"]);
        for (value, verdict) in [
            (
                "http://evil.example",
                Verdict::Allowed("http://evil.example"),
            ),
            ("null", Verdict::Allowed("null")),
            ("http://own.example:8080", Verdict::Own),
            ("x\u{1}y", Verdict::Foreign),
        ] {
            with_head(&[("Origin", value)], |head| {
                assert_eq!(any.judge(head), verdict)
            });
        }
        assert!(any.any() && !origins(&["http://a"]).any());
    }

    #[test]
    fn settings_that_are_no_origins_are_refused() {
        for entry in [
            "http://a/",
            "a.example",
            "null",
            "",
            "**",
            "http://*.example",
        ] {
            let list = ["http://ok".to_owned(), entry.to_owned()];
            assert_eq!(AllowedOrigins::new(&list), Err(entry.to_owned()));
        }
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

    #[test]
    fn the_preflight_permits_allowed_origins_only() {
        for verdict in [Verdict::Absent, Verdict::Own, Verdict::Foreign] {
            let response = preflight(verdict, "GET");
            assert_eq!(
                (response.status, &response.headers[..]),
                (204, &b"Allow: GET\r\n"[..])
            );
        }
        let response = preflight(Verdict::Allowed("http://a"), "GET");
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
}
