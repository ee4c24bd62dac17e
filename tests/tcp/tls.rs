//! TLS under plain lines: handshakes good, slow and wrong, ends of the stream, transfers that the
//! peer does not take, certificates on both sides.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bayeux::ManualClock;
use bayeux::tcp::preconnect::ProxyProtocol;
use bayeux::tcp::reactor::{
    CloseReason, Config, Io, PreConnect, Reactor, Refuse, Service, WriteError,
};
use bayeux::tcp::tls::rustls::pki_types::ServerName;
use bayeux::tcp::tls::rustls::server::WebPkiClientVerifier;
use bayeux::tcp::tls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
};
use bayeux::tcp::tls::{
    TlsAcceptor, TlsConnector, certificates, private_key, provider, server_config,
};
use bayeux::tcp::{
    Client, ClientConfig as TcpClientConfig, ListenOptions, Listener, StreamOptions,
};

use crate::common::certificates::file;
use crate::support::{PATIENCE, Peer, Seen, Talker, World};

fn server_tls(name: &str) -> Arc<ServerConfig> {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    server_config(&file(&certificate), &file(&key), &[]).unwrap()
}

fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots
        .add(certificates(&file("root.pem")).unwrap().remove(0))
        .unwrap();
    Arc::new(roots)
}

fn client_tls(with_certificate: bool) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots());
    Arc::new(if with_certificate {
        let chain = certificates(&file("client.pem")).unwrap();
        let key = private_key(&file("client.key")).unwrap();
        config.with_client_auth_cert(chain, key).unwrap()
    } else {
        config.with_no_client_auth()
    })
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A server of talkers behind TLS, and what can replace its certificate.
fn tls_world() -> (World, Arc<TlsAcceptor>) {
    let acceptor = Arc::new(TlsAcceptor::new(server_tls("server")));
    let step = Arc::clone(&acceptor);
    let world = World::new(|config| {
        config.reactor.pre_connect = vec![step];
        config.reactor.write_buffer = 32 << 20;
    });
    (world, acceptor)
}

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

fn connect(address: SocketAddr) -> TlsStream {
    over(TcpStream::connect(address).unwrap())
}

fn over(socket: TcpStream) -> TlsStream {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    let tls = ClientConnection::new(client_tls(false), localhost()).unwrap();
    StreamOwned::new(tls, socket)
}

fn line(stream: &mut TlsStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).unwrap()
}

fn input(world: &World) -> String {
    loop {
        if let Seen::Input(line) = world.next() {
            return line;
        }
    }
}

#[test]
fn lines_and_an_orderly_end() {
    let (world, _) = tls_world();
    let mut peer = connect(world.address);
    peer.write_all(b"hello\r\nblock 5000000\r\nquit\r\n")
        .unwrap();
    assert_eq!(line(&mut peer), "hello");
    let mut rest = Vec::new();
    // Fails unless the end is announced by close_notify.
    peer.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 5_000_002 + 5);
    assert!(rest.ends_with(b"x\r\nbye\r\n"));
    drop(peer);
    assert_eq!(world.disconnected(), CloseReason::Closed);
    // More than plain text: the handshake and the records are counted as well.
    assert!(world.server.stats().bytes_out > 5_000_500);
}

#[test]
fn each_direction_ends_by_itself() {
    let (world, _) = tls_world();
    let mut peer = connect(world.address);
    peer.write_all(b"finish\r\n").unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    peer.write_all(b"flush\r\n").unwrap();
    assert_eq!(input(&world), "finish");
    assert_eq!(input(&world), "flush");
    peer.conn.send_close_notify();
    peer.flush().unwrap();
    while !matches!(world.next(), Seen::End) {}
    assert_eq!(world.disconnected(), CloseReason::PeerClosed);
}

#[test]
fn a_stream_that_is_cut_short_is_no_orderly_end() {
    let (world, _) = tls_world();
    let mut peer = connect(world.address);
    peer.write_all(b"hello\r\n").unwrap();
    assert_eq!(line(&mut peer), "hello");
    peer.sock.shutdown(Shutdown::Write).unwrap();
    let cut = CloseReason::Failed(std::io::ErrorKind::UnexpectedEof);
    assert_eq!(world.disconnected(), cut);
}

