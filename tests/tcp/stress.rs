//! Many connections that do as they like, from a seed: what they send comes back whole, what others
//! send them arrives, and every one ends exactly once.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::tcp::reactor::{CloseReason, Config, Io, Reactor, Refuse, Service, Waker};
use bayeux::tcp::{ListenOptions, Listener};

use crate::common::rng::Rng;
use crate::common::wait::{PATIENCE, eventually, until_numbers};

/// Echoes, with all the hesitation that the interface allows.
struct Hesitant {
    random: Rng,
    waker: Waker,
    ends: Arc<AtomicUsize>,
}

impl Service for Hesitant {
    type Conn = u64;

    fn open(&mut self, io: &mut Io<'_>) -> Result<u64, Refuse> {
        Ok(io.key())
    }

    fn input(&mut self, key: &mut u64, io: &mut Io<'_>, input: &[u8]) -> usize {
        assert_eq!(*key, io.key());
        let n = match self.random.below(4) {
            0 => 1,
            1 => input.len(),
            _ => 1 + self.random.below(input.len()),
        };
        if io.write(&input[..n]).is_err() {
            // The peer does not read; go on when it does.
            io.pause_input();
            return 0;
        }
        match self.random.below(8) {
            0 => {
                io.pause_input();
                self.waker.wake(&[*key]);
            }
            1 => {
                io.pause_input();
                io.set_timer(Some(
                    io.now() + Duration::from_millis(self.random.below(4) as u64),
                ));
            }
            2 => {
                io.pause_input();
                io.resume_input();
            }
            _ if n < input.len() => io.offer_again(),
            _ => {}
        }
        n
    }

    fn end_of_input(&mut self, _key: &mut u64, io: &mut Io<'_>) {
        // What was read ahead must still be echoed.
        if io.unconsumed() == 0 {
            io.close_when_flushed();
        } else {
            io.resume_input();
            io.offer_again();
            io.set_timer(Some(io.now() + Duration::from_millis(1)));
        }
    }

    fn woken(&mut self, _key: &mut u64, io: &mut Io<'_>) {
        io.resume_input();
    }

    fn timer(&mut self, _key: &mut u64, io: &mut Io<'_>) {
        io.resume_input();
        if io.has_ended() {
            if io.unconsumed() == 0 {
                io.close_when_flushed();
            } else {
                io.offer_again();
                io.set_timer(Some(io.now() + Duration::from_millis(1)));
            }
        }
    }

    fn drained(&mut self, _key: &mut u64, io: &mut Io<'_>) {
        io.resume_input();
    }

    fn closed(&mut self, _key: u64, _reason: CloseReason) {
        self.ends.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends random bytes in random pieces, reads with random pauses, and leaves in a random way.
fn visit(address: SocketAddr, seed: u64) {
    let mut random = Rng::new(seed);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let magnitude = 1 + random.below(19);
    let total = 1 + random.below(1 << magnitude);
    let sent: Vec<u8> = (0..total).map(|_| random.below(256) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let to_send = sent.clone();
    let mut pieces = Rng::new(seed ^ 0x5555);
    let sender = std::thread::spawn(move || {
        let mut rest = to_send.as_slice();
        while !rest.is_empty() {
            let n = 1 + pieces.below(rest.len());
            if writer.write_all(&rest[..n]).is_err() {
                return;
            }
            rest = &rest[n..];
            if pieces.below(3) == 0 {
                std::thread::sleep(Duration::from_micros(pieces.below(2000) as u64));
            }
        }
    });
    let leave_early = random.below(4) == 0;
    let expected = if leave_early {
        random.below(total)
    } else {
        total
    };
    let mut received = vec![0; expected];
    stream
        .read_exact(&mut received)
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(received, sent[..expected], "seed {seed}");
    if leave_early {
        if random.below(2) == 0 {
            let socket = socket2::Socket::from(stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
        return sender.join().unwrap();
    }
    sender.join().unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(rest.is_empty(), "seed {seed}");
}

#[test]
fn echoes_are_whole_however_the_ends_behave() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let ends = Arc::new(AtomicUsize::new(0));
    let config = Config {
        threads: 2,
        write_buffer: 50_000,
        paused_input: 3000,
        linger: Duration::from_millis(200),
        ..Config::default()
    };
    let listener =
        Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    let reactor = Reactor::start(&config, vec![listener], |index, waker| Hesitant {
        random: Rng::new(seed * 77 + index as u64 + 1),
        waker,
        ends: Arc::clone(&ends),
    })
    .unwrap();
    let address = reactor.local_addrs()[0].inet().unwrap();
    for round in 0..6 {
        let first = seed * 1000 + round * 20 + 1;
        let visits: Vec<_> = (first..first + 20)
            .map(|seed| std::thread::spawn(move || visit(address, seed)))
            .collect();
        for visit in visits {
            visit.join().unwrap();
        }
    }
    until_numbers("all have gone", || reactor.stats(), |stats| stats.open == 0);
    let stats = reactor.stats();
    assert_eq!((stats.opened, stats.closed, stats.panics), (120, 120, 0));
    assert_eq!(ends.load(Ordering::Relaxed), 120);
}

/// What waits for each connection, by its key.
type Queues = Arc<Mutex<HashMap<u64, Vec<u8>>>>;

struct Outlet {
    queues: Queues,
}

impl Service for Outlet {
    type Conn = u64;

    fn open(&mut self, io: &mut Io<'_>) -> Result<u64, Refuse> {
        self.queues.lock().unwrap().insert(io.key(), Vec::new());
        Ok(io.key())
    }

    fn input(&mut self, _key: &mut u64, _io: &mut Io<'_>, input: &[u8]) -> usize {
        input.len()
    }

    fn woken(&mut self, key: &mut u64, io: &mut Io<'_>) {
        let waiting = std::mem::take(self.queues.lock().unwrap().get_mut(key).unwrap());
        io.write(&waiting).unwrap();
    }

    fn closed(&mut self, key: u64, _reason: CloseReason) {
        self.queues.lock().unwrap().remove(&key);
    }
}

#[test]
fn no_wake_is_lost() {
    const CONNECTIONS: usize = 40;
    const PUBLISHERS: usize = 3;
    const ROUNDS: usize = 500;
    let queues = Queues::default();
    let config = Config {
        threads: 1,
        write_buffer: 16 << 20,
        ..Config::default()
    };
    let listener =
        Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    let make = |_, _| Outlet {
        queues: Arc::clone(&queues),
    };
    let reactor = Reactor::start(&config, vec![listener], make).unwrap();
    let address = reactor.local_addrs()[0].inet().unwrap();
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    eventually("all are there", || {
        queues.lock().unwrap().len() == CONNECTIONS
    });
    let keys: Vec<u64> = queues.lock().unwrap().keys().copied().collect();
    let waker = reactor.wakers().next().unwrap();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (queues, waker, keys) = (Arc::clone(&queues), waker.clone(), keys.clone());
            std::thread::spawn(move || {
                for _ in 0..ROUNDS {
                    for key in &keys {
                        queues.lock().unwrap().get_mut(key).unwrap().push(b'.');
                    }
                    waker.wake(&keys);
                }
            })
        })
        .collect();
    for stream in &mut streams {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut all = [0; PUBLISHERS * ROUNDS];
        stream.read_exact(&mut all).unwrap();
        stream.set_nonblocking(true).unwrap();
        assert_eq!(
            stream.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
}
