//! Clients that reset their connection in the middle of everything, over and over.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;

use super::good::Good;
use super::priority::stand_back;
use super::program::Program;
use super::scale::{
    alone, few, handshake, is_full, lenient, metric, post, span, tell, tell_latencies, until,
};
use crate::common::rng::Rng;
use crate::common::websocket::{UPGRADE, frame};

const THREADS: usize = 8;
/// Clients at a time.
const CLIENTS: usize = 400;

#[test]
fn resets_in_the_middle_of_everything_leave_nothing_behind() {
    let _alone = alone();
    let program = Program::start(&["--max-interval=2s", "--timeout=2s"]);
    let good = Good::start(program.address, few(100));
    good.measured(span().min(Duration::from_secs(2)));
    let peace = good.measured(span());
    let before = ["sessions", "connections", "subscriptions"].map(|name| metric(&program, name));
    let mut resident = vec![program.resident()];
    let mut rounds = Vec::new();
    for round in 0..if is_full() { 3 } else { 1 } {
        let (resets, latencies) = storm(&program, &good, round);
        rounds.push((resets, latencies));
        until("nothing is left", lenient(Duration::from_secs(6)), || {
            let names = ["sessions", "connections", "subscriptions"];
            names.map(|name| metric(&program, name)) == before
        });
        resident.push(program.resident());
    }
    // The others go on: now and then one of theirs is queued.
    until("nothing is queued", lenient(Duration::from_secs(6)), || {
        metric(&program, "queued_messages") == 0.0
    });
    assert_eq!(good.stop(), Vec::<String>::new());
    for (resets, latencies) in &rounds {
        tell(&format!("\n== resets: {resets} connections"));
        tell_latencies("others", &peace, latencies);
        assert!(*resets > few(500) && latencies.p99_ms() < 1000.0);
    }
    let mib: Vec<f64> = resident
        .iter()
        .map(|bytes| bytes.round() / 1_048_576.0)
        .collect();
    tell(&format!(
        "   memory before and after each round: {mib:.1?} MiB"
    ));
    // What an allocator keeps for later does not grow again; what is lost does.
    if let [.., second, third] = resident[1..] {
        assert!(third < second * 1.1, "{mib:?}");
    }
}

fn storm(program: &Program, good: &Good, round: u64) -> (usize, super::good::Latencies) {
    let until = Instant::now() + span();
    std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|n| {
            scope.spawn(move || {
                stand_back(is_full());
                let seed = 1 + round * 1000 + n as u64;
                resetters(program.address, &mut Rng::new(seed), until)
            })
        });
        let threads: Vec<_> = threads.collect();
        let latencies = good.measured(span());
        let resets = threads
            .into_iter()
            .map(|thread| thread.join().expect("resets"));
        (resets.sum(), latencies)
    })
}

/// Keeps a number of clients going, each somewhere else in its life; how many were reset.
fn resetters(address: SocketAddr, dice: &mut Rng, until: Instant) -> usize {
    let each = few(CLIENTS).div_ceil(THREADS);
    let mut clients: Vec<Resetter> = (0..each).map(|_| Resetter::new(address, dice)).collect();
    let mut resets = 0;
    while Instant::now() < until {
        let at = dice.below(clients.len());
        if !clients[at].goes_on(dice) {
            clients[at] = Resetter::new(address, dice);
            resets += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    resets + clients.len()
}

/// A client that goes through some steps of its life and is cut in the middle of the last.
struct Resetter {
    stream: TcpStream,
    id: String,
    over_websocket: bool,
    steps_left: usize,
    steps_done: usize,
}

impl Resetter {
    fn new(address: SocketAddr, dice: &mut Rng) -> Self {
        let stream = TcpStream::connect(address).expect("the server accepts");
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        Self {
            stream,
            id: String::new(),
            over_websocket: dice.below(2) == 0,
            steps_left: dice.below(6),
            steps_done: 0,
        }
    }

    /// Takes a step, or a part of one as the last; dropped after that, it resets.
    fn goes_on(&mut self, dice: &mut Rng) -> bool {
        let bytes = self.step(dice);
        if self.steps_left == 0 {
            let part = dice.below(bytes.len() + 1);
            // The server may have closed before.
            let _ = self.stream.write_all(&bytes[..part]);
            if dice.below(2) == 0 {
                std::thread::sleep(Duration::from_millis(dice.below(4) as u64));
            }
            return false;
        }
        self.steps_left -= 1;
        self.steps_done += 1;
        self.stream.write_all(&bytes).is_ok() && (dice.below(4) == 0 || self.listen())
    }

    fn step(&self, dice: &mut Rng) -> Vec<u8> {
        if self.over_websocket && self.steps_done == 0 {
            return UPGRADE.into();
        }
        let id = &self.id;
        if id.is_empty() {
            return self.request(&json!({"channel": "/meta/handshake"}));
        }
        let large = "x".repeat(dice.below(50_000));
        match dice.below(8) {
            0 | 1 => self.request(
                &json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/storm"}),
            ),
            2 | 3 => self.request(&json!({"channel": "/meta/connect", "clientId": id})),
            4 if !self.over_websocket => {
                format!("GET /cometd/{id} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
                    .into()
            }
            5 if self.over_websocket => [
                frame(1, large.as_bytes()),
                frame(0x89, b"between"),
                frame(0, b"more"),
            ]
            .concat(),
            6 => handshake(),
            _ => self.request(&json!({"channel": "/storm", "clientId": id, "data": large})),
        }
    }

    fn request(&self, message: &serde_json::Value) -> Vec<u8> {
        if self.over_websocket {
            frame(0x81, json!([message]).to_string().as_bytes())
        } else {
            post(message)
        }
    }

    /// Reads once, whatever it may be.
    fn listen(&mut self) -> bool {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(n) => {
                let text = String::from_utf8_lossy(&piece[..n]);
                let id = text.split("\"clientId\":\"").nth(1);
                if let (Some(id), true) = (id, self.id.is_empty()) {
                    self.id = id.split('"').next().unwrap_or_default().to_owned();
                }
                n > 0
            }
            // Nothing to read, as on a connect that is held.
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}
