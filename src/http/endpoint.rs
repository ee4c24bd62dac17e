//! The Bayeux endpoint's rules of admission: what is asked, by its head alone, before a byte of the
//! body is read.

use super::body_kind::BodyKind;
use super::config::{SiteConfig, SiteError};
use super::cors::{AllowedOrigins, CallbackPolling, Verdict};
use super::form;
use super::refusal::Refusal;
use super::request::RequestHead;
use super::script;
use super::streaming::{Offers, wants_events, wants_socket};
use crate::protocol::BatchLimits;

/// Where the endpoint is and what it takes.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Without a slash at its end: empty if every path is the endpoint's.
    mount: String,
    origins: AllowedOrigins,
    callback_polling: CallbackPolling,
    offers: Offers,
    pub(super) max_body: usize,
    pub(super) limits: BatchLimits,
}

/// What a request asks of the endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    /// To execute the messages of a body.
    Post {
        kind: BodyKind,
        verdict: Verdict<'a>,
    },
    /// To execute the messages of a query, and to answer with a script.
    Script {
        query: &'a str,
        callback: Box<str>,
        verdict: Verdict<'a>,
    },
    /// What it may ask.
    Options(Verdict<'a>),
    /// To make the connection a WebSocket.
    Socket(Verdict<'a>),
    /// To make the connection a session's stream of events.
    Events {
        client: &'a str,
        verdict: Verdict<'a>,
    },
}

impl<'a> Ask<'a> {
    pub(super) fn verdict(&self) -> Verdict<'a> {
        match self {
            Self::Post { verdict, .. }
            | Self::Script { verdict, .. }
            | Self::Options(verdict)
            | Self::Socket(verdict)
            | Self::Events { verdict, .. } => *verdict,
        }
    }
}

/// Why it is not admitted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied<'a> {
    pub(super) refusal: Refusal,
    pub(super) verdict: Verdict<'a>,
}

impl Endpoint {
    pub(super) fn new(config: &SiteConfig) -> Result<Self, SiteError> {
        let mount = config.mount.strip_suffix('/').unwrap_or(&config.mount);
        if !is_plain_path(mount) {
            return Err(SiteError::Mount(config.mount.clone()));
        }
        let origins =
            AllowedOrigins::new(&config.allowed_origins).map_err(SiteError::AllowedOrigin)?;
        Ok(Self {
            mount: mount.to_owned(),
            origins,
            callback_polling: config.callback_polling,
            offers: Offers::default(),
            max_body: config.max_body,
            limits: BatchLimits {
                messages: config.max_messages,
                depth: config.max_depth,
            },
        })
    }

    /// The same, which also takes connections over for what is offered.
    pub(super) fn offering(self, offers: Offers) -> Self {
        Self { offers, ..self }
    }

    /// The path of the endpoint.
    pub(super) fn mount(&self) -> &str {
        if self.mount.is_empty() {
            "/"
        } else {
            &self.mount
        }
    }

    /// Whether a path is the endpoint's: the mount itself, or below it.
    pub(super) fn covers(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&self.mount[..]);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether a request is for a file in spite of that: for the client's script, or for the map
    /// that a browser's developer tools look for beside each script.
    pub(super) fn is_file(&self, method: &str, path: &str) -> bool {
        let rest = path.strip_prefix(&self.mount[..]);
        matches!(method, "GET" | "HEAD") && matches!(rest, Some("/client.js" | "/client.js.map"))
    }

    /// Whether cookies are read and set.
    pub(super) fn uses_cookies(&self) -> bool {
        !self.origins.any()
    }

