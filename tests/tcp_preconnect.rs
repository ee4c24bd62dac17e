//! What comes before a connection is opened: PROXY headers, lists, layers, and their deadline.

#![allow(clippy::unwrap_used)] // in helpers too

mod tcp_support;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bayeux::tcp::preconnect::{AllowList, ProxyProtocol};
use bayeux::tcp::reactor::{Early, Layer, PreConnect, Refuse, Step, Wire};
use bayeux::tcp::{Client, ClientConfig, Network};
use tcp_support::{PATIENCE, Peer, Seen, Talker, World};

fn local() -> Network {
    "127.0.0.0/8".parse().unwrap()
}

#[test]
fn a_proxy_says_for_whom_it_connects() {
    let allowed: Network = "10.0.0.0/8".parse().unwrap();
    let world = World::new(|config| {
        config.reactor.pre_connect = vec![
            Arc::new(ProxyProtocol::new([local()])),
            Arc::new(AllowList::new([allowed])),
        ];
    });
    let stream = b"PROXY TCP4 10.1.2.3 127.0.0.1 4321 80\r\nhello\r\n";
    for cut in [0, 1, 20, 38, 39, 40, stream.len() - 1] {
        let mut peer = world.connect();
        peer.send(&stream[..cut]);
        peer.send(&stream[cut..]);
        assert_eq!(peer.line(), "hello");
        let Seen::Connected(_, address) = world.next() else {
            panic!("not connected")
        };
        assert_eq!(address.to_string(), "10.1.2.3:4321");
        drop(peer);
        world.disconnected();
    }
    // The list behind the proxy sees the address that the proxy reports.
    for bad in [
        "PROXY TCP4 11.1.2.3 127.0.0.1 4321 80\r\n",
        "PROXY UNKNOWN\r\n",
        "hello\r\n",
    ] {
        let mut peer = world.connect();
        peer.send(bad);
        assert_eq!(peer.stream.read(&mut [0]).unwrap_or(0), 0);
    }
    world.wait_for("refusals", |stats| {
        stats.refused_early == 3 && stats.open == 0
    });
    assert!(world.is_quiet());
}

#[test]
fn only_trusted_proxies_are_believed() {
    let elsewhere: Network = "192.0.2.1".parse().unwrap();
    let world = World::new(|config| {
        config.reactor.pre_connect = vec![Arc::new(ProxyProtocol::new([elsewhere]))];
    });
    let mut peer = world.connect();
    peer.send("PROXY UNKNOWN\r\n");
    assert_eq!(peer.line(), "PROXY UNKNOWN");
    let world = World::new(|config| {
        let step = ProxyProtocol::new([elsewhere]).refuse_others();
        config.reactor.pre_connect = vec![Arc::new(step)];
    });
    assert_eq!(world.connect().stream.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn the_steps_have_a_deadline() {
    let world = World::new(|config| {
        config.reactor.pre_connect = vec![Arc::new(ProxyProtocol::new([local()]))];
        config.reactor.pre_connect_timeout = Duration::from_millis(50);
    });
    let mut peer = world.connect();
    peer.send("PROXY TCP4 ");
    assert_eq!(peer.stream.read(&mut [0]).unwrap_or(0), 0);
    world.wait_for("the timeout", |stats| stats.open_timeouts == 1);
    // A peer that leaves earlier is no timeout.
    drop(world.connect());
    world.wait_for("the loss", |stats| stats.failed == 1);
    assert!(world.is_quiet());
    assert_eq!(world.server.stats().opened, 0);
}

/// A toy in place of TLS: both ends send one byte, which the other adds to every byte.
struct Shift {
    ours: u8,
    theirs: Option<u8>,
    /// Transformed, and not taken by the socket yet.
    out: Vec<u8>,
}

impl Shift {
    fn new(ours: u8) -> Box<Self> {
        Box::new(Self {
            ours,
            theirs: None,
            out: vec![ours],
        })
    }
}

impl Layer for Shift {
    fn read(&mut self, wire: &mut Wire<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        if self.theirs.is_none() {
            let mut hello = [0];
            if wire.read(&mut hello)? == 0 {
                return Ok(0);
            }
            self.theirs = Some(hello[0]);
        }
        // A few at a time, as records would be.
        let room = buffer.len().min(100);
        let n = wire.read(&mut buffer[..room])?;
        for byte in &mut buffer[..n] {
            *byte = byte.wrapping_sub(self.ours);
        }
        Ok(n)
    }

    fn write(&mut self, wire: &mut Wire<'_>, bytes: &[u8]) -> io::Result<usize> {
        self.flush(wire)?;
        let key = self.theirs.ok_or(io::ErrorKind::WouldBlock)?;
        let taken = &bytes[..bytes.len().min(1000)];
        self.out
            .extend(taken.iter().map(|byte| byte.wrapping_add(key)));
        match self.flush(wire) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken.len()),
        }
    }

    fn flush(&mut self, wire: &mut Wire<'_>) -> io::Result<()> {
        while !self.out.is_empty() {
            let n = wire.write(&self.out)?;
            self.out.drain(..n);
        }
        Ok(())
    }

    fn wants_write(&self) -> bool {
        !self.out.is_empty()
    }

    fn is_handshaking(&self) -> bool {
        self.theirs.is_none()
    }

    fn finish(&mut self, _wire: &mut Wire<'_>) -> io::Result<()> {
        // What an orderly end would be in TLS.
        self.out.push(b'.');
        Ok(())
    }
}

