//! What the tests of this module share: a directory to serve, and a site to ask.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use httparse::Header;

use super::config::SiteConfig;
use super::format::Format;
use super::headers::Headers;
use super::request::{Request, RequestHead};
use super::response::Response;
use super::site::{Handled, Site};
use crate::broker::{Answer, Broker, BrokerConfig, Executed};
use crate::clock::ManualClock;
use crate::transport::{ConnectionHandle, WakeSink};

/// A directory of its own for one test, removed with everything in it.
pub(super) struct TempDir(PathBuf);

impl TempDir {
    pub(super) fn new() -> Self {
        let mut name = [0; 16];
        getrandom::fill(&mut name).unwrap();
        let name = format!("bayeux-test-{:032x}", u128::from_ne_bytes(name));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, with the directories above it.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Header lines of a request.
pub(super) type Lines<'a> = &'a [(&'a str, &'a str)];

/// A site with a broker whose time stands still.
pub(super) fn site(config: SiteConfig, broker: BrokerConfig) -> Site {
    let clock = Arc::new(ManualClock::new());
    let broker = BrokerConfig {
        workers: 1,
        ..broker
    };
    let broker = Broker::start_without_ticker(broker, clock.clone(), None).unwrap();
    // The tests name whom they like.
    let config = SiteConfig {
        listens_everywhere: true,
        ..config
    };
    Site::new(config, broker, clock).unwrap()
}

/// Runs with these headers, as a connector would have parsed them.
pub(super) fn with_headers<T>(lines: Lines<'_>, then: impl FnOnce(Headers<'_>) -> T) -> T {
    let parsed = lines.iter().map(|(name, value)| Header {
        name,
        value: value.as_bytes(),
    });
    then(Headers::new(&parsed.collect::<Vec<_>>()))
}

/// Runs with a head of `own.example`.
pub(super) fn with_head<T>(
    method: &str,
    target: &str,
    lines: Lines<'_>,
    then: impl FnOnce(RequestHead<'_>) -> T,
) -> T {
    let all = [&[("Host", "own.example")], lines].concat();
    with_headers(&all, |headers| {
        then(RequestHead {
            method,
            target,
            minor_version: 1,
            headers,
        })
    })
}

/// A connection that nobody wakes.
pub(super) fn connection() -> ConnectionHandle {
    struct Nobody;
    impl WakeSink for Nobody {
        fn wake(&self, _: &[u64]) {}
    }
    ConnectionHandle {
        sink: Arc::new(Nobody),
        key: 1,
    }
}

/// Gives a request to the site; a file is looked for at once.
pub(super) fn handle(
    site: &Site,
    method: &str,
    target: &str,
    lines: Lines<'_>,
    body: &[u8],
) -> Handled {
    let connection = connection();
    with_head(method, target, lines, |head| {
        let caller = site.caller(&head, IpAddr::V4(Ipv4Addr::LOCALHOST), false);
        let request = Request {
            head,
            body,
            caller: &caller,
        };
        match site.handle(site.route(&head, &caller), &request, &connection) {
            Handled::File(lookup) => Handled::Done(lookup.here(site)),
            other => other,
        }
    })
}

/// The answer that the broker gives at once, and its form.
pub(super) fn answered(handled: Handled) -> (Format, Answer) {
    match handled {
        Handled::Bayeux(format, Executed::Now(answer)) => (format, answer),
        Handled::Bayeux(_, Executed::Later(_)) => panic!("the answer is not there yet"),
        Handled::Done(response) => panic!("{response:?}"),
        Handled::Pending(_) | Handled::File(_) => panic!("a worker has it"),
        Handled::Socket(_) | Handled::Events(_) => panic!("it takes the connection over"),
    }
}

/// A response as text.
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) headers: String,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn of(response: &Response) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            status: response.status,
            headers: text(&response.headers),
            body: text(response.body.in_memory().unwrap()),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What a request is answered at once.
pub(super) fn ask(site: &Site, method: &str, target: &str, lines: Lines<'_>, body: &str) -> Seen {
    let response = match handle(site, method, target, lines, body.as_bytes()) {
        Handled::Done(response) => response,
        handled => {
            let (format, answer) = answered(handled);
            format.respond(&answer, site)
        }
    };
    Seen::of(&response)
}
