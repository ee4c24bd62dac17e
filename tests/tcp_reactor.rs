//! The reactor on real sockets: reading, writing, limits, timers, closing, stopping.

#![allow(clippy::unwrap_used)] // in helpers too

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use bayeux::tcp::reactor::{
    CloseReason, Config, Io, Reactor, Refuse, Service, Turn, Waker, WriteError,
};
use bayeux::tcp::{Address, ListenOptions, Listener};
use socket2::Socket;

/// What a [`Probe`] reports to its test.
#[derive(Debug, PartialEq)]
enum Seen {
    Opened(u64),
    End(usize),
    Woken,
    Timer,
    Drained,
    Stopping,
    Closed(CloseReason),
}

/// A line-driven service: each line is a command.
struct Probe {
    seen: Sender<Seen>,
    dirty: Vec<u64>,
    waker: Waker,
}

impl Probe {
    fn command(&mut self, line: &str, io: &mut Io<'_>) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "echo" => io.write(format!("{rest}\n").as_bytes()).unwrap(),
            "close" => {
                io.write(b"bye\n").unwrap();
                io.close_when_flushed();
            }
            "abort" => io.abort(),
            "panic" => panic!("as the test wants it"),
            "pause" => io.pause_input(),
            "yield" => io.offer_again(),
            "timer" => {
                let after = Duration::from_millis(rest.parse().unwrap());
                io.set_timer(Some(io.now() + after));
            }
            "finish" => io.shutdown_write(),
            "later" => self.dirty.push(io.key()),
            "wake" => self.waker.wake(&[io.key(), io.key()]),
            "fill" => {
                let piece = vec![b'x'; 64 << 10];
                let error = loop {
                    if let Err(error) = io.write(&piece) {
                        break error;
                    }
                };
                assert!(matches!(error, WriteError::Full { .. }));
                assert!(io.pending_write() <= 1 << 20);
            }
            "send" => io.write(&vec![b'y'; rest.parse().unwrap()]).unwrap(),
            other => panic!("unknown command {other}"),
        }
    }
}

impl Service for Probe {
    type Conn = ();

    fn open(&mut self, io: &mut Io<'_>) -> Result<(), Refuse> {
        let _ = self.seen.send(Seen::Opened(io.key()));
        Ok(())
    }

    fn input(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        let mut consumed = 0;
        while let Some(end) = input[consumed..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(input[consumed..consumed + end].to_vec()).unwrap();
            consumed += end + 1;
            self.command(&line, io);
            if io.is_input_paused() || io.is_closing() || line == "yield" {
                break;
            }
        }
        consumed
    }

    fn end_of_input(&mut self, _conn: &mut (), io: &mut Io<'_>) {
        let _ = self.seen.send(Seen::End(io.unconsumed()));
        io.close_when_flushed();
    }

    fn woken(&mut self, _conn: &mut (), io: &mut Io<'_>) {
        let _ = self.seen.send(Seen::Woken);
        io.resume_input();
    }

    fn timer(&mut self, _conn: &mut (), _io: &mut Io<'_>) {
        let _ = self.seen.send(Seen::Timer);
    }

    fn drained(&mut self, _conn: &mut (), _io: &mut Io<'_>) {
        let _ = self.seen.send(Seen::Drained);
    }

    fn stopping(&mut self, _conn: &mut (), io: &mut Io<'_>) {
        let _ = self.seen.send(Seen::Stopping);
        if io.bytes_in() == 0 {
            io.close_when_flushed();
        }
    }

    fn closed(&mut self, _conn: (), reason: CloseReason) {
        let _ = self.seen.send(Seen::Closed(reason));
    }

    fn turn_ended(&mut self, turn: &mut Turn<'_, ()>) {
        for key in self.dirty.drain(..) {
            turn.with(key, |_conn, io| io.write(b"later\n").unwrap());
        }
    }
}

struct World {
    reactor: Reactor,
    seen: Receiver<Seen>,
    address: SocketAddr,
}

