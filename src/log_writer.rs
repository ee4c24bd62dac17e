//! Lines that a thread of their own writes: who has one to say waits neither for a disk nor for the
//! other end of a pipe. The program's log and the access log are one of these each.
//!
//! What is said waits in a queue of a bounded number of bytes. A line for which there is no room is
//! dropped, one that cannot be written is lost; both are counted, and the log says how many they
//! were once there is room again.
//!
//! A line is written whole, or not at all: a part of one that the disk took is completed when it
//! takes more, and where that never happens its line is ended before the next one.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, park_timeout};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::counters::Counter;

/// Where to say lines. Clones share the queue and its thread, which lives until [`end`](Self::end).
#[derive(Clone)]
pub(crate) struct LogWriter(Arc<Shared>);

struct Shared {
    /// As the log calls it: `the access log`.
    name: &'static str,
    /// Most bytes that wait. As many more are being written at the most.
    bound: usize,
    state: Mutex<State>,
    /// There is something to do, or it has ended.
    changed: Condvar,
    dropped: Counter,
    held_back: Counter,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines that were dropped or lost and of which the log has not told.
    untold: u64,
    reopen: bool,
    stopping: bool,
    /// Nobody waits for the thread any more.
    abandoned: bool,
    ended: bool,
}

impl LogWriter {
    /// Lines are appended to a file, which [`reopen`](Self::reopen) opens anew.
    ///
    /// # Errors
    /// If it cannot be opened, or there is no thread to be had.
    pub(crate) fn to_file(name: &'static str, path: &Path, bound: usize) -> io::Result<Self> {
        let (file, rest) = open(path)?;
        let to = To::File(path.to_owned(), file);
        Self::start(name, bound, Output { to, rest })
    }

    /// # Errors
    /// If there is no thread to be had.
    pub(crate) fn to_stream(
        name: &'static str,
        stream: impl Write + Send + 'static,
        bound: usize,
    ) -> io::Result<Self> {
        let to = To::Stream(Box::new(stream));
        let rest = Vec::new();
        Self::start(name, bound, Output { to, rest })
    }

    fn start(name: &'static str, bound: usize, output: Output) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            name,
            bound,
            state: Mutex::new(State {
                // Never moved: whoever says a line does so under a lock.
                waiting: Vec::with_capacity(bound),
                ..State::default()
            }),
            changed: Condvar::new(),
            dropped: Counter::default(),
            held_back: Counter::default(),
        });
        let writer = Arc::clone(&shared);
        let thread = Builder::new().name("bayeux-log".to_owned());
        thread.spawn(move || {
            let writer = Ended(writer);
            writer.0.write_all(output);
        })?;
        Ok(Self(shared))
    }

    /// Says a line, the break at its end included. Waits for nothing.
    pub(crate) fn line(&self, line: &[u8]) {
        let mut state = self.0.state.lock();
        if state.ended || state.waiting.len() + line.len() > self.0.bound {
            state.untold += 1;
            return self.0.dropped.one();
        }
        let idle = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        drop(state);
        if idle {
            self.0.changed.notify_all();
        }
    }

    /// Opens its file again, as it has another name by now; what was said before goes to the old
    /// one. Does nothing to a stream.
    pub(crate) fn reopen(&self) {
        self.0.state.lock().reopen = true;
        self.0.changed.notify_all();
    }

    /// Has what was said written, and ends the thread. A write that hangs is given a second.
    pub(crate) fn end(&self) {
        let mut state = self.0.state.lock();
        state.stopping = true;
        self.0.changed.notify_all();
        let runs = |state: &mut State| !state.ended;
        let waited = self.0.changed.wait_while_for(&mut state, runs, LAST);
        state.abandoned = true;
        drop(state);
        if waited.timed_out() {
            log::warn!(
                "{} is not written to its end: its writer hangs",
                self.0.name
            );
        }
    }

    /// Lines that were not written: for want of room, or because of an error.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.get()
    }

    /// Lines that were never said, since there were too many like them.
    pub(crate) fn held_back(&self) -> &Counter {
        &self.0.held_back
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.0.state.lock().waiting.len() as u64
    }
}

impl fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogWriter").field(&self.0.name).finish()
    }
}

