//! Where the log goes, and how much of it.
//!
//! A server's log is written by a [`LogWriter`], so that nobody who logs waits for a disk or for
//! the reader of a pipe. Standard error belongs to it: what the server has to say there otherwise,
//! and panics, go the same way.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, LineWriter, Write};
use std::mem;
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use simplelog::{ConfigBuilder, WriteLogger};

use super::output::{Failure, printable, printable_lines};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::log_writer::{LogWriter, standard_error};

/// Installs a log writer for the whole traffic of a client, on standard error.
pub(super) fn show_everything() -> Result<(), Failure> {
    let format = ConfigBuilder::new()
        .set_time_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .add_filter_allow_str("bayeux")
        .build();
    WriteLogger::init(LevelFilter::Debug, format, LineWriter::new(io::stderr()))
        .map_err(|error| Failure::unable("log", error))
}

/// The log of a server. Dropping it writes what waits, for a second at the most.
pub(super) struct ServerLog {
    log: LogWriter,
    /// Standard error, which may be the log.
    console: LogWriter,
    /// Whether it is.
    same: bool,
    limited: Arc<Limited<Box<WriteLogger<Lines>>>>,
}

/// Installs the log of a server: times in UTC, one line for each record. From here on panics are
/// told there too.
pub(super) fn install(config: &Config) -> Result<ServerLog, Failure> {
    let unable = |error: io::Error| Failure::unable("log", error);
    let queue = config.log_queue;
    let console = standard_error().and_then(|to| LogWriter::to_stream("the log", to, queue));
    let console = console.map_err(unable)?;
    let log = match &config.log_file {
        None => console.clone(),
        Some(path) => LogWriter::to_file("the log", path, queue)
            .map_err(|error| Failure::unable(path.display(), error))?,
    };
    let format = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_time_level(LevelFilter::Error)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Debug)
        .set_location_level(LevelFilter::Off)
        .build();
    let lines = Lines {
        log: log.clone(),
        line: Vec::new(),
    };
    let limited = Arc::new(Limited {
        log: WriteLogger::new(config.log_level, format, lines),
        writer: log.clone(),
        clock: Arc::new(SystemClock),
        places: Mutex::default(),
    });
    let logger = Box::new(Arc::clone(&limited));
    log::set_boxed_logger(logger).map_err(|error| Failure::unable("log", error))?;
    log::set_max_level(config.log_level);
    panic::set_hook(Box::new(tell_of_a_panic));
    Ok(ServerLog {
        same: config.log_file.is_none(),
        log,
        console,
        limited,
    })
}

impl ServerLog {
    /// A line for whoever started the server, and for whoever reads the log later.
    pub(super) fn say(&self, line: impl Display) {
        let text = format!("{}\n", printable_lines(&line.to_string()));
        self.console.line(text.as_bytes());
        if !self.same {
            log::info!("{line}");
        }
    }

    /// To be called now and then.
    pub(super) fn tick(&self) {
        self.limited.tick();
    }

    /// Opens its file again.
    pub(super) fn reopen(&self) {
        self.log.reopen();
    }

    /// For the numbers of the server.
    pub(super) fn writer(&self) -> LogWriter {
        self.log.clone()
    }
}

impl Drop for ServerLog {
    fn drop(&mut self) {
        self.limited.flush();
        self.log.end();
        if !self.same {
            self.console.end();
        }
    }
}

/// Otherwise the library would write it to standard error itself, from the thread that panics.
fn tell_of_a_panic(panic: &PanicHookInfo<'_>) {
    let current = thread::current();
    let name = current.name().unwrap_or("(no name)");
    let place = panic
        .location()
        .map_or_else(String::new, |at| format!(" at {at}"));
    log::error!(
        "thread {name} panicked{place}: {}",
        text_of(panic.payload())
    );
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        for line in trace.to_string().lines() {
            log::error!("{line}");
        }
    }
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("(no text)")
}

