//! The access log: one line of JSON for each request, which a [`LogWriter`] writes.
//!
//! Paths are logged without their queries, and paths of the endpoint without what could be a client
//! id, since both may hold credentials.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::date;
use super::proxies::Caller;
use super::request::RequestHead;
use crate::clock::Clock;
use crate::log_writer::LogWriter;
use crate::protocol::Shown;

/// Writes the lines. Dropping it writes what waits, for a second at the most: a writer may hang, as
/// the other end of a pipe does that is not read.
#[derive(Debug)]
pub struct AccessLog(LogWriter);

/// What one line says.
struct Line {
    time: SystemTime,
    client: IpAddr,
    peer: IpAddr,
    /// These three are missing of a request that could not be read.
    method: Option<Box<str>>,
    path: Option<Box<str>>,
    version: Option<&'static str>,
    /// Missing if there was no answer.
    status: Option<u16>,
    bytes: u64,
    ms: f64,
}

/// A request that has come and is to be logged when it has been answered. Dropped without an
/// answer it is logged as such: its peer has gone.
pub struct LogEntry {
    /// Missing where only the program's log at the level `debug` wants to know.
    log: Option<Arc<AccessLog>>,
    clock: Arc<dyn Clock>,
    at: Instant,
    line: Option<Line>,
}

impl AccessLog {
    /// Lines go to a stream; at most so many bytes of them wait for it.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn to_stream(stream: impl Write + Send + 'static, queue: usize) -> io::Result<Self> {
        LogWriter::to_stream(NAME, stream, queue).map(Self)
    }

    /// Lines are appended to a file.
    ///
    /// # Errors
    /// If it cannot be opened, or there is no thread to be had.
    pub fn to_file(path: &Path, queue: usize) -> io::Result<Self> {
        LogWriter::to_file(NAME, path, queue).map(Self)
    }

    /// Opens its file again, as it has another name by now.
    pub fn reopen(&self) {
        self.0.reopen();
    }

    /// Lines that were not written: the writer did not keep up, or could not.
    pub fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// Bytes that wait for the writer.
    pub fn waiting(&self) -> u64 {
        self.0.waiting()
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl LogEntry {
    /// `head` is missing where none could be read; `mount` is the endpoint's path.
    pub(super) fn new(
        log: Option<Arc<AccessLog>>,
        clock: &Arc<dyn Clock>,
        caller: &Caller,
        head: Option<&RequestHead<'_>>,
        mount: &str,
    ) -> Self {
        let path = head
            .and_then(RequestHead::target)
            .map_or("", |target| target.path);
        Self {
            log,
            clock: Arc::clone(clock),
            at: clock.now(),
            line: Some(Line {
                time: clock.wall(),
                client: caller.ip,
                peer: caller.peer,
                method: head.map(|head| cut(head.method, METHOD).into()),
                path: head.map(|_| shown(path, mount)),
                version: head.map(|head| ["1.0", "1.1"][usize::from(head.minor_version.min(1))]),
                status: None,
                bytes: 0,
                ms: 0.0,
            }),
        }
    }

    /// It is being answered, with so many bytes, head included.
    pub fn answered(mut self, status: u16, bytes: u64) {
        self.log(Some(status), bytes);
    }

    fn log(&mut self, status: Option<u16>, bytes: u64) {
        let Some(line) = self.line.take() else {
            return;
        };
        let line = Line {
            time: self.clock.wall(),
            status,
            bytes,
            ms: (self.clock.now() - self.at).as_micros() as f64 / 1000.0,
            ..line
        };
        log::debug!("{line}");
        if let Some(log) = &self.log {
            log.0.line(&line.json());
        }
    }
}

impl Drop for LogEntry {
    fn drop(&mut self) {
        self.log(None, 0);
    }
}

/// The path, without what could be a client id where clients put theirs, or elsewhere looks like
/// one.
pub(super) fn shown(path: &str, mount: &str) -> Box<str> {
    // The root's own slash is the one that names begin behind.
    let mount = mount.strip_suffix('/').unwrap_or(mount);
    let below = path
        .strip_prefix(mount)
        .and_then(|rest| rest.strip_prefix('/'));
    let secret = below.is_some_and(|rest| match mount {
        // Files have names with a dot.
        "" => rest
            .split('/')
            .any(|name| name.len() >= SECRET && !name.contains('.')),
        _ => rest.len() >= SECRET,
    });
    let shown = match secret {
        true => format!("{mount}/*"),
        false => Shown(path).to_string(),
    };
    cut(&shown, PATH).into()
}

/// As many whole characters as fit.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev();
    let mut end = end.filter(|at| text.is_char_boundary(*at));
    &text[..end.next().unwrap_or(0)]
}

/// Without the derive macro, which the library does without.
impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &Stamp(self.time).to_string())?;
        map.serialize_entry("client", &self.client)?;
        map.serialize_entry("peer", &self.peer)?;
        map.serialize_entry("method", &self.method)?;
        map.serialize_entry("path", &self.path)?;
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("status", &self.status)?;
        map.serialize_entry("bytes", &self.bytes)?;
        map.serialize_entry("ms", &self.ms)?;
        map.end()
    }
}

