//! Thousands of clients that take their time: for the head, for the body, for the response.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::good::{Good, Latencies};
use super::priority::stand_back;
use super::program::Program;
use super::scale::{alone, few, is_full, lenient, metric, span, tell, tell_latencies, until};

/// What the settings give each of them, and what may come on top.
const TIMEOUT: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(3);
/// Time between two bytes.
const PAUSE: Duration = Duration::from_millis(500);
/// Time between two looks at a connection, by which an end may be noticed late.
const LOOK: Duration = Duration::from_millis(50);
const THREADS: usize = 4;
/// More than the kernel takes for a peer that does not read.
const LARGE: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Head,
    Body,
    Reader,
}

/// What became of them.
#[derive(Default)]
struct Ends {
    count: usize,
    slowest: Duration,
    faults: Vec<String>,
}

#[test]
fn two_thousand_slow_peers_are_closed_in_time_and_disturb_nobody() {
    let _alone = alone();
    let pages = Pages::new();
    let count = few(2000);
    tell(&format!(
        "\n== slow loris: {count} slow heads, bodies and readers at a time"
    ));
    let program = pages.program();
    let good = Good::start(program.address, few(100));
    good.measured(span().min(Duration::from_secs(2)));
    let peace = good.measured(span());
    let before = metric(&program, "connections");
    // That much of it is the machine's: the same, with another server.
    let beside = is_full().then(|| abuse(pages.program().address, count, &good).0);
    let (abused, mut ends) = abuse(program.address, count, &good);
    until("they have gone", lenient(LIMIT), || {
        metric(&program, "connections") <= before
    });
    tell(&format!(
        "   {} were closed, the slowest after {:.2?}",
        ends.count, ends.slowest
    ));
    tell_latencies("others", &peace, &abused);
    if let Some(beside) = beside {
        tell_latencies("others, with the abuse of another server", &peace, &beside);
    }
    assert!(ends.count >= count, "{} of {count}", ends.count);
    ends.faults.extend(good.stop());
    assert_eq!(ends.faults, Vec::<String>::new());
    assert!(abused.p99_ms() < 1000.0, "{} ms", abused.p99_ms());
}

/// Lets so many loose for a while, each coming back when it is closed; what the others feel.
fn abuse(address: SocketAddr, count: usize, good: &Good) -> (Latencies, Ends) {
    let until = Instant::now() + span();
    std::thread::scope(|scope| {
        let each = count / THREADS;
        let threads = (0..THREADS).map(|n| {
            scope.spawn(move || {
                stand_back(is_full());
                crowd(address, n * each..(n + 1) * each, until)
            })
        });
        let threads: Vec<_> = threads.collect();
        let latencies = good.measured(span());
        let mut all = Ends::default();
        for thread in threads {
            let ends = thread.join().expect("the abusers themselves do not fail");
            all.count += ends.count;
            all.slowest = all.slowest.max(ends.slowest);
            all.faults.extend(ends.faults);
        }
        all.faults.truncate(10);
        (latencies, all)
    })
}

fn crowd(address: SocketAddr, range: std::ops::Range<usize>, until: Instant) -> Ends {
    let mut ends = Ends::default();
    let mut crowd: Vec<Loris> = Vec::new();
    for n in range {
        crowd.push(Loris::open(
            address,
            [Slow::Head, Slow::Body, Slow::Reader][n % 3],
        ));
        // They come one after the other, and so they do again when their time is up.
        std::thread::sleep(TIMEOUT * THREADS as u32 / 2000);
    }
    while !crowd.is_empty() {
        std::thread::sleep(LOOK);
        let over = Instant::now() > until;
        for mut loris in std::mem::take(&mut crowd) {
            let age = loris.since.elapsed();
            if !loris.is_closed() {
                if age < 2 * lenient(LIMIT) {
                    crowd.push(loris);
                } else {
                    ends.faults
                        .push(format!("slow {:?}: open after {age:?}", loris.slow));
                }
                continue;
            }
            ends.count += 1;
            ends.slowest = ends.slowest.max(age);
            if age < TIMEOUT - LOOK || age > lenient(LIMIT) {
                ends.faults
                    .push(format!("slow {:?}: closed after {age:?}", loris.slow));
            }
            if !over {
                crowd.push(Loris::open(address, loris.slow));
            }
        }
    }
    ends
}

struct Loris {
    stream: TcpStream,
    slow: Slow,
    since: Instant,
    said: Instant,
}

impl Loris {
    fn open(address: SocketAddr, slow: Slow) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server accepts");
        let begin = match slow {
            Slow::Head => "POST /cometd HTTP/1.1\r\nHost: x\r\nX: ",
            Slow::Body => "POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[",
            Slow::Reader => "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        if slow == Slow::Reader {
            let socket = socket2::SockRef::from(&stream);
            socket.set_recv_buffer_size(4096).unwrap();
        }
        stream.write_all(begin.as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let since = Instant::now();
        let said = since;
        Self {
            stream,
            slow,
            since,
            said,
        }
    }

    /// Looks whether it has been closed; if not, goes on a little.
    fn is_closed(&mut self) -> bool {
        if self.slow != Slow::Reader && self.read(&mut [0; 4096]) {
            return true;
        }
        // A reader that has been given up is told by a reset, before it has read everything.
        if !matches!(self.stream.take_error(), Ok(None)) {
            return true;
        }
        if self.said.elapsed() < PAUSE {
            return false;
        }
        self.said = Instant::now();
        match self.slow {
            Slow::Head | Slow::Body => self.stream.write_all(b" ").is_err(),
            Slow::Reader => self.read(&mut [0]),
        }
    }

    /// Reads once; whether that was the end.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        match self.stream.read(buffer) {
            Ok(n) => n == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }
}

/// A directory with one large file.
struct Pages(PathBuf);

impl Pages {
    fn new() -> Self {
        let name = format!("bayeux-faults-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("large"), vec![b'x'; LARGE]).unwrap();
        Self(directory)
    }

    /// A server of it that gives slow peers two seconds.
    fn program(&self) -> Program {
        let root = format!("--document-root={}", self.0.display());
        Program::start(&[
            &root,
            "--header-timeout=2s",
            "--body-timeout=2s",
            "--write-timeout=2s",
            "--timeout=2s",
        ])
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