struct ShiftStep(u8);

impl PreConnect for ShiftStep {
    fn start(&self, _connection: &mut Early<'_>) -> Result<Step, Refuse> {
        Ok(Step::Layer(Shift::new(self.0)))
    }
}

fn shifted(bytes: &[u8], by: u8) -> Vec<u8> {
    bytes.iter().map(|byte| byte.wrapping_add(by)).collect()
}

#[test]
fn a_layer_transforms_both_directions() {
    let world = World::new(|config| {
        config.reactor.write_buffer = 32 << 20;
        config.reactor.pre_connect = vec![
            Arc::new(ProxyProtocol::new([local()])),
            Arc::new(ShiftStep(3)),
        ];
    });
    // Header, handshake and data, in one piece and cut anywhere.
    let mut stream = b"PROXY UNKNOWN\r\n\x05".to_vec();
    stream.extend(shifted(b"hello\r\n", 3));
    for cut in 0..stream.len() {
        let mut peer = world.connect();
        peer.send(&stream[..cut]);
        peer.send(&stream[cut..]);
        let mut answer = [0; 8];
        peer.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[0], 3);
        assert_eq!(answer[1..], shifted(b"hello\r\n", 5));
    }
    let mut peer = world.connect();
    peer.send("PROXY UNKNOWN\r\n\x05");
    let long = "x".repeat(900);
    for _ in 0..50 {
        peer.send(shifted(format!("{long}\r\n").as_bytes(), 3));
    }
    peer.send(shifted(b"block 5000000\r\nquit\r\n", 3));
    let answer = shifted(&peer.rest(), 0_u8.wrapping_sub(5));
    let expected = 1 + 50 * 902 + 5_000_002 + 5 + 1;
    assert_eq!(answer.len(), expected);
    assert!(answer.ends_with(&[b'\r', b'\n', b'b', b'y', b'e', b'\r', b'\n', b'.' - 5]));
}

#[test]
fn a_client_has_layers_too() {
    let world = World::new(|config| config.reactor.pre_connect = vec![Arc::new(ShiftStep(9))]);
    let mut config = ClientConfig::default();
    config.connect.pre_connect = Arc::new([Arc::new(ShiftStep(77)) as Arc<dyn PreConnect>]);
    let (sender, seen) = std::sync::mpsc::channel();
    let target = world.address.to_string();
    let client = Client::start(&config, &target, Talker::new(&sender)).unwrap();
    // The server answers `count`, and the client's end takes the answer for something to echo.
    client.post("count".into()).unwrap();
    loop {
        if let Seen::Input(line) = seen.recv_timeout(PATIENCE).unwrap() {
            assert_eq!(line, "1");
            break;
        }
    }
    drop(client);
    // Whoever knows nothing of the layer does not get through.
    let mut peer: Peer = world.connect();
    peer.socket().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(peer.rest(), [9]);
}
