//! Handlers: mailboxes, timers, codecs that change, water marks, timeouts, panics.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bayeux::tcp::codec::{
    Bytes, DecodeError, DecodeErrorKind, Decoded, Decoder, Encoder, LineDecoder, Map, Netstring,
};
use bayeux::tcp::reactor::CloseReason;
use bayeux::tcp::{Context, Handler, PostErrorKind, ServerConfig};
use bayeux::{Clock, ManualClock, SystemClock};

use crate::common::wait::eventually;
use crate::support::{PATIENCE, Peer, Seen, World, serve, wait_for};

#[test]
fn messages_come_from_other_threads_and_are_bounded() {
    let world = World::new(|config| config.session.mailbox = 3);
    let mut peer = world.connect();
    let connection = world.connected();
    connection.post("hello".into()).unwrap();
    assert_eq!(peer.line(), "hello");
    assert!(connection.is_open());
    drop(peer);
    world.disconnected();
    world.wait_for("closed", |stats| stats.open == 0);
    let error = connection.post("too late".into()).unwrap_err();
    assert_eq!(
        (error.kind, &*error.message),
        (PostErrorKind::Closed, "too late")
    );
    assert!(!connection.is_open());
    assert!(world.server.connections().get(connection.id()).is_none());
}

/// Its I/O thread is held up until the test allows it to go on.
struct Held(std::sync::mpsc::Receiver<()>);

impl Handler for Held {
    type Decoder = Bytes;
    type Encoder = Bytes;
    type Message = u32;

    fn codec(&mut self) -> (Bytes, Bytes) {
        (Bytes, Bytes)
    }

    fn input(&mut self, _item: Vec<u8>, _ctx: &mut Context<'_, Self>) {
        let _ = self.0.recv();
    }

    fn message(&mut self, message: u32, ctx: &mut Context<'_, Self>) {
        ctx.send(message.to_string().as_bytes()).unwrap();
    }
}

#[test]
fn a_full_mailbox_gives_the_message_back() {
    let mut config = ServerConfig::default();
    config.session.mailbox = 2;
    let (go, held) = std::sync::mpsc::channel();
    let held = std::sync::Mutex::new(Some(held));
    let server = serve(&config, move |_| Held(held.lock().unwrap().take().unwrap()));
    let mut peer = Peer::connect(server.local_addrs()[0].inet().unwrap());
    peer.send("x");
    wait_for(&server, "it is open", |stats| {
        stats.opened > 0 && !server.connections().is_empty()
    });
    let connection = server.connections().all().remove(0);
    // However far the thread has got, it takes no more than it may.
    let posted = (0..10).filter(|n| connection.post(*n).is_ok()).count();
    assert!((2..10).contains(&posted), "{posted}");
    let error = connection.post(99).unwrap_err();
    assert_eq!((error.kind, error.message), (PostErrorKind::Full, 99));
    drop(go);
    let mut answer = vec![0; posted];
    peer.stream.read_exact(&mut answer).unwrap();
    connection.shutdown();
    assert_eq!(peer.rest(), b"");
}

