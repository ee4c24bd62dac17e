//! The access log: one line of JSON for each request, written by a thread of its own.
//!
//! What an I/O thread does for it is one push into a bounded queue. When the writer does not keep
//! up, lines are dropped and counted; nobody waits.
//!
//! Paths are logged without their queries, and paths of the endpoint without what could be a client
//! id, since both may hold credentials.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::date;
use super::proxies::Caller;
use super::request::RequestHead;
use crate::clock::Clock;
use crate::counters::Counter;
use crate::protocol::Shown;

/// Writes the lines. Dropping it writes what waits, for two seconds at the most: a writer may hang,
/// as the other end of a pipe does that is not read.
pub struct AccessLog {
    lines: Option<Sender<Line>>,
    writer: Option<JoinHandle<()>>,
    /// Closed when the writer has ended.
    ended: Receiver<()>,
    dropped: Counter,
}

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
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(writer: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = crossbeam_channel::bounded(QUEUE);
        let thread = Builder::new().name("bayeux-access".to_owned());
        let (end, ended) = crossbeam_channel::bounded(0);
        let writer = thread.spawn(move || {
            let _end: Sender<()> = end;
            write_all(&queue, writer);
        })?;
        Ok(Self {
            lines: Some(lines),
            writer: Some(writer),
            ended,
            dropped: Counter::default(),
        })
    }

    /// Lines that were dropped because the writer did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    fn add(&self, line: Line) {
        let Some(lines) = &self.lines else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = lines.try_send(line) {
            self.dropped.one();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.lines = None;
        if self.ended.recv_timeout(LAST) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the access log is not written to its end: its writer hangs");
            return;
        }
        if self
            .writer
            .take()
            .is_some_and(|writer| writer.join().is_err())
        {
            log::error!("the writer of the access log panicked");
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
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
                method: head.map(|head| head.method.into()),
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
            log.add(line);
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
    let end = (0..=PATH.min(shown.len()))
        .rev()
        .find(|at| shown.is_char_boundary(*at));
    shown[..end.unwrap_or(0)].into()
}

fn write_all(queue: &Receiver<Line>, mut writer: impl Write) {
    let mut out = Vec::new();
    let mut failing = false;
    while let Ok(line) = queue.recv() {
        line.write(&mut out);
        while out.len() < BUFFER {
            let Ok(line) = queue.try_recv() else { break };
            line.write(&mut out);
        }
        let written = writer.write_all(&out).and_then(|()| writer.flush());
        out.clear();
        match written {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                log::error!("the access log cannot be written: {error}");
            }
            Err(_) => {}
        }
    }
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
    /// Appends the line, as one object of JSON.
    fn write(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(&mut *out, self).expect("because its keys are text");
        out.push(b'\n');
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
/// How long the end of the log may take.
const LAST: Duration = Duration::from_secs(2);
/// Lines that wait for the writer at the most.
const QUEUE: usize = 16_384;
/// Bytes that are put together for one write.
const BUFFER: usize = 64 << 10;
/// What clients append to the endpoint's path by themselves is shorter.
const SECRET: usize = 20;
/// Bytes of a path that are logged at the most.
const PATH: usize = 1024;

#[cfg(test)]
mod tests {
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
        let log = Arc::new(AccessLog::start(written.clone()).unwrap());
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

    /// A writer that never returns stops nobody, and the lines it costs are counted.
    #[test]
    fn who_does_not_keep_up_loses_lines() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.recv().map_err(io::Error::other)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (go, stuck) = crossbeam_channel::bounded(0);
        let log = Arc::new(AccessLog::start(Stuck(stuck)).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let caller = Caller::direct([1, 2, 3, 4].into(), false);
        assert_eq!(log.dropped(), 0);
        // What the writer has taken is not known, but it takes one buffer at the most.
        for _ in 0..QUEUE * 2 {
            LogEntry::new(Some(Arc::clone(&log)), &clock, &caller, None, "").answered(400, 0);
        }
        assert!(
            log.dropped() > 0 && log.dropped() <= QUEUE as u64,
            "{}",
            log.dropped()
        );
        // Nor does it keep the log from ending.
        drop(log);
        drop(go);
    }
}
