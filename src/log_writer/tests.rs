//! A writer that hangs, fails in the middle of a line, or whose file is renamed.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

const BOUND: usize = 1024;

/// Takes so many bytes at a time, as it is told; `Err`: that error.
struct Told {
    turns: Arc<Mutex<VecDeque<Result<usize, ErrorKind>>>>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let turn = self.turns.lock().pop_front();
        let n = turn.unwrap_or(Ok(bytes.len()))?.min(bytes.len());
        self.taken.lock().extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What an output makes of these turns and batches, and what it says to each batch.
fn written(turns: &[Result<usize, ErrorKind>], batches: &[&str]) -> (String, Vec<Option<u64>>) {
    let taken = Arc::default();
    let told = Told {
        turns: Arc::new(Mutex::new(turns.iter().copied().collect())),
        taken: Arc::clone(&taken),
    };
    let mut output = Output {
        to: To::Stream(Box::new(told)),
        rest: Vec::new(),
    };
    let write = |batch: &&str| {
        let done = output.write(batch.as_bytes(), &|| false);
        done.err().map(|(lost, _)| lost)
    };
    let lost = batches.iter().map(write).collect();
    let text = String::from_utf8(taken.lock().clone()).unwrap();
    (text, lost)
}

#[test]
fn lines_are_whole_whatever_is_taken_of_them() {
    const FULL: Result<usize, ErrorKind> = Err(ErrorKind::StorageFull);
    type Row<'a> = (
        &'a [Result<usize, ErrorKind>],
        &'a [&'a str],
        &'a str,
        &'a [Option<u64>],
    );
    let table: [Row<'_>; 7] = [
        (&[], &["ab\n", "cd\n"], "ab\ncd\n", &[None, None]),
        // A few bytes at a time.
        (&[Ok(1), Ok(1)], &["ab\ncd\n"], "ab\ncd\n", &[None]),
        (
            &[Err(ErrorKind::Interrupted), Err(ErrorKind::WouldBlock)],
            &["ab\n"],
            "ab\n",
            &[None],
        ),
        // Nothing of it: all are lost.
        (&[FULL], &["ab\ncd\n", "ef\n"], "ef\n", &[Some(2), None]),
        // A line that was begun is completed later, and is not lost.
        (
            &[Ok(4), FULL],
            &["ab\ncd\nef\n", "gh\n"],
            "ab\ncd\ngh\n",
            &[Some(1), None],
        ),
        // Between two lines.
        (
            &[Ok(3), FULL],
            &["ab\ncd\n", "gh\n"],
            "ab\ngh\n",
            &[Some(1), None],
        ),
        // It takes three attempts.
        (
            &[Ok(1), FULL, Ok(1), FULL, Ok(1)],
            &["abc\n", "de\n", "fg\n"],
            "abc\nfg\n",
            &[Some(0), Some(1), None],
        ),
    ];
    for (turns, batches, text, lost) in table {
        let seen = written(turns, batches);
        assert_eq!(
            seen,
            (text.to_owned(), lost.to_vec()),
            "{turns:?} {batches:?}"
        );
    }
}

#[test]
fn pieces_are_whole_lines_that_a_pipe_takes_at_once() {
    let long = "x".repeat(PIECE + 7) + "\n";
    for (lines, piece) in [
        ("a\nb\n".to_owned(), 4),
        (long.clone() + "a\n", PIECE + 8),
        ("a\n".to_owned() + &long, 2),
        ("aaa\n".repeat(2000), PIECE),
        ("aaaa\n".repeat(2000), PIECE / 5 * 5),
    ] {
        assert_eq!(whole_lines(lines.as_bytes()), piece);
    }
}

/// Hangs until it is let go, and says when it does.
struct Stuck {
    entered: Sender<()>,
    go: Receiver<()>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.entered.send(()).map_err(io::Error::other)?;
        self.go.recv().map_err(io::Error::other)?;
        self.taken.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn who_says_a_line_never_waits_and_what_there_is_no_room_for_is_counted() {
    let (entered, enters) = channel();
    let (let_go, go) = channel();
    let taken: Arc<Mutex<Vec<u8>>> = Arc::default();
    let stuck = Stuck {
        entered,
        go,
        taken: Arc::clone(&taken),
    };
    let log = LogWriter::to_stream("a log", stuck, BOUND).unwrap();
    log.line(b"first\n");
    enters.recv().unwrap();
    for _ in 0..BOUND {
        log.line(b"12345678\n");
    }
    let room = BOUND / 9;
    assert_eq!(log.waiting(), room as u64 * 9);
    assert_eq!(log.dropped(), (BOUND - room) as u64);
    // Nor does it keep the log from ending, and what is said then is lost.
    log.end();
    assert_eq!(taken.lock().len(), 0);
    // Somebody reads again.
    for _ in 0..2 {
        let_go.send(()).unwrap();
    }
    log.end();
    assert_eq!(taken.lock().len(), 6 + room * 9);
    log.line(b"late\n");
    assert_eq!(log.dropped(), (BOUND - room + 1) as u64);
}

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let mut name = [0; 8];
        getrandom::fill(&mut name).unwrap();
        let name = format!("bayeux-log-{:x}", u64::from_ne_bytes(name));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_renamed_file_is_opened_again() {
    let folder = Folder::new();
    let (path, old) = (folder.0.join("log"), folder.0.join("old"));
    // Somebody crashed in the middle of a line.
    std::fs::write(&path, "crash").unwrap();
    let log = LogWriter::to_file("a log", &path, BOUND).unwrap();
    log.line(b"one\n");
    // Only what was written is sure to go to the old file.
    while folder.read("log").len() < 10 {
        park_timeout(Duration::from_millis(1));
    }
    std::fs::rename(&path, &old).unwrap();
    log.line(b"two\n");
    log.reopen();
    while !path.exists() {
        park_timeout(Duration::from_millis(1));
    }
    log.line(b"three\n");
    log.end();
    assert_eq!(folder.read("old"), "crash\none\ntwo\n");
    assert_eq!(folder.read("log"), "three\n");
    assert_eq!(log.dropped(), 0);
}

#[test]
fn a_file_that_cannot_be_opened_again_stays() {
    let folder = Folder::new();
    let inner = folder.0.join("inner");
    std::fs::create_dir(&inner).unwrap();
    let log = LogWriter::to_file("a log", &inner.join("log"), BOUND).unwrap();
    std::fs::rename(&inner, folder.0.join("other")).unwrap();
    log.reopen();
    log.line(b"one\n");
    log.end();
    assert_eq!(folder.read("other/log"), "one\n");
}

#[test]
fn a_writer_that_panics_costs_lines_only() {
    struct Panics;
    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("as it should")
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = LogWriter::to_stream("a log", Panics, BOUND).unwrap();
    log.line(b"one\n");
    log.end();
    log.line(b"two\n");
    assert_eq!(log.dropped(), 1);
}