/// Hands what the logger writes over, line by line.
struct Lines {
    log: LogWriter,
    line: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        // A record has no other line breaks than that at its end.
        if bytes.ends_with(b"\n") {
            self.log.line(&self.line);
            self.line.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A logger that holds back what one place of the program says too often. What somebody has asked
/// for, `debug` and `trace`, is not limited.
struct Limited<L> {
    log: L,
    writer: LogWriter,
    clock: Arc<dyn Clock>,
    places: Mutex<Places>,
}

/// Who says something: the file and the line.
type Place = (Option<&'static str>, Option<u32>);

/// What each place has said in the present second.
#[derive(Default)]
struct Places {
    since: Option<Instant>,
    said: HashMap<Place, Said>,
}

struct Said {
    lines: u32,
    held_back: u64,
    level: Level,
    /// The last line before that.
    such: String,
}

impl Places {
    /// What was said in a second that is over.
    fn over(&mut self, now: Instant) -> HashMap<Place, Said> {
        let begun = *self.since.get_or_insert(now);
        if now.saturating_duration_since(begun) < SECOND {
            return HashMap::new();
        }
        self.since = Some(now);
        mem::take(&mut self.said)
    }

    /// Counts a line; how many the place has said with it, unless those were too many.
    fn pass(&mut self, place: Place, level: Level) -> Option<u32> {
        let said = self.said.entry(place).or_insert_with(|| Said {
            lines: 0,
            held_back: 0,
            level,
            such: String::new(),
        });
        if said.lines == LINES {
            said.held_back += 1;
            return None;
        }
        said.lines += 1;
        Some(said.lines)
    }
}

impl<L: Log> Limited<L> {
    /// Says what was held back in a second that is over.
    fn tick(&self) {
        let over = self.places.lock().over(self.clock.now());
        self.tell(over);
    }

    fn tell(&self, over: HashMap<Place, Said>) {
        for said in over.into_values().filter(|said| said.held_back > 0) {
            let (n, such) = (said.held_back, said.such);
            let line = format_args!("{n} more lines like \"{such}\" were held back");
            let mut record = Record::builder();
            let record = record.level(said.level).target(module_path!());
            self.log.log(&record.args(line).build());
        }
    }
}

impl<L: Log> Log for Limited<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.log.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (place, level) = ((record.file_static(), record.line()), record.level());
        let mut lines = 0;
        if level <= Level::Info {
            self.tick();
            match self.places.lock().pass(place, level) {
                Some(said) => lines = said,
                None => return self.writer.held_back().one(),
            }
        }
        // Made here, as the logger has a lock while it writes, and what makes it may be anybody's.
        let text = record.args().to_string();
        let text = printable(&text);
        if lines == LINES {
            if let Some(said) = self.places.lock().said.get_mut(&place) {
                said.such = text.chars().take(SUCH).collect();
            }
        }
        let mut line = Record::builder();
        let line = line.level(level).target(record.target());
        self.log.log(&line.args(format_args!("{text}")).build());
    }

    /// Says all that was held back, as nothing else will be said.
    fn flush(&self) {
        let over = mem::take(&mut self.places.lock().said);
        self.tell(over);
    }
}

/// Lines that a place may say in a second.
const LINES: u32 = 50;
const SECOND: Duration = Duration::from_secs(1);
/// Characters of a line that are shown of those that are held back.
const SUCH: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Log for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.level() <= Level::Debug
        }

        fn log(&self, record: &Record<'_>) {
            let line = format!("{} {}", record.level(), record.args());
            self.0.lock().push(line);
        }

        fn flush(&self) {}
    }

    fn limited() -> (Limited<Kept>, ManualClock) {
        let clock = ManualClock::new();
        let limited = Limited {
            log: Kept::default(),
            writer: LogWriter::to_stream("a log", io::sink(), 1024).unwrap(),
            clock: Arc::new(clock.clone()),
            places: Mutex::default(),
        };
        (limited, clock)
    }

    fn say(limited: &Limited<Kept>, level: Level, line: u32, text: &str) {
        let mut record = Record::builder();
        let record = record
            .file_static(Some("x.rs"))
            .line(Some(line))
            .level(level);
        limited.log(&record.args(format_args!("{text}")).build());
    }

    fn taken(limited: &Limited<Kept>) -> Vec<String> {
        mem::take(&mut limited.log.0.lock())
    }

    #[test]
    fn a_place_says_so_much_a_second_and_then_how_much_more_there_was() {
        let (limited, clock) = limited();
        for n in 0..80 {
            say(&limited, Level::Warn, 1, &format!("failed {n}"));
        }
        // The others are not concerned.
        say(&limited, Level::Info, 2, "all is well");
        let lines = taken(&limited);
        assert_eq!(lines.len(), LINES as usize + 1);
        assert_eq!(
            lines[LINES as usize - 1..],
            ["WARN failed 49", "INFO all is well"]
        );
        assert_eq!(limited.writer.held_back().get(), 30);
        limited.tick();
        assert!(taken(&limited).is_empty());
        clock.advance(SECOND);
        let told = "WARN 30 more lines like \"failed 49\" were held back";
        say(&limited, Level::Info, 2, "still");
        assert_eq!(taken(&limited), [told, "INFO still"]);
        // In each second anew, and without a further line too.
        for n in 0..80 {
            say(&limited, Level::Warn, 1, &format!("failed {n}"));
        }
        clock.advance(SECOND);
        limited.tick();
        assert_eq!(taken(&limited)[LINES as usize..], [told]);
        for n in 0..80 {
            say(&limited, Level::Warn, 1, &format!("failed {n}"));
        }
        limited.flush();
        limited.flush();
        assert_eq!(taken(&limited)[LINES as usize..], [told]);
    }

    #[test]
    fn what_was_asked_for_is_not_limited() {
        let (limited, _) = limited();
        for _ in 0..80 {
            say(&limited, Level::Debug, 1, "a message");
            say(&limited, Level::Trace, 1, "a message");
        }
        assert_eq!(taken(&limited).len(), 80);
    }

    #[test]
    fn a_record_is_one_line_that_commands_no_terminal() {
        let (limited, _) = limited();
        say(
            &limited,
            Level::Info,
            1,
            "a\r\n[ERROR] b\u{1b}[2J\u{2028}\u{202e}",
        );
        let line = "INFO a\\r\\n[ERROR] b\\u{1b}[2J\\u{2028}\\u{202e}";
        assert_eq!(taken(&limited), [line]);
        let log = LogWriter::to_stream("a log", io::sink(), 1024).unwrap();
        let line = Vec::new();
        let mut lines = Lines { log, line };
        for part in ["[INFO] ", "a\\n", "\n"] {
            lines.write_all(part.as_bytes()).unwrap();
        }
        assert!(lines.line.is_empty());
    }
}