impl Line {
    /// The line, as one object of JSON.
    fn json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        serde_json::to_writer(&mut out, self).expect("because its keys are text");
        out.push(b'\n');
        out
    }
}

/// For the program's log, which has the time already.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request from {}: ", self.client)?;
        match (&self.method, &self.path) {
            (Some(method), Some(path)) => write!(f, "{} {path}", method.escape_debug())?,
            _ => f.write_str("unreadable")?,
        }
        let (ms, bytes) = (self.ms as u64, self.bytes);
        match self.status {
            Some(status) => write!(f, ", {status}, {bytes} bytes, {ms} ms"),
            None => write!(f, ", gone without an answer, {ms} ms"),
        }
    }
}

/// A time as RFC 3339 has it, in UTC with milliseconds.
struct Stamp(SystemTime);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Such as `Thu, 01 Jan 1970 00:00:00 GMT`.
        let date = date::format(self.0);
        let (day, month, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
        let month = MONTHS.iter().position(|name| *name == month);
        let month = 1 + month.unwrap_or_default();
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = since.subsec_millis();
        write!(f, "{year}-{month:02}-{day}T{time}.{millis:03}Z")
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// As the log calls it.
const NAME: &str = "the access log";
/// What clients append to the endpoint's path by themselves is shorter.
const SECRET: usize = 20;
/// Bytes of a path that are logged at the most.
const PATH: usize = 1024;
/// The same of a method.
const METHOD: usize = 32;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;
    use crate::clock::ManualClock;
    use crate::http::testing::with_head;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_could_be_a_client_id_is_not_shown() {
        let id = "0123456789abcdefghij";
        for (mount, path, expected) in [
            ("/cometd", format!("/cometd/{id}"), "/cometd/*"),
            ("/cometd", format!("/cometd//{id}"), "/cometd/*"),
            (
                "/cometd",
                "/cometd/handshake".to_owned(),
                "/cometd/handshake",
            ),
            (
                "/cometd",
                format!("/page/{}", &id[10..]),
                "/page/abcdefghij",
            ),
            ("/", format!("/{id}"), "/*"),
            ("/", format!("//{id}"), "/*"),
            ("/", "/connect".to_owned(), "/connect"),
            ("/", format!("/js/{id}.js"), "/js/0123456789abcdefghij.js"),
            ("/", format!("/js.old/{id}"), "/*"),
            (
                "/",
                "/doc/install/first/steps".to_owned(),
                "/doc/install/first/steps",
            ),
        ] {
            assert_eq!(&*shown(&path, mount), expected, "{mount} {path}");
        }
    }

    #[test]
    fn a_line_says_who_asked_for_what_and_what_became_of_it() {
        let (written, clock) = (Shared::default(), ManualClock::new());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let log = Arc::new(AccessLog::to_stream(written.clone(), 1 << 20).unwrap());
        let mut caller = Caller::direct([127, 0, 0, 1].into(), false);
        caller.ip = [1, 2, 3, 4].into();
        let asked = |method: &str, target: &str| {
            with_head(method, target, &[], |head| {
                LogEntry::new(
                    Some(Arc::clone(&log)),
                    &shared,
                    &caller,
                    Some(&head),
                    "/cometd",
                )
            })
        };
        let first = asked("GET", "/a\"\u{e9}?secret=1");
        clock.advance(Duration::from_micros(1_500));
        first.answered(200, 77);
        let id = "0123456789abcdefghijklmnop";
        asked("GET", &format!("/cometd/{id}")).answered(404, 1);
        asked("POST", "/cometd/handshake").answered(200, 2);
        drop(asked("POST", "/cometd"));
        LogEntry::new(Some(Arc::clone(&log)), &shared, &caller, None, "/cometd").answered(400, 3);
        drop(log);
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let column = |name: &str| -> Vec<String> {
            lines.iter().map(|line| line[name].to_string()).collect()
        };
        let paths = [
            "\"/a\\\"\u{e9}\"",
            "\"/cometd/*\"",
            "\"/cometd/handshake\"",
            "\"/cometd\"",
            "null",
        ];
        assert_eq!(column("path"), paths);
        assert_eq!(column("status"), ["200", "404", "200", "null", "400"]);
        assert_eq!(column("bytes"), ["77", "1", "2", "0", "3"]);
        assert_eq!(column("ms")[..2], ["1.5", "0.0"]);
        assert_eq!(column("client")[0], "\"1.2.3.4\"");
        assert_eq!(column("peer")[0], "\"127.0.0.1\"");
        assert!(!text.contains("secret") && !text.contains(id));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Stamp(time).to_string(), text);
        }
    }

    /// However long what a client sends: a line is short.
    #[test]
    fn a_line_has_a_bound() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let caller = Caller::direct([1, 2, 3, 4].into(), false);
        let long = "M".repeat(5000);
        let mut entry = with_head(&long, &format!("/{long}"), &[], |head| {
            LogEntry::new(None, &clock, &caller, Some(&head), "/cometd")
        });
        let line = entry.line.take().unwrap();
        assert_eq!(line.method.as_deref(), Some(&long[..METHOD]));
        assert!(line.json().len() < 1500);
    }
}