    /// The methods that are understood here.
    pub(super) fn allow(&self) -> &'static str {
        let streams = self.offers.sockets || self.offers.events;
        match self.callback_polling {
            CallbackPolling::Off if !streams => "POST, OPTIONS",
            _ => "GET, POST, OPTIONS",
        }
    }

    /// Whether a request carries Bayeux messages, or asks for a connection that does.
    pub(super) fn is_meant(head: &RequestHead<'_>, query: Option<&str>) -> bool {
        let script = || query.is_some_and(|query| form::has(query.as_bytes(), "message"));
        head.method == "GET" && (wants_socket(head) || wants_events(head) || script())
    }

    /// Judges a request to a path that the endpoint covers.
    pub(super) fn admit<'a>(
        &self,
        head: &RequestHead<'a>,
        path: &'a str,
        query: Option<&'a str>,
    ) -> Result<Ask<'a>, Denied<'a>> {
        let verdict = self.origins.judge(head);
        let ask = match (head.method, query) {
            ("POST", _) => Self::post(head, verdict),
            ("GET", _) if self.takes_over(head) && verdict == Verdict::Foreign => {
                Err(Refusal::Origin)
            }
            ("GET", _) if self.offers.sockets && wants_socket(head) => Ok(Ask::Socket(verdict)),
            ("GET", _) if self.takes_over(head) => {
                let client = path.strip_prefix(&self.mount[..]).unwrap_or_default();
                let client = client.trim_start_matches('/');
                Ok(Ask::Events { client, verdict })
            }
            ("GET", _) if wants_socket(head) || wants_events(head) => Err(Refusal::Transport),
            ("GET", Some(query)) => self.script(head, query, verdict),
            ("OPTIONS", _) => Ok(Ask::Options(verdict)),
            _ => Err(Refusal::Method),
        };
        ask.map_err(|refusal| Denied { refusal, verdict })
    }

    /// Whether a GET asks for what takes its connection over.
    pub(super) fn takes_over(&self, head: &RequestHead<'_>) -> bool {
        self.offers.sockets && wants_socket(head) || self.offers.events && wants_events(head)
    }

    fn post<'a>(head: &RequestHead<'a>, verdict: Verdict<'a>) -> Result<Ask<'a>, Refusal> {
        if verdict == Verdict::Foreign {
            return Err(Refusal::Origin);
        }
        let kind = BodyKind::of(&head.headers).ok_or(Refusal::MediaType)?;
        Ok(Ask::Post { kind, verdict })
    }

    fn script<'a>(
        &self,
        head: &RequestHead<'a>,
        query: &'a str,
        verdict: Verdict<'a>,
    ) -> Result<Ask<'a>, Refusal> {
        if !form::has(query.as_bytes(), "message") {
            return Err(Refusal::Method);
        }
        if self.callback_polling == CallbackPolling::Off {
            return Err(Refusal::Transport);
        }
        if self.callback_polling == CallbackPolling::Guarded {
            match verdict {
                Verdict::Foreign => return Err(Refusal::Origin),
                Verdict::Absent if !self.origins.shows_its_page(head) => {
                    return Err(Refusal::Page);
                }
                Verdict::Absent | Verdict::Own | Verdict::Allowed(_) => {}
            }
        }
        let named = form::values(query.as_bytes(), "jsonp").next();
        let name = named
            .as_deref()
            .unwrap_or(script::DEFAULT_CALLBACK.as_bytes());
        let callback = script::callback(name).ok_or(Refusal::Callback)?.into();
        Ok(Ask::Script {
            query,
            callback,
            verdict,
        })
    }
}