#[test]
fn slow_and_wrong_handshakes() {
    let step = Arc::new(TlsAcceptor::new(server_tls("server")));
    let clock = ManualClock::new();
    let world = World::new(|config| {
        config.reactor.clock = Arc::new(clock.clone());
        config.reactor.pre_connect = vec![step];
        config.reactor.pre_connect_timeout = Duration::from_millis(50);
    });
    let mut good = connect(world.address);
    good.write_all(b"before\r\n").unwrap();
    assert_eq!(line(&mut good), "before");
    // The beginning of a record, and nothing at all.
    let mut slow = [world.connect(), world.connect()];
    slow[0].send([22, 3, 1, 2, 0, 1, 0]);
    world.wait_for("the timeouts", |stats| {
        clock.advance(Duration::from_millis(1));
        stats.open_timeouts == 2
    });
    for slow in &mut slow {
        assert_eq!(slow.rest(), b"", "closed without a word");
    }
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0; 100],
        &[22, 3, 1, 0xff, 0xff, 9],
    ] {
        let mut peer: Peer = world.connect();
        peer.send(garbage);
        let answer = peer.rest();
        assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
    }
    world.wait_for("the failures", |stats| stats.failed == 3);
    good.write_all(b"after\r\n").unwrap();
    assert_eq!(line(&mut good), "after");
    assert_eq!(world.server.stats().opened, 1);
}

#[test]
fn input_that_is_not_wanted_stops_the_peer() {
    let (world, _) = tls_world();
    let mut peer = connect(world.address);
    peer.write_all(b"pause\r\n").unwrap();
    let connection = world.connected();
    assert_eq!(input(&world), "pause");
    const LINES: usize = 20_000;
    let sender = std::thread::spawn(move || {
        let line = format!("{}\r\n", "y".repeat(900));
        for _ in 0..LINES {
            peer.write_all(line.as_bytes()).unwrap();
        }
        peer
    });
    assert!(world.is_quiet());
    assert!(world.server.stats().bytes_in < (1 << 20));
    connection.post("resume".into()).unwrap();
    for _ in 0..LINES {
        assert_eq!(input(&world).len(), 900);
    }
    drop(sender.join().unwrap());
}

#[test]
fn behind_a_proxy() {
    let world = World::new(|config| {
        config.reactor.pre_connect = vec![
            Arc::new(ProxyProtocol::new(["127.0.0.0/8".parse().unwrap()])),
            Arc::new(TlsAcceptor::new(server_tls("server"))),
        ];
    });
    let header = b"PROXY TCP4 10.1.2.3 127.0.0.1 4321 80\r\n";
    for piecemeal in [false, true] {
        let mut tls = ClientConnection::new(client_tls(false), localhost()).unwrap();
        let mut first = header.to_vec();
        tls.write_tls(&mut first).unwrap();
        let mut socket = TcpStream::connect(world.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let size = if piecemeal { 1 } else { first.len() };
        for piece in first.chunks(size) {
            socket.write_all(piece).unwrap();
        }
        let mut peer = StreamOwned::new(tls, socket);
        peer.write_all(b"hello\r\n").unwrap();
        assert_eq!(line(&mut peer), "hello");
        let Seen::Connected(_, address) = world.next() else {
            panic!("not connected")
        };
        assert_eq!(address.to_string(), "10.1.2.3:4321");
        drop(peer);
        world.disconnected();
    }
}

#[test]
fn certificates_on_both_sides() {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(), provider())
        .build()
        .unwrap();
    let tls = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            certificates(&file("server.pem")).unwrap(),
            private_key(&file("server.key")).unwrap(),
        )
        .unwrap();
    let step = Arc::new(TlsAcceptor::new(Arc::new(tls)));
    let world = World::new(|config| config.reactor.pre_connect = vec![step]);
    let target = world.address.to_string();
    let start = |with_certificate, name| {
        let mut config = TcpClientConfig::default();
        let step = TlsConnector::new(client_tls(with_certificate), name);
        config.connect.pre_connect = Arc::new([Arc::new(step) as Arc<dyn PreConnect>]);
        let (sender, seen) = channel();
        (
            Client::start(&config, &target, Talker::new(&sender)).unwrap(),
            seen,
        )
    };
    let (client, seen) = start(true, localhost());
    client.post("count".into()).unwrap();
    loop {
        if let Seen::Input(line) = seen.recv_timeout(PATIENCE).unwrap() {
            assert_eq!(line, "1");
            break;
        }
    }
    drop(client);
    let opened = world.server.stats().opened;
    // No certificate of its own; a server of another name.
    for (with_certificate, name) in [(false, "localhost"), (true, "elsewhere.example")] {
        let failed = world.server.stats().failed;
        let (_client, _seen) = start(with_certificate, ServerName::try_from(name).unwrap());
        world.wait_for("the failure", |stats| stats.failed > failed);
    }
    assert_eq!(world.server.stats().opened, opened);
}

#[test]
fn a_certificate_is_replaced_under_way() {
    let (world, acceptor) = tls_world();
    let mut old = connect(world.address);
    old.write_all(b"one\r\n").unwrap();
    assert_eq!(line(&mut old), "one");
    acceptor.replace(server_tls("renewed"));
    let mut new = connect(world.address);
    for (peer, name) in [(&mut old, "server.pem"), (&mut new, "renewed.pem")] {
        peer.write_all(b"two\r\n").unwrap();
        assert_eq!(line(peer), "two");
        let shown = peer.conn.peer_certificates().unwrap().to_vec();
        assert_eq!(shown, certificates(&file(name)).unwrap());
    }
}

