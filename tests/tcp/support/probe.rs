//! A line-driven service on the reactor, and a reactor of it.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use bayeux::tcp::reactor::{
    CloseReason, Config, Io, Reactor, Refuse, Service, Turn, Waker, WriteError,
};
use bayeux::tcp::{Address, ListenOptions, Listener};
use socket2::{Domain, Socket, Type};

use crate::common::wait::{NEVER, PATIENCE, until};

/// What a [`Probe`] reports to its test.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    Opened(u64),
    End(usize),
    Woken,
    Timer,
    Drained,
    Watched(bool),
    Received { all: bool },
    Stopping,
    Closed(CloseReason),
}

/// A line-driven service: each line is a command.
pub(crate) struct Probe {
    pub(crate) seen: Sender<Seen>,
    pub(crate) dirty: Vec<u64>,
    pub(crate) waker: Waker,
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
            "peer" => {
                let peer = format!("{}\n", io.peer_addr());
                io.write(peer.as_bytes()).unwrap();
            }
            "abort" => io.abort(),
            "panic" => panic!("as the test wants it"),
            "pause" => io.pause_input(),
            "yield" => io.offer_again(),
            "hesitate" => {
                io.pause_input();
                io.resume_input();
            }
            "timer" => {
                let after = Duration::from_millis(rest.parse().unwrap());
                io.set_timer(Some(io.now() + after));
            }
            "finish" => io.shutdown_write(),
            "guard" => io.watch_peer(),
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
            "watch" => {
                let waits = io.watch_receipt();
                let _ = self.seen.send(Seen::Watched(waits));
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
            if io.is_input_paused() || io.is_closing() || ["yield", "hesitate"].contains(&&*line) {
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

    fn received(&mut self, _conn: &mut (), io: &mut Io<'_>) {
        let all = io.bytes_received() == io.bytes_out();
        if all || io.awaits_receipt().is_none() {
            let _ = self.seen.send(Seen::Received { all });
        }
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

pub(crate) struct World {
    pub(crate) reactor: Reactor,
    pub(crate) seen: Receiver<Seen>,
    pub(crate) address: SocketAddr,
}

impl World {
    pub(crate) fn new(adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            threads: 1,
            write_timeout: Some(NEVER),
            close_timeout: NEVER,
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

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection whose client takes little ahead of what it reads.
    pub(crate) fn connect_narrow(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&self.address.into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.into()
    }

    pub(crate) fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    pub(crate) fn opened(&self) -> u64 {
        match self.next() {
            Seen::Opened(key) => key,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn wait_for(&self, what: &str, mut condition: impl FnMut(&Reactor) -> bool) {
        until(what, || {
            let so = condition(&self.reactor);
            so.then_some(()).ok_or_else(|| self.reactor.stats())
        });
    }
}

pub(crate) fn local() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

pub(crate) fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

pub(crate) fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}
