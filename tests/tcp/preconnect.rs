//! What comes before a connection is opened: PROXY headers, lists, layers, and their deadline.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bayeux::ManualClock;
use bayeux::tcp::codec::{DecodeError, LineDecoder, LineEncoder};
use bayeux::tcp::preconnect::{AllowList, ProxyProtocol};
use bayeux::tcp::reactor::{
    CloseReason, Early, Layer, PreConnect, Refuse, SecondLayer, Step, Wire,
};
use bayeux::tcp::{Client, ClientConfig, Context, Handler, Network, Server, ServerConfig};

use crate::support::{PATIENCE, Peer, Seen, Talker, World, serve, wait_for};

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
    for cut in 0..stream.len() {
        let mut peer = world.connect();
        peer.send_cut(&world.server, stream, cut);
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
    let clock = ManualClock::new();
    let world = World::new(|config| {
        config.reactor.clock = Arc::new(clock.clone());
        config.reactor.pre_connect = vec![Arc::new(ProxyProtocol::new([local()]))];
        config.reactor.pre_connect_timeout = Duration::from_millis(50);
    });
    let mut peer = world.connect();
    peer.send("PROXY TCP4 ");
    world.wait_for("the timeout", |stats| {
        clock.advance(Duration::from_millis(1));
        stats.open_timeouts == 1
    });
    assert_eq!(peer.stream.read(&mut [0]).unwrap_or(0), 0);
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

    fn unsent(&self) -> usize {
        self.out.len()
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
        peer.send_cut(&world.server, &stream, cut);
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
fn a_stop_does_not_wait_for_the_steps() {
    let world = World::new(|config| {
        config.reactor.pre_connect = vec![Arc::new(ProxyProtocol::new([local()]))];
    });
    let mut peer = world.connect();
    peer.send("PROX");
    world.wait_for("the beginning", |stats| stats.bytes_in == 4);
    let started = Instant::now();
    world.server.shutdown(PATIENCE);
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    let end = peer.stream.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
}

/// Passes everything through, but is afraid of exclamation marks.
struct Timid;

impl Layer for Timid {
    fn read(&mut self, wire: &mut Wire<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let n = wire.read(buffer)?;
        assert!(!buffer[..n].contains(&b'!'), "as the test wants it");
        Ok(n)
    }

    fn write(&mut self, wire: &mut Wire<'_>, bytes: &[u8]) -> io::Result<usize> {
        wire.write(bytes)
    }

    fn flush(&mut self, _wire: &mut Wire<'_>) -> io::Result<()> {
        Ok(())
    }

    fn unsent(&self) -> usize {
        0
    }

    fn is_handshaking(&self) -> bool {
        false
    }

    fn finish(&mut self, _wire: &mut Wire<'_>) -> io::Result<()> {
        Ok(())
    }
}

impl PreConnect for Timid {
    fn start(&self, _connection: &mut Early<'_>) -> Result<Step, Refuse> {
        Ok(Step::Layer(Box::new(Self)))
    }
}

#[test]
fn a_panic_of_a_layer_ends_its_connection_only() {
    let world = World::new(|config| {
        config.reactor.threads = 1;
        config.reactor.pre_connect = vec![Arc::new(Timid)];
    });
    let (mut other, mut panics) = (world.connect(), world.connect());
    panics.send("boo!\r\n");
    assert_eq!(world.disconnected(), CloseReason::Panic);
    other.send("count\r\n");
    assert_eq!(other.line(), "1");
    let mut later = world.connect();
    later.send("count\r\n");
    assert_eq!(later.line(), "1");
    assert_eq!(world.server.stats().panics, 1);
    assert_eq!(world.server.stats().open, 2);
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

/// Lines, until it is told to go on through a layer.
struct Upgrade;

impl Upgrade {
    fn begin(ctx: &mut Context<'_, Self>, large: usize) {
        ctx.send(&"x".repeat(large)).unwrap();
        ctx.send("go ahead").unwrap();
        ctx.set_layer(Shift::new(3)).unwrap();
        assert_eq!(ctx.set_layer(Shift::new(4)), Err(SecondLayer));
        ctx.send("secret").unwrap();
    }
}

impl Handler for Upgrade {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = ();

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        Default::default()
    }

    fn input(&mut self, line: String, ctx: &mut Context<'_, Self>) {
        match line.strip_prefix("upgrade ") {
            Some("later") => ctx.pause_input(),
            Some(large) => Self::begin(ctx, large.parse().unwrap()),
            None => ctx.send(&line).unwrap(),
        }
    }

    fn message(&mut self, _message: (), ctx: &mut Context<'_, Self>) {
        Self::begin(ctx, 1);
        ctx.resume_input();
    }
}

/// What comes after the plain part of the answer.
fn layered_answer(peer: &mut Peer, large: usize) {
    assert_eq!(peer.line().len(), large);
    assert_eq!(peer.line(), "go ahead");
    let mut rest = [0; 16];
    peer.stream.read_exact(&mut rest).unwrap();
    assert_eq!(rest[0], 3, "the layer's own");
    assert_eq!(rest[1..], shifted(b"secret\r\nhello\r\n", 5));
}

/// Waits until so many bytes have come.
fn until(server: &Server<()>, bytes_in: u64) {
    wait_for(server, "input", |stats| stats.bytes_in >= bytes_in);
}

#[test]
fn a_layer_in_mid_stream_begins_after_what_was_sent_and_with_what_has_come() {
    let mut config = ServerConfig::default();
    config.reactor.write_buffer = 32 << 20;
    let server = serve(&config, |_| Upgrade);
    let address = server.local_addrs()[0].inet().unwrap();
    let hello = [vec![5], shifted(b"hello\r\n", 3)].concat();
    let stream = [b"plain\r\nupgrade 1\r\n".to_vec(), hello.clone()].concat();
    for cut in 0..stream.len() {
        let mut peer = Peer::connect(address);
        peer.send_cut(&server, &stream, cut);
        assert_eq!(peer.line(), "plain");
        layered_answer(&mut peer, 1);
    }
    // Each byte up to the CR in a read of its own.
    let mut peer = Peer::connect(address);
    let (lines, rest) = stream.split_at(17);
    for byte in lines {
        peer.send_cut(&server, &[*byte], 1);
    }
    peer.send(rest);
    assert_eq!(peer.line(), "plain");
    layered_answer(&mut peer, 1);
    drop(peer);
    // More than the kernel takes before the peer reads, and the peer's part of the layer at once.
    let mut peer = Peer::connect(address);
    let before = server.stats().bytes_in;
    peer.send("upgrade 9000000\r\n");
    peer.send(&hello);
    until(&server, before + 17);
    assert!(
        server.stats().bytes_out < 9_000_000,
        "much waits for its reader"
    );
    layered_answer(&mut peer, 9_000_000);
    // Begun from elsewhere, while input is kept.
    drop(peer);
    wait_for(&server, "the end", |_| server.connections().is_empty());
    let stream = [b"upgrade later\r\n".to_vec(), hello].concat();
    for come in 14..=stream.len() {
        let mut peer = Peer::connect(address);
        let before = server.stats().bytes_in;
        peer.send(&stream[..come]);
        until(&server, before + come as u64);
        assert_eq!(server.connections().broadcast(&()), 1);
        peer.send(&stream[come..]);
        layered_answer(&mut peer, 1);
        drop(peer);
        wait_for(&server, "its end", |_| server.connections().is_empty());
    }
}

/// Lines of ten bytes; a longer one makes it begin a layer.
struct TooMuch;

impl Handler for TooMuch {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = ();

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        (LineDecoder::new(10), LineEncoder::default())
    }

    fn input(&mut self, line: String, ctx: &mut Context<'_, Self>) {
        ctx.send(&line).unwrap();
    }

    fn invalid_input(&mut self, _error: DecodeError, ctx: &mut Context<'_, Self>) {
        ctx.set_layer(Shift::new(3)).unwrap();
    }
}

#[test]
fn a_layer_gets_nothing_of_the_line_before() {
    let server = serve(&ServerConfig::default(), |_| TooMuch);
    let address = server.local_addrs()[0].inet().unwrap();
    for end in ["\r\n", "\n", "\r"] {
        let line = format!("too long a line{end}\u{5}");
        let stream = [line.into_bytes(), shifted(b"hello\r\n", 3)].concat();
        for cut in 0..stream.len() {
            let mut peer = Peer::connect(address);
            peer.send_cut(&server, &stream, cut);
            let mut answer = [0; 8];
            peer.stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer[0], 3, "{end:?} cut at {cut}");
            assert_eq!(answer[1..], shifted(b"hello\r\n", 5));
        }
    }
}