impl World {
    fn new(adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            threads: 1,
            ..Config::default()
        };
        adjust(&mut config);
        let (seen, receiver) = mpsc::channel();
        let listener = Listener::bind(&local(), &ListenOptions::default()).unwrap();
        let reactor = Reactor::start(&config, vec![listener], |_, waker| Probe {
            seen: seen.clone(),
            dirty: Vec::new(),
            waker,
        })
        .unwrap();
        let address = reactor.local_addrs()[0].inet().unwrap();
        Self {
            reactor,
            seen: receiver,
            address,
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    fn opened(&self) -> u64 {
        match self.next() {
            Seen::Opened(key) => key,
            other => panic!("{other:?}"),
        }
    }

    fn wait_for(&self, what: &str, mut condition: impl FnMut(&Reactor) -> bool) {
        let start = Instant::now();
        while !condition(&self.reactor) {
            assert!(
                start.elapsed() < PATIENCE,
                "{what}: {:?}",
                self.reactor.stats()
            );
            std::thread::yield_now();
        }
    }
}

fn local() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn lines_in_pieces_and_several_at_once() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.set_nodelay(true).unwrap();
    for byte in b"echo one\n" {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_line(&mut client), "one");
    client
        .write_all(b"echo two\necho three\nlater\nyield\necho four\nec")
        .unwrap();
    client.write_all(b"ho five\n").unwrap();
    let lines: Vec<String> = (0..5).map(|_| read_line(&mut client)).collect();
    assert!(lines.contains(&"later".into()));
    let rest: Vec<&String> = lines.iter().filter(|line| *line != "later").collect();
    assert_eq!(rest, ["two", "three", "four", "five"]);
}

#[test]
fn a_farewell_arrives_although_the_peer_still_sends() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.write_all(b"close\n").unwrap();
    client.write_all(&vec![b'z'; 1 << 20]).unwrap();
    assert_eq!(read_to_end(&mut client), b"bye\n");
    drop(client);
    world.opened();
    assert_eq!(world.next(), Seen::Closed(CloseReason::Closed));
}

#[test]
fn a_large_output_survives_an_orderly_close() {
    let world = World::new(|config| config.write_buffer = 16 << 20);
    let mut client = world.connect();
    client.write_all(b"send 5000000\nclose\n").unwrap();
    assert_eq!(read_to_end(&mut client).len(), 5_000_000 + 4);
}

#[test]
fn the_write_buffer_is_bounded_and_says_when_it_is_empty() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.write_all(b"fill\n").unwrap();
    world.opened();
    client.write_all(b"finish\n").unwrap();
    assert!(read_to_end(&mut client).len() > 1 << 20);
    assert_eq!(world.next(), Seen::Drained);
    drop(client);
    assert_eq!(world.next(), Seen::End(0));
    assert_eq!(world.next(), Seen::Closed(CloseReason::PeerClosed));
}

#[test]
fn a_half_closed_peer_gets_its_answers() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.write_all(b"echo one\nsend 3000000\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client).len(), 3_000_004);
}

#[test]
fn a_peer_that_stops_reading_is_given_up() {
    let world = World::new(|config| config.write_timeout = Some(Duration::from_millis(100)));
    let mut client = world.connect();
    client.write_all(b"fill\n").unwrap();
    world.opened();
    assert_eq!(world.next(), Seen::Closed(CloseReason::WriteTimeout));
    let mut rest = Vec::new();
    assert_eq!(
        client.read_to_end(&mut rest).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn closing_has_a_deadline_too() {
    let world = World::new(|config| {
        config.write_timeout = None;
        config.write_buffer = 32 << 20;
        config.close_timeout = Duration::from_millis(100);
    });
    let mut client = world.connect();
    client.write_all(b"send 20000000\nclose\n").unwrap();
    world.opened();
    assert_eq!(world.next(), Seen::Closed(CloseReason::CloseTimeout));
}

#[test]
fn a_pause_reads_ahead_to_its_bound_and_sees_the_end() {
    let world = World::new(|config| config.paused_input = 1000);
    let mut client = world.connect();
    client.write_all(b"pause\necho one\n").unwrap();
    let key = world.opened();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(world.next(), Seen::End(9));
    assert_eq!(world.next(), Seen::Closed(CloseReason::PeerClosed));

    // More than the bound: read later, without loss, and without spinning until then.
    let mut client = world.connect();
    client.write_all(b"pause\n").unwrap();
    let second = world.opened();
    assert_ne!(key, second);
    world.wait_for("the pause", |reactor| reactor.stats().bytes_in == 15 + 6);
    let line = format!("echo {}\n", "x".repeat(5000));
    client.write_all(line.as_bytes()).unwrap();
    world.wait_for("read ahead", |reactor| {
        reactor.stats().bytes_in >= 1000 + 6 + 15
    });
    let turns = world.reactor.stats().turns;
    std::thread::sleep(Duration::from_millis(50));
    assert!(world.reactor.stats().turns - turns < 5, "it spins");
    let bytes_in = world.reactor.stats().bytes_in;
    assert!(bytes_in <= 1000 + 6 + 15 + 6, "{bytes_in}");
    world.reactor.wakers().next().unwrap().wake(&[key, second]);
    assert_eq!(world.next(), Seen::Woken);
    assert_eq!(read_line(&mut client).len(), 5000);
}

#[test]
fn a_reset_is_noticed_in_every_state() {
    let world = World::new(|config| config.paused_input = 10);
    for commands in [
        "",
        "pause\n",
        "pause\n0123456789012345678901234567890",
        "half a line",
    ] {
        let mut client = world.connect();
        client.write_all(commands.as_bytes()).unwrap();
        world.opened();
        let before = world.reactor.stats().bytes_in;
        world.wait_for("input", |reactor| reactor.stats().bytes_in >= before.min(1));
        let socket = Socket::from(client);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
        match world.next() {
            Seen::Closed(CloseReason::Failed(ErrorKind::ConnectionReset)) => {}
            other => panic!("{commands:?}: {other:?}"),
        }
    }
    world.wait_for("permits", |reactor| reactor.stats().open == 0);
}

#[test]
fn timers_can_be_moved_and_fire_once() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    let start = Instant::now();
    client.write_all(b"timer 5000\ntimer 30\n").unwrap();
    world.opened();
    assert_eq!(world.next(), Seen::Timer);
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(30)..Duration::from_secs(2)).contains(&took),
        "{took:?}"
    );
    client.write_all(b"timer 20\ntimer 60\n").unwrap();
    let start = Instant::now();
    assert_eq!(world.next(), Seen::Timer);
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert!(world.seen.recv_timeout(Duration::from_millis(50)).is_err());
}