#[test]
fn what_is_posted_before_a_shutdown_still_counts() {
    let world = World::new(|_| {});
    let mut peer = world.connect();
    let connection = world.connected();
    for n in 0..200 {
        connection.post(n.to_string()).unwrap();
    }
    connection.shutdown();
    for n in 0..200 {
        assert_eq!(peer.line(), n.to_string());
    }
    assert_eq!(peer.rest(), b"");
    assert_eq!(world.disconnected(), CloseReason::Closed);

    let mut peer = world.connect();
    world.connected().abort();
    assert_eq!(
        peer.stream.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(world.disconnected(), CloseReason::Aborted);
}

#[test]
fn a_broadcast_reaches_all_but_its_author() {
    let world = World::new(|config| config.reactor.threads = 3);
    let mut peers: Vec<Peer> = (0..20).map(|_| world.connect()).collect();
    for _ in &peers {
        world.connected();
    }
    assert_eq!(world.server.connections().len(), 20);
    peers[7].send("tell the news\r\n");
    for (index, peer) in peers.iter_mut().enumerate() {
        if index != 7 {
            assert_eq!(peer.line(), "the news");
        }
    }
    assert!(peers[7].is_quiet());
    assert_eq!(
        world.server.connections().broadcast(&"to all".to_owned()),
        20
    );
    for peer in &mut peers {
        assert_eq!(peer.line(), "to all");
    }
}

#[test]
fn several_timers() {
    let world = World::new(|_| {});
    let mut peer = world.connect();
    world.connected();
    peer.send("timer 60\r\ntimer 20\r\ntimer 40\r\n");
    let mut fired = Vec::new();
    while fired.len() < 3 {
        if let Seen::Timer(timer) = world.next() {
            fired.push(timer);
        }
    }
    assert_eq!(fired, [20, 40, 60]);
    assert!(world.is_quiet());
}

#[test]
fn invalid_input_can_be_skipped() {
    let world = World::new(|_| {});
    let mut peer = world.connect();
    peer.send(format!("{}\r\nafter\r\n\u{ff}\r\n", "x".repeat(2000)));
    peer.send(b"\xff\r\nend\r\n");
    assert_eq!(peer.line(), "error: longer than 1000 bytes");
    assert_eq!(peer.line(), "after");
    assert_eq!(peer.line(), "\u{ff}");
    assert_eq!(peer.line(), "error: a line is not UTF-8");
    assert_eq!(peer.line(), "end");
    let kinds: Vec<DecodeErrorKind> = world
        .seen
        .try_iter()
        .filter_map(|seen| {
            if let Seen::Invalid(error) = seen {
                Some(error.kind)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(kinds[0], DecodeErrorKind::TooLong { max: 1000 });
}

/// Begins with lines; after `netstring` speaks netstrings, after `raw` bytes.
struct Switch;

type AnyDecoder = Box<dyn Decoder<Item = Vec<u8>>>;
type AnyEncoder = Box<dyn Encoder<Item = [u8]>>;

impl Handler for Switch {
    type Decoder = AnyDecoder;
    type Encoder = AnyEncoder;
    type Message = ();

    fn codec(&mut self) -> (AnyDecoder, AnyEncoder) {
        let lines: Map<_, _> = LineDecoder::default().map(String::into_bytes);
        (Box::new(lines), Box::new(Bytes))
    }

    fn input(&mut self, item: Vec<u8>, ctx: &mut Context<'_, Self>) {
        ctx.send(&item).unwrap();
        match item.as_slice() {
            b"netstring" => {
                ctx.set_decoder(Box::new(Netstring::default()));
                ctx.set_encoder(Box::new(Netstring::default()));
            }
            b"raw" => {
                ctx.set_decoder(Box::new(Bytes));
                ctx.set_encoder(Box::new(Bytes));
            }
            _ => {}
        }
    }
}

#[test]
fn a_codec_can_be_replaced_in_mid_stream() {
    let server = serve(&ServerConfig::default(), |_| Switch);
    let address = server.local_addrs()[0].inet().unwrap();
    for end in ["\r\n", "\r", "\n"] {
        let stream = format!("one{end}netstring{end}3:two,3:raw,three{end}4:");
        let expected = format!("onenetstring3:two,3:raw,three{end}4:");
        for cut in 0..stream.len() {
            let mut peer = Peer::connect(address);
            peer.send_cut(&server, stream.as_bytes(), cut);
            peer.socket().shutdown(Shutdown::Write).unwrap();
            assert_eq!(peer.rest(), expected.as_bytes(), "{end:?} cut at {cut}");
        }
    }
    // What a line leaves behind is skipped once.
    let mut peer = Peer::connect(address);
    peer.send_cut(&server, b"raw\r\n\nline\n", 4);
    peer.socket().shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.rest(), b"raw\nline\n");
}

#[test]
fn paused_input_waits_and_so_does_the_end() {
    let world = World::new(|_| {});
    let mut peer = world.connect();
    let connection = world.connected();
    peer.send("pause\r\none\r\n");
    peer.socket().shutdown(Shutdown::Write).unwrap();
    assert!(matches!(world.next(), Seen::Input(line) if line == "pause"));
    assert!(world.is_quiet());
    connection.post("resume".into()).unwrap();
    assert_eq!(peer.rest(), b"one\r\n");
    let mut seen = Vec::new();
    loop {
        let next = world.next();
        let last = matches!(next, Seen::Disconnected(_));
        seen.push(format!("{next:?}"));
        if last {
            break;
        }
    }
    let expected = [
        "Message(\"resume\")",
        "Input(\"one\")",
        "End",
        "Disconnected(PeerClosed)",
    ];
    assert_eq!(seen, expected);

    // With nothing left to handle, only the end has waited.
    let mut peer = world.connect();
    let connection = world.connected();
    peer.send("pause\r\n");
    peer.socket().shutdown(Shutdown::Write).unwrap();
    assert!(matches!(world.next(), Seen::Input(_)));
    assert!(world.is_quiet());
    connection.post("resume".into()).unwrap();
    assert_eq!(world.disconnected(), CloseReason::PeerClosed);
}

/// Pairs of bytes; half a pair at the end is ignored.
struct Pairs;

impl Decoder for Pairs {
    type Item = [u8; 2];

    fn decode(&mut self, input: &[u8]) -> Result<Decoded<[u8; 2]>, DecodeError> {
        let pair = input.first_chunk();
        Ok(pair.map_or(Decoded::INCOMPLETE, |pair| Decoded::item(2, *pair)))
    }

    fn decode_end(&mut self, _input: &[u8]) -> Result<Decoded<[u8; 2]>, DecodeError> {
        Ok(Decoded::INCOMPLETE)
    }
}

/// Echoes pairs.
struct Twin;

impl Handler for Twin {
    type Decoder = Pairs;
    type Encoder = Bytes;
    type Message = ();

    fn codec(&mut self) -> (Pairs, Bytes) {
        (Pairs, Bytes)
    }

    fn input(&mut self, pair: [u8; 2], ctx: &mut Context<'_, Self>) {
        ctx.send(&pair).unwrap();
    }
}

#[test]
fn a_decoder_may_ignore_what_is_left_at_the_end() {
    let server = serve(&ServerConfig::default(), |_peer| Twin);
    let mut peer = Peer::connect(server.local_addrs()[0].inet().unwrap());
    peer.send("aabbc");
    peer.socket().shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.rest(), b"aabb");
}

#[test]
fn many_items_at_once_leave_time_for_others() {
    let world = World::new(|config| {
        config.reactor.threads = 1;
        config.session.per_turn = 8;
    });
    let mut peer = world.connect();
    let lines: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    peer.send(lines.join("\r\n") + "\r\n");
    peer.socket().shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.rest(), (lines.join("\r\n") + "\r\n").into_bytes());
    assert!(world.server.stats().turns >= 1000 / 8);
}

#[test]
fn water_marks_and_flushed() {
    let world = World::new(|config| config.reactor.write_buffer = 32 << 20);
    let mut peer = world.connect();
    world.connected();
    peer.send("block 16000000\r\n");
    assert!(matches!(world.next(), Seen::Input(_)));
    assert!(matches!(world.next(), Seen::High));
    assert!(world.is_quiet());
    assert_eq!(peer.line().len(), 16_000_000);
    assert!(matches!(world.next(), Seen::Low));
    assert!(matches!(world.next(), Seen::Flushed));
    assert!(world.is_quiet());
    // What goes at once is told on request only.
    peer.send("small\r\nflush\r\n");
    assert!(matches!(world.next(), Seen::Input(_)));
    assert!(matches!(world.next(), Seen::Input(_)));
    assert!(matches!(world.next(), Seen::Flushed));
    assert!(world.is_quiet());
}

#[test]
fn a_half_close_of_ours_still_takes_input() {
    let world = World::new(|_| {});
    let mut peer = world.connect();
    peer.send("last\r\nfinish\r\n");
    assert_eq!(peer.rest(), b"last\r\n");
    peer.send("pause\r\n");
    let lines: Vec<String> = std::iter::from_fn(|| Some(world.next()))
        .filter_map(|seen| {
            if let Seen::Input(line) = seen {
                Some(line)
            } else {
                None
            }
        })
        .take(3)
        .collect();
    assert_eq!(lines, ["last", "finish", "pause"]);
    drop(peer);
}

#[test]
fn idle_and_silent_peers_are_closed() {
    let clock = ManualClock::new();
    let world = World::new(|config| {
        config.reactor.clock = Arc::new(clock.clone());
        config.session.idle_timeout = Some(Duration::from_millis(200));
        config.session.handshake_timeout = Some(Duration::from_millis(60));
    });
    let mut silent = world.connect();
    silent.send("no end");
    let mut idle = world.connect();
    idle.send("one\r\n");
    assert_eq!(idle.line(), "one");
    world.wait_for("input", |stats| stats.bytes_in == 5 + 6);
    clock.advance(Duration::from_millis(150));
    assert_eq!(silent.rest(), b"");
    drop(silent);
    assert_eq!(world.disconnected(), CloseReason::HandshakeTimeout);
    // Activity moves the deadline.
    for line in ["two", "three"] {
        idle.send(format!("{line}\r\n"));
        assert_eq!(idle.line(), line);
        clock.advance(Duration::from_millis(150));
    }
    clock.advance(Duration::from_millis(150));
    assert_eq!(idle.rest(), b"");
    drop(idle);
    assert_eq!(world.disconnected(), CloseReason::IdleTimeout);
}

#[test]
fn a_panic_ends_its_connection_with_one_word() {
    let world = World::new(|config| config.reactor.threads = 1);
    let mut other = world.connect();
    let mut peer = world.connect();
    peer.send("panic\r\n");
    assert_eq!(world.disconnected(), CloseReason::Panic);
    assert_eq!(
        peer.stream.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    other.send("still here\r\n");
    assert_eq!(other.line(), "still here");
    world.wait_for("no trace", |stats| stats.open == 1);
    assert_eq!(world.server.connections().len(), 1);
}

/// Fails once, when it is told to.
struct BrokenClock(AtomicBool);

impl Clock for BrokenClock {
    fn now(&self) -> Instant {
        assert!(
            !self.0.swap(false, Ordering::SeqCst),
            "as the test wants it"
        );
        SystemClock.now()
    }

    fn wall(&self) -> SystemTime {
        SystemClock.wall()
    }
}

#[test]
fn nobody_can_post_to_what_is_lost_with_its_thread() {
    let clock = Arc::new(BrokenClock(AtomicBool::new(false)));
    let world = World::new(|config| {
        config.reactor.threads = 1;
        config.reactor.clock = clock.clone();
    });
    let mut peer = world.connect();
    let connection = world.connected();
    clock.0.store(true, Ordering::SeqCst);
    peer.send("hello\r\n");
    eventually("the connection to be off the list", || {
        world.server.connections().is_empty()
    });
    let error = connection.post("lost".into()).unwrap_err();
    assert_eq!(error.kind, PostErrorKind::Closed);
}

struct BadStart(std::sync::mpsc::Sender<CloseReason>);

impl Handler for BadStart {
    type Decoder = Bytes;
    type Encoder = Bytes;
    type Message = ();

    fn codec(&mut self) -> (Bytes, Bytes) {
        (Bytes, Bytes)
    }

    fn connected(&mut self, _ctx: &mut Context<'_, Self>) {
        panic!("as the test wants it");
    }

    fn input(&mut self, _item: Vec<u8>, _ctx: &mut Context<'_, Self>) {}

    fn disconnected(&mut self, reason: CloseReason) {
        self.0.send(reason).unwrap();
    }
}

#[test]
fn a_panic_at_the_start_is_told_too() {
    let (sender, reasons) = std::sync::mpsc::channel();
    let server = serve(&ServerConfig::default(), move |_| BadStart(sender.clone()));
    let mut peer = Peer::connect(server.local_addrs()[0].inet().unwrap());
    assert!(peer.stream.read(&mut [0]).is_err());
    assert_eq!(reasons.recv_timeout(PATIENCE), Ok(CloseReason::Panic));
    assert!(server.connections().is_empty());
}