/// Empty, or slashes each with a name behind it that needs no escapes.
fn is_plain_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    let named =
        |name: &str| !name.is_empty() && name != "." && name != ".." && name.bytes().all(plain);
    path.is_empty()
        || path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::headers::Headers;
    use httparse::Header;

    fn endpoint(change: impl FnOnce(&mut SiteConfig)) -> Endpoint {
        let mut config = SiteConfig {
            allowed_origins: vec!["http://app.example".to_owned()],
            ..SiteConfig::default()
        };
        change(&mut config);
        Endpoint::new(&config).unwrap()
    }

    /// What the endpoint makes of a request, in short.
    fn outcome(endpoint: &Endpoint, method: &str, target: &str, lines: &[(&str, &str)]) -> String {
        let mut all = vec![Header {
            name: "Host",
            value: b"own.example",
        }];
        all.extend(lines.iter().map(|(name, value)| Header {
            name,
            value: value.as_bytes(),
        }));
        let head = RequestHead {
            method,
            target,
            minor_version: 1,
            headers: Headers::new(&all),
        };
        let target = head.target().unwrap();
        match endpoint.admit(&head, target.path, target.query) {
            Ok(Ask::Post { kind, verdict }) => format!("{kind:?} {verdict:?}"),
            Ok(Ask::Script {
                callback, verdict, ..
            }) => format!("{callback} {verdict:?}"),
            Ok(Ask::Options(verdict)) => format!("options {verdict:?}"),
            Ok(other) => panic!("{other:?} is not offered"),
            Err(Denied { refusal, .. }) => format!("{refusal:?}"),
        }
    }

    type Lines = &'static [(&'static str, &'static str)];

    const FOREIGN: (&str, &str) = ("Origin", "http://evil.example");
    const ALLOWED: (&str, &str) = ("Origin", "http://app.example");
    const OWN: (&str, &str) = ("Origin", "http://own.example");
    const OWN_PAGE: (&str, &str) = ("Referer", "http://own.example/page.html");
    const HTML: (&str, &str) = ("Content-Type", "text/html");
    const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
    const ECHOED: &str = "Allowed(\"http://app.example\")";

    #[test]
    fn heads_are_judged() {
        let endpoint = endpoint(|_| {});
        let table: [(&str, &str, Lines, &str); 22] = [
            ("POST", "/cometd", &[], "Json Absent"),
            ("POST", "/cometd?message=x", &[FORM], "Form Absent"),
            ("POST", "/cometd", &[OWN], "Json Own"),
            ("POST", "/cometd", &[ALLOWED], &format!("Json {ECHOED}")),
            ("POST", "/cometd", &[FOREIGN], "Origin"),
            ("POST", "/cometd", &[FOREIGN, HTML], "Origin"),
            ("POST", "/cometd", &[HTML], "MediaType"),
            ("GET", "/cometd", &[], "Method"),
            ("GET", "/cometd?jsonp=cb", &[OWN_PAGE], "Method"),
            ("GET", "/cometd?messages=[]", &[OWN_PAGE], "Method"),
            (
                "GET",
                "/cometd?message=[]",
                &[OWN_PAGE],
                "jsonpcallback Absent",
            ),
            (
                "GET",
                "/cometd?message=[]&jsonp=a.b",
                &[OWN_PAGE],
                "a.b Absent",
            ),
            (
                "GET",
                "/cometd?message=[]&jsonp=a(b)",
                &[OWN_PAGE],
                "Callback",
            ),
            ("GET", "/cometd?message=[]&jsonp=", &[OWN_PAGE], "Callback"),
            ("GET", "/cometd?message=[]&jsonp=a(b)", &[], "Page"),
            ("GET", "/cometd?message=[]", &[FOREIGN, OWN_PAGE], "Origin"),
            (
                "GET",
                "/cometd?message=[]&jsonp=c",
                &[ALLOWED],
                &format!("c {ECHOED}"),
            ),
            ("GET", "/cometd?message=[]&jsonp=c", &[OWN], "c Own"),
            ("OPTIONS", "/cometd", &[FOREIGN], "options Foreign"),
            (
                "OPTIONS",
                "/cometd",
                &[ALLOWED],
                &format!("options {ECHOED}"),
            ),
            ("HEAD", "/cometd?message=[]", &[OWN_PAGE], "Method"),
            ("post", "/cometd", &[], "Method"),
        ];
        for (method, target, lines, expected) in table {
            let found = outcome(&endpoint, method, target, lines);
            assert_eq!(found, expected, "{method} {target} {lines:?}");
        }
    }

    #[test]
    fn callback_polling_can_be_opened_and_closed() {
        let open = endpoint(|config| config.callback_polling = CallbackPolling::Open);
        let off = endpoint(|config| config.callback_polling = CallbackPolling::Off);
        let any = endpoint(|config| config.allowed_origins.push("*".to_owned()));
        let target = "/cometd?message=[]&jsonp=cb";
        assert_eq!(outcome(&open, "GET", target, &[]), "cb Absent");
        assert_eq!(outcome(&open, "GET", target, &[FOREIGN]), "cb Foreign");
        assert_eq!(
            outcome(&open, "GET", "/cometd?message=[]&jsonp=(", &[]),
            "Callback"
        );
        assert_eq!(outcome(&off, "GET", target, &[OWN_PAGE]), "Transport");
        assert_eq!(outcome(&any, "GET", target, &[]), "cb Absent");
        assert_eq!(
            (open.allow(), off.allow()),
            ("GET, POST, OPTIONS", "POST, OPTIONS")
        );
        assert!(open.uses_cookies() && !any.uses_cookies());
    }

    #[test]
    fn the_mount_covers_itself_and_what_is_below() {
        let table: [(&str, &[&str], &[&str]); 4] = [
            (
                "/cometd",
                &[
                    "/cometd",
                    "/cometd/",
                    "/cometd/handshake",
                    "/cometd/x/y",
                    "/cometd//",
                ],
                &[
                    "/",
                    "/cometdx.html",
                    "/comet",
                    "/Cometd",
                    "/x/cometd",
                    "//cometd",
                    "*",
                ],
            ),
            ("/cometd/", &["/cometd", "/cometd/x"], &["/"]),
            ("/a/b", &["/a/b", "/a/b/c"], &["/a", "/a/bc"]),
            ("/", &["/", "/x"], &["*"]),
        ];
        for (mount, inside, outside) in table {
            let endpoint = endpoint(|config| config.mount = mount.to_owned());
            for path in inside {
                assert!(endpoint.covers(path), "{mount} {path}");
            }
            for path in outside {
                assert!(!endpoint.covers(path), "{mount} {path}");
            }
        }
        assert_eq!(
            endpoint(|config| config.mount = "/".to_owned()).mount(),
            "/"
        );
        assert_eq!(endpoint(|_| {}).mount(), "/cometd");
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        for mount in [
            "cometd", "/a//b", "//", "/a?b", "/a%20b", "/a b", "/..", "/a/./b", "/\u{e9}",
        ] {
            let config = SiteConfig {
                mount: mount.to_owned(),
                ..SiteConfig::default()
            };
            let error = Endpoint::new(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("mount {mount:?}")), "{error}");
        }
        let allowed_origins = vec!["app.example".to_owned()];
        let config = SiteConfig {
            allowed_origins,
            ..SiteConfig::default()
        };
        let error = Endpoint::new(&config).unwrap_err().to_string();
        assert!(
            error.starts_with("allowed origin \"app.example\""),
            "{error}"
        );
    }
}