#[test]
fn what_is_wrong_with_the_files_is_said() {
    let directory = std::env::temp_dir().join(format!("bayeux-tls-{}", std::process::id()));
    for (certificate, key, said) in [
        (directory.clone(), file("server.key"), "cannot read"),
        (
            file("server.key"),
            file("server.key"),
            "server.key has no certificate in PEM form",
        ),
        (
            file("server.pem"),
            file("root.pem"),
            "root.pem has no private key in PEM form",
        ),
        (
            file("server.pem"),
            file("make"),
            "make has no private key in PEM form",
        ),
        (
            file("server.pem"),
            file("renewed.key"),
            "renewed.key is not the key of the certificate",
        ),
    ] {
        let error = server_config(&certificate, &key, &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// Writes a little at a time until something waits, and insists on what `pending_write` promises.
struct Writer {
    seen: Sender<Written>,
    written: u64,
}

#[derive(Debug, PartialEq)]
enum Written {
    Stuck(u64),
    Drained,
    Closed(CloseReason),
}

/// Small against what TLS keeps for itself.
const PIECE: [u8; 700] = [b'z'; 700];

impl Service for Writer {
    type Conn = ();

    fn open(&mut self, _io: &mut Io<'_>) -> Result<(), Refuse> {
        Ok(())
    }

    fn input(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
        if self.written > 0 {
            return input.len();
        }
        while io.pending_write() == 0 {
            io.write(&PIECE).unwrap();
            self.written += PIECE.len() as u64;
            if io.pending_write() == 0 {
                assert!(io.bytes_out() >= self.written, "the kernel has all of it");
            }
        }
        let full = io.write(&PIECE);
        assert!(matches!(full, Err(WriteError::Full { pending: 1.., .. })));
        let _ = self.seen.send(Written::Stuck(self.written));
        input.len()
    }

    fn drained(&mut self, _conn: &mut (), io: &mut Io<'_>) {
        assert_eq!(io.pending_write(), 0);
        let _ = self.seen.send(Written::Drained);
    }

    fn closed(&mut self, _conn: (), reason: CloseReason) {
        let _ = self.seen.send(Written::Closed(reason));
    }
}

/// A server that has written to a peer until that took no more.
fn stuck(write_timeout: Duration) -> (Reactor, Receiver<Written>, TlsStream, u64) {
    let (seen, written) = channel();
    let config = Config {
        threads: 1,
        write_buffer: 0,
        write_timeout: Some(write_timeout),
        pre_connect: vec![Arc::new(TlsAcceptor::new(server_tls("server")))],
        ..Config::default()
    };
    // The kernel takes all that it can, so that only a peer that reads makes it take more.
    let options = ListenOptions {
        stream: StreamOptions {
            max_unsent: None,
            ..StreamOptions::default()
        },
        ..ListenOptions::default()
    };
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &options).unwrap();
    let reactor = Reactor::start(&config, vec![listener], |_, _| Writer {
        seen: seen.clone(),
        written: 0,
    })
    .unwrap();
    let mut peer = connect(reactor.local_addrs()[0].inet().unwrap());
    peer.write_all(b"!").unwrap();
    let Written::Stuck(bytes) = written.recv_timeout(PATIENCE).unwrap() else {
        panic!("not stuck")
    };
    (reactor, written, peer, bytes)
}

#[test]
fn what_tls_holds_is_waiting() {
    let (_reactor, written, mut peer, bytes) = stuck(PATIENCE);
    let moment = Duration::from_millis(100);
    assert!(written.recv_timeout(moment).is_err(), "it still waits");
    let mut taken = vec![0; usize::try_from(bytes).unwrap()];
    peer.read_exact(&mut taken).unwrap();
    assert_eq!(written.recv_timeout(PATIENCE).unwrap(), Written::Drained);
}

#[test]
fn what_tls_holds_has_a_deadline() {
    let (_reactor, written, _peer, _) = stuck(Duration::from_millis(200));
    let end = written.recv_timeout(PATIENCE).unwrap();
    assert_eq!(end, Written::Closed(CloseReason::WriteTimeout));
}

#[test]
fn what_tls_holds_is_sent_when_the_peer_speaks_meanwhile() {
    let (_reactor, written, mut peer, bytes) = stuck(PATIENCE);
    // Whether the server looks at its input or at the free buffer first is up to the poller.
    let mut left = usize::try_from(bytes).unwrap();
    let mut buffer = vec![0; 16 << 10];
    while left > 0 {
        peer.write_all(b"?").unwrap();
        let n = peer.read(&mut buffer).unwrap();
        left -= n;
    }
    assert_eq!(written.recv_timeout(PATIENCE).unwrap(), Written::Drained);
}