/// The thread, whichever way it ends.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    /// The thread's life.
    fn write_all(&self, mut output: Output) {
        let mut batch = Vec::with_capacity(self.bound);
        let mut failing = false;
        while let Some(reopen) = self.take(&mut batch) {
            // Now there is room, also for this.
            self.tell_of_losses(failing);
            match output.write(&batch, &|| self.state.lock().abandoned) {
                Ok(()) => {
                    self.tell_of_losses(!failing);
                    failing = false;
                }
                Err((lost, error)) => {
                    self.lose(lost);
                    if !failing {
                        log::error!("{} cannot be written: {error}", self.name);
                    }
                    failing = true;
                }
            }
            batch.clear();
            if reopen {
                self.reopen(&mut output);
            }
        }
    }

    /// Waits for something to do, and takes what waits; whether the file is to be opened again.
    /// `None`: the end.
    fn take(&self, batch: &mut Vec<u8>) -> Option<bool> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && !state.reopen && !state.stopping {
            self.changed.wait(&mut state);
        }
        mem::swap(&mut state.waiting, batch);
        let reopen = mem::take(&mut state.reopen);
        (reopen || !batch.is_empty()).then_some(reopen)
    }

    fn lose(&self, lines: u64) {
        self.state.lock().untold += lines;
        self.dropped.add(lines);
    }

    fn tell_of_losses(&self, not_now: bool) {
        if not_now {
            return;
        }
        let lost = mem::take(&mut self.state.lock().untold);
        if lost > 0 {
            log::warn!("{} has lost {lost} lines: it was not written", self.name);
        }
    }

    fn reopen(&self, output: &mut Output) {
        let To::File(path, _) = &output.to else {
            return;
        };
        let path = path.clone();
        match open(&path) {
            Ok((file, rest)) => {
                // What is left of a line is of no use in another file.
                self.lose(u64::from(output.rest.len() > 1));
                *output = Output {
                    to: To::File(path, file),
                    rest,
                };
                log::info!("{} was opened again", self.name);
            }
            Err(error) => log::error!("{} stays where it was: {error}", self.name),
        }
    }
}

/// What is written to.
struct Output {
    to: To,
    /// What comes before the next line: the rest of one of which a part was written, or no more
    /// than its end.
    rest: Vec<u8>,
}

enum To {
    File(PathBuf, File),
    Stream(Box<dyn Write + Send>),
}

/// Opens a file, and says what has to be written first: where its last line has no end, that.
fn open(path: &Path) -> io::Result<(File, Vec<u8>)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let unfinished = file.metadata().is_ok_and(|of| of.is_file()) && !ends_with_a_line(path);
    Ok((file, if unfinished { b"\n".into() } else { Vec::new() }))
}

/// A file that cannot be read, or is empty, is taken for one that does.
fn ends_with_a_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    last().map_or(true, |byte| byte == b'\n')
}

impl Output {
    /// Writes whole lines. The error says how many of them are lost.
    fn write(
        &mut self,
        lines: &[u8],
        abandoned: &dyn Fn() -> bool,
    ) -> Result<(), (u64, io::Error)> {
        let rest = mem::take(&mut self.rest);
        if let Err((written, error)) = self.to.write(&rest, abandoned) {
            self.rest = rest[written..].into();
            return Err((count(lines), error));
        }
        let mut left = lines;
        while !left.is_empty() {
            let piece = &left[..whole_lines(left)];
            if let Err((written, error)) = self.to.write(piece, abandoned) {
                left = &left[written..];
                if !piece[..written].is_empty() && !piece[..written].ends_with(b"\n") {
                    let (rest, after) = left.split_at(end_of_line(left));
                    (self.rest, left) = (rest.into(), after);
                }
                return Err((count(left), error));
            }
            left = &left[piece.len()..];
        }
        match &mut self.to {
            To::Stream(stream) => stream.flush().map_err(|error| (count(lines), error)),
            To::File(..) => Ok(()),
        }
    }
}

impl To {
    /// Writes all of it. The error says how much of it was written.
    fn write(
        &mut self,
        bytes: &[u8],
        abandoned: &dyn Fn() -> bool,
    ) -> Result<(), (usize, io::Error)> {
        let mut at = 0;
        while at < bytes.len() {
            let written = match self {
                Self::File(_, file) => file.write(&bytes[at..]),
                Self::Stream(stream) => stream.write(&bytes[at..]),
            };
            match written {
                Ok(0) => return Err((at, ErrorKind::WriteZero.into())),
                Ok(n) => at += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever shares a pipe may have set it so.
                Err(error) if error.kind() == ErrorKind::WouldBlock && !abandoned() => {
                    park_timeout(PAUSE);
                }
                Err(error) => return Err((at, error)),
            }
        }
        Ok(())
    }
}

/// Where as many lines as make one piece end; at least one.
fn whole_lines(lines: &[u8]) -> usize {
    let most = &lines[..lines.len().min(PIECE)];
    match most.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None => end_of_line(lines),
    }
}

fn end_of_line(lines: &[u8]) -> usize {
    let at = lines.iter().position(|byte| *byte == b'\n');
    at.map_or(lines.len(), |at| at + 1)
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Standard error, without the lock of the library: what hangs here holds up nobody else.
///
/// # Errors
/// If there is none, or too many files are open.
pub(crate) fn standard_error() -> io::Result<impl Write + Send + 'static> {
    own(io::stderr())
}

/// The same of standard output.
///
/// # Errors
/// As above.
pub(crate) fn standard_output() -> io::Result<impl Write + Send + 'static> {
    own(io::stdout())
}

#[cfg(unix)]
fn own(stream: impl std::os::fd::AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps)] // as on Unix
fn own<S>(stream: S) -> io::Result<S> {
    Ok(stream)
}

/// How long the end of a log may take.
const LAST: Duration = Duration::from_secs(1);
/// How long a pipe that is full, and says so, is left alone.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes of lines that are written at once. A pipe takes as many whole, or none, whoever else
/// writes to it: a process that ends leaves no half line there.
const PIECE: usize = 4096;

#[cfg(test)]
mod tests;
