//! Answers every HTTP request with the same short page: what the reactor costs without a server on
//! top of it, to be measured with `wrk`.
//!
//! `cargo run --release --example tcp_stub_http -- 127.0.0.1:8080 2`: address, I/O threads.

use std::error::Error;
use std::time::Duration;

use bayeux::tcp::reactor::{Config, Io, Reactor, Refuse, Service};
use bayeux::tcp::{ListenOptions, Listener};

struct Stub {
    output: Vec<u8>,
}

impl Service for Stub {
    type Conn = ();

    fn open(&mut self, io: &mut Io<'_>) -> Result<(), Refuse> {
        io.set_timer(Some(io.now() + IDLE));
        Ok(())
    }

    fn input(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        let mut consumed = 0;
        while let Some(end) = find(&input[consumed..], b"\r\n\r\n") {
            consumed += end + 4;
            self.output.extend_from_slice(ANSWER);
        }
        if io.write(&self.output).is_err() {
            io.abort();
        }
        self.output.clear();
        io.set_timer(Some(io.now() + IDLE));
        consumed
    }

    fn timer(&mut self, _conn: &mut (), io: &mut Io<'_>) {
        io.close_when_flushed();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let mut config = Config {
        name: "stub".into(),
        ..Config::default()
    };
    if let Some(threads) = args.next() {
        config.threads = threads.parse()?;
    }
    let listeners = Listener::bind_all(&address, &ListenOptions::default())?;
    let reactor = Reactor::start(&config, listeners, |_, _| Stub { output: Vec::new() })?;
    println!("{} threads on {:?}", config.threads, reactor.local_addrs());
    loop {
        std::thread::sleep(Duration::from_secs(10));
        println!("{:?}", reactor.stats());
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

const IDLE: Duration = Duration::from_secs(60);
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n";