#[test]
fn a_connection_is_woken_once_per_turn_also_from_its_own_thread() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.write_all(b"wake\nwake\necho done\n").unwrap();
    assert_eq!(read_line(&mut client), "done");
    world.opened();
    assert_eq!(world.next(), Seen::Woken);
    assert!(world.seen.recv_timeout(Duration::from_millis(20)).is_err());
}

#[test]
fn a_panic_ends_its_connection_only() {
    let world = World::new(|_| {});
    let mut other = world.connect();
    world.opened();
    let mut client = world.connect();
    world.opened();
    client.write_all(b"panic\n").unwrap();
    assert_eq!(world.next(), Seen::Closed(CloseReason::Panic));
    other.write_all(b"echo still here\n").unwrap();
    assert_eq!(read_line(&mut other), "still here");
    assert_eq!(world.reactor.stats().panics, 1);
}

#[test]
fn an_abort_is_a_reset() {
    let world = World::new(|_| {});
    let mut client = world.connect();
    client.write_all(b"abort\n").unwrap();
    world.opened();
    assert_eq!(world.next(), Seen::Closed(CloseReason::Aborted));
    let mut buffer = [0; 10];
    assert_eq!(
        client.read(&mut buffer).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn too_much_that_cannot_be_used_ends_the_connection() {
    let world = World::new(|config| config.input_buffer = 10_000);
    let mut client = world.connect();
    world.opened();
    let _ = client.write_all(&vec![b'a'; 9_999]);
    let _ = client.write_all(&vec![b'a'; 9_999]);
    assert_eq!(world.next(), Seen::Closed(CloseReason::InputOverflow));
}

#[test]
fn the_limit_is_exact_and_moves_in_both_directions() {
    let world = World::new(|config| config.max_connections = Some(0));
    let clients: Vec<TcpStream> = (0..6).map(|_| world.connect()).collect();
    assert!(world.seen.recv_timeout(Duration::from_millis(50)).is_err());
    for (limit, more) in [(Some(1), 1), (Some(3), 2), (Some(2), 0), (Some(0), 0)] {
        world.reactor.set_max_connections(limit);
        for _ in 0..more {
            world.opened();
        }
        assert!(
            world.seen.recv_timeout(Duration::from_millis(50)).is_err(),
            "{limit:?}"
        );
    }
    assert_eq!(world.reactor.stats().open, 3);
    // Below the lowered limit again only when enough have left.
    world.reactor.set_max_connections(Some(2));
    let mut clients = clients.into_iter();
    for _ in 0..2 {
        drop(clients.next());
        assert_eq!(world.next(), Seen::End(0));
        assert_eq!(world.next(), Seen::Closed(CloseReason::PeerClosed));
    }
    world.opened();
    assert!(world.seen.recv_timeout(Duration::from_millis(50)).is_err());
    world.reactor.set_max_connections(None);
    world.opened();
    world.opened();
    assert_eq!(world.reactor.stats().open, 4);
}

#[test]
fn one_address_may_have_so_many() {
    let world = World::new(|config| config.max_per_address = Some(2));
    let first = world.connect();
    let _second = world.connect();
    let mut third = world.connect();
    world.opened();
    world.opened();
    assert_eq!(third.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(world.reactor.stats().refused_by_address, 1);
    drop(first);
    assert_eq!(world.next(), Seen::End(0));
    assert_eq!(world.next(), Seen::Closed(CloseReason::PeerClosed));
    world.wait_for("the slot", |reactor| reactor.stats().open == 1);
    let _fourth = world.connect();
    world.opened();
}

#[test]
fn a_stop_tells_the_connections_and_waits_for_them() {
    let world = World::new(|_| {});
    let mut busy = world.connect();
    let mut idle = world.connect();
    world.opened();
    world.opened();
    busy.write_all(b"echo one\n").unwrap();
    assert_eq!(read_line(&mut busy), "one");
    let World {
        mut reactor,
        seen,
        address,
    } = world;
    reactor.stop_accepting();
    assert!(TcpStream::connect(address).is_err());
    reactor.drain();
    assert_eq!(read_to_end(&mut idle), b"");
    drop(idle);
    busy.write_all(b"echo two\n").unwrap();
    assert_eq!(read_line(&mut busy), "two");
    let started = Instant::now();
    let stopping = std::thread::spawn(move || reactor.stop(PATIENCE));
    busy.write_all(b"close\n").unwrap();
    assert_eq!(read_to_end(&mut busy), b"bye\n");
    drop(busy);
    assert_eq!(stopping.join().unwrap().stuck, 0);
    assert!(started.elapsed() < PATIENCE);
    let seen: Vec<Seen> = seen.iter().collect();
    assert_eq!(
        seen.iter()
            .filter(|event| **event == Seen::Stopping)
            .count(),
        2
    );
    assert_eq!(
        seen.iter()
            .filter(|event| matches!(event, Seen::Closed(_)))
            .count(),
        2
    );
}

#[test]
fn a_stop_aborts_at_its_deadline() {
    let world = World::new(|config| config.threads = 3);
    let mut clients: Vec<TcpStream> = (0..5).map(|_| world.connect()).collect();
    for client in &mut clients {
        client.write_all(b"echo x\n").unwrap();
        assert_eq!(read_line(client), "x");
    }
    let World { reactor, seen, .. } = world;
    assert_eq!(reactor.stop(Duration::from_millis(50)).stuck, 0);
    let shut = seen
        .iter()
        .filter(|event| *event == Seen::Closed(CloseReason::Shutdown))
        .count();
    assert_eq!(shut, 5);
}

#[test]
fn connections_are_spread_and_forgotten() {
    let world = World::new(|config| config.threads = 4);
    for _ in 0..10 {
        let clients: Vec<TcpStream> = (0..100).map(|_| world.connect()).collect();
        drop(clients);
    }
    world.wait_for("all closed", |reactor| {
        let stats = reactor.stats();
        (stats.accepted, stats.opened, stats.closed, stats.open) == (1000, 1000, 1000, 0)
    });
}

#[test]
fn unix_sockets_and_several_listeners() {
    let path = std::env::temp_dir().join(format!("bayeux-tcp-{}.sock", std::process::id()));
    let spec = format!("unix:{}", path.display());
    let options = ListenOptions::default();
    let mut listeners = Listener::bind_all(&spec, &options).unwrap();
    listeners.push(Listener::bind(&local(), &options).unwrap());
    let (seen, _receiver) = mpsc::channel();
    let config = Config {
        threads: 1,
        write_buffer: 16 << 20,
        ..Config::default()
    };
    let reactor = Reactor::start(&config, listeners, |_, waker| Probe {
        seen: seen.clone(),
        dirty: Vec::new(),
        waker,
    })
    .unwrap();
    let mut unix = UnixStream::connect(&path).unwrap();
    unix.write_all(b"echo over unix\nsend 2000000\nclose\n")
        .unwrap();
    assert_eq!(read_line(&mut unix), "over unix");
    assert_eq!(read_to_end(&mut unix).len(), 2_000_004);
    let mut tcp = TcpStream::connect(reactor.local_addrs()[1].inet().unwrap()).unwrap();
    tcp.write_all(b"echo over tcp\n").unwrap();
    assert_eq!(read_line(&mut tcp), "over tcp");
    let error = Listener::bind(&reactor.local_addrs()[1], &options).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    drop(reactor);
    assert!(!path.exists());

    // A file that a dead process left behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Listener::bind_all(&spec, &options).unwrap());
    assert!(!path.exists());
}

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(10);
