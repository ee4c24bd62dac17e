//! Clients: connecting, failing, coming back, ending for good.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bayeux::ManualClock;
use bayeux::tcp::client::{Backoff, ConnectError, Retry};
use bayeux::tcp::codec::{LineDecoder, LineEncoder};
use bayeux::tcp::reactor::{AcceptLoop, CloseReason, Config};
use bayeux::tcp::{Client, ClientConfig, ClientHandler, Clients, Context, Handler, PostErrorKind};
use socket2::{Domain, Socket, Type};

use crate::common::wait::eventually;
use crate::support::{PATIENCE, Seen, World, listener};

#[derive(Debug, PartialEq)]
enum Told {
    Connected(usize),
    Failed(ConnectError),
    Input(String),
    Disconnected(CloseReason),
}

/// A message that keeps the thread busy until the gate is open.
const BLOCK: &str = "block the thread";
static GATE: Mutex<()> = Mutex::new(());

/// Counts its connections, and sends what is posted.
struct Caller {
    told: Sender<Told>,
    connections: usize,
    retry: Retry,
}

impl Handler for Caller {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = String;

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        Default::default()
    }

    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        self.connections += 1;
        let _ = self.told.send(Told::Connected(self.connections));
        assert!(ctx.connections().is_none());
    }

    fn input(&mut self, line: String, _ctx: &mut Context<'_, Self>) {
        let _ = self.told.send(Told::Input(line));
    }

    fn message(&mut self, message: String, ctx: &mut Context<'_, Self>) {
        if message == BLOCK {
            let _ = self.told.send(Told::Input(message));
            return drop(GATE.lock());
        }
        let _ = ctx.send(&message);
    }

    fn disconnected(&mut self, reason: CloseReason) {
        let _ = self.told.send(Told::Disconnected(reason));
    }
}

impl ClientHandler for Caller {
    fn connect_failed(&mut self, error: &ConnectError) -> Retry {
        let _ = self.told.send(Told::Failed(error.clone()));
        self.retry
    }

    fn after_disconnect(&mut self, _reason: CloseReason) -> Retry {
        self.retry
    }
}

fn caller(retry: Retry) -> (Caller, Receiver<Told>) {
    let (told, receiver) = mpsc::channel();
    (
        Caller {
            told,
            connections: 0,
            retry,
        },
        receiver,
    )
}

fn quick() -> ClientConfig {
    let (min, max) = (Duration::from_millis(10), Duration::from_millis(80));
    ClientConfig {
        backoff: Backoff {
            min,
            max,
            jitter_percent: 0,
        },
        ..ClientConfig::default()
    }
}

fn next(told: &Receiver<Told>) -> Told {
    told.recv_timeout(PATIENCE).unwrap()
}

/// The handler has ended for good, and told nothing more.
fn assert_dropped(told: &Receiver<Told>) {
    let end = told.recv_timeout(PATIENCE);
    assert_eq!(end, Err(RecvTimeoutError::Disconnected));
}

fn failed(told: Told) -> CloseReason {
    match told {
        Told::Failed(ConnectError::Failed { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn ended(client: &Client<impl ClientHandler>) {
    eventually("it has ended", || !client.is_running());
}

/// A port on which nobody listens, and which nobody else can get meanwhile.
fn closed_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn a_client_talks_and_comes_back_with_its_state() {
    let world = World::new(|_| {});
    let (handler, told) = caller(Retry::Now);
    let client = Client::start(&quick(), &world.address.to_string(), handler).unwrap();
    // Posted before there is a connection.
    client.post("hello".into()).unwrap();
    assert_eq!(next(&told), Told::Connected(1));
    assert_eq!(next(&told), Told::Input("hello".into()));
    client.post("quit".into()).unwrap();
    assert_eq!(next(&told), Told::Input("bye".into()));
    assert_eq!(next(&told), Told::Disconnected(CloseReason::PeerClosed));
    assert_eq!(next(&told), Told::Connected(2));
    client.post("abort".into()).unwrap();
    assert!(matches!(
        next(&told),
        Told::Disconnected(CloseReason::Failed(_))
    ));
    assert_eq!(next(&told), Told::Connected(3));
    client.post("last".into()).unwrap();
    client.shutdown();
    // The answer to it may still come, or not.
    let end = std::iter::from_fn(|| Some(next(&told))).find(|t| !matches!(t, Told::Input(_)));
    assert_eq!(end, Some(Told::Disconnected(CloseReason::Closed)));
    while !matches!(world.next(), Seen::Input(line) if line == "last") {}
    ended(&client);
    assert_eq!(
        client.post("x".into()).unwrap_err().kind,
        PostErrorKind::Closed
    );
    assert_dropped(&told);
}

#[test]
fn a_name_is_resolved_and_its_addresses_are_tried() {
    let world = World::new(|_| {});
    let (handler, told) = caller(Retry::Never);
    let target = format!("localhost:{}", world.address.port());
    let client = Client::start(&quick(), &target, handler).unwrap();
    assert_eq!(next(&told), Told::Connected(1));
    drop(client);

    let (handler, told) = caller(Retry::Never);
    let client = Client::start(&quick(), "no port given", handler).unwrap();
    let Told::Failed(ConnectError::Resolve(error)) = next(&told) else {
        panic!("it resolves")
    };
    assert_eq!(&*error.spec, "no port given");
    ended(&client);
}

#[test]
fn refused_connections_are_tried_again_with_growing_waits() {
    let (socket, address) = closed_port();
    let (handler, told) = caller(Retry::Backoff);
    let start = Instant::now();
    let client = Client::start(&quick(), &address.to_string(), handler).unwrap();
    for _ in 0..4 {
        let refused = CloseReason::Failed(ErrorKind::ConnectionRefused);
        assert_eq!(failed(next(&told)), refused);
    }
    // 10, 20 and 40 ms lie between the first four attempts.
    assert!(
        start.elapsed() >= Duration::from_millis(70),
        "{:?}",
        start.elapsed()
    );
    socket.listen(1).unwrap();
    while let Told::Failed(_) = told.recv_timeout(PATIENCE).unwrap() {}
    let _connection = socket.accept().unwrap();
    client.shutdown();
    assert_eq!(next(&told), Told::Disconnected(CloseReason::Closed));
}

#[test]
fn a_wait_begins_when_the_connection_is_lost() {
    let clock = Arc::new(ManualClock::new());
    let mut config = quick();
    config.reactor.clock = clock.clone();
    let clients = Clients::start(&config).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = server.local_addr().unwrap().to_string();
    let (handler, told) = caller(Retry::After(Duration::from_secs(10)));
    let _client = clients.connect(&target, handler);
    let (connection, _) = server.accept().unwrap();
    assert_eq!(next(&told), Told::Connected(1));
    // Meanwhile the thread has nothing to do, and does not look at the clock.
    clock.advance(Duration::from_secs(3600));
    drop(connection);
    let lost = Told::Disconnected(CloseReason::PeerClosed);
    assert_eq!(next(&told), lost);
    // Were it due, it would connect before the neighbour.
    let (neighbour, neighbour_told) = caller(Retry::Never);
    let neighbour = clients.connect(&target, neighbour);
    assert_eq!(next(&neighbour_told), Told::Connected(1));
    assert!(told.try_recv().is_err(), "it does not wait");
    clock.advance(Duration::from_secs(10));
    neighbour.reconnect();
    assert_eq!(next(&told), Told::Connected(2));
}

#[test]
fn a_wait_can_be_cut_short_and_ended() {
    let (_socket, address) = closed_port();
    let (handler, told) = caller(Retry::After(Duration::from_secs(3600)));
    let client = Client::start(&quick(), &address.to_string(), handler).unwrap();
    failed(next(&told));
    client.reconnect();
    failed(next(&told));
    client.shutdown();
    ended(&client);
    assert_dropped(&told);
}

#[test]
fn an_attempt_takes_no_longer_than_allowed() {
    // Nobody accepts, and the backlog is full: the next attempt gets no answer.
    let (silent, address) = closed_port();
    silent.listen(0).unwrap();
    let mut fillers = Vec::new();
    for _ in 0..4 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&address.into());
        fillers.push(filler);
    }
    let (handler, told) = caller(Retry::Never);
    let config = ClientConfig {
        connect_timeout: Duration::from_millis(80),
        ..quick()
    };
    let start = Instant::now();
    let client = Client::start(&config, &address.to_string(), handler).unwrap();
    assert_eq!(failed(next(&told)), CloseReason::OpenTimeout);
    assert!(start.elapsed() >= Duration::from_millis(80));
    ended(&client);
}

#[test]
fn an_attempt_may_take_for_ever() {
    let world = World::new(|_| {});
    let (handler, told) = caller(Retry::Never);
    let config = ClientConfig {
        connect_timeout: Duration::MAX,
        ..quick()
    };
    let client = Client::start(&config, &world.address.to_string(), handler).unwrap();
    assert_eq!(next(&told), Told::Connected(1));
    client.shutdown();
    assert_eq!(next(&told), Told::Disconnected(CloseReason::Closed));
}

#[test]
fn a_client_that_is_about_to_connect_does_so_once() {
    let clients = Clients::start(&quick()).unwrap();
    let world = World::new(|_| {});
    let (busy, busy_told) = caller(Retry::Never);
    let busy = clients.connect(&world.address.to_string(), busy);
    assert_eq!(next(&busy_told), Told::Connected(1));
    let gate = GATE.lock().unwrap();
    busy.post(BLOCK.into()).unwrap();
    assert_eq!(next(&busy_told), Told::Input(BLOCK.into()));

    // Both are found in one turn, when the thread is free again.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (handler, told) = caller(Retry::Never);
    let client = clients.connect(&target, handler);
    client.reconnect();
    drop(gate);
    let _connection = listener.accept().unwrap();
    assert_eq!(next(&told), Told::Connected(1));
    assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a second connection");
    client.shutdown();
    assert_eq!(next(&told), Told::Disconnected(CloseReason::Closed));
}

#[test]
fn many_clients_share_threads() {
    let world = World::new(|_| {});
    let clients = Clients::start(&quick()).unwrap();
    let (told, receiver) = mpsc::channel();
    let handles: Vec<Client<Caller>> = (0..50)
        .map(|_| {
            let handler = Caller {
                told: told.clone(),
                connections: 0,
                retry: Retry::Never,
            };
            clients.connect(&world.address.to_string(), handler)
        })
        .collect();
    for client in &handles {
        client.post("hello".into()).unwrap();
    }
    let mut answers = 0;
    while answers < 50 {
        answers += usize::from(matches!(next(&receiver), Told::Input(_)));
    }
    drop(handles);
    assert_eq!(clients.stats().opened, 50);
    assert_eq!(clients.shutdown(PATIENCE).stuck, 0);
    drop(told);
    let ends = receiver
        .iter()
        .filter(|told| matches!(told, Told::Disconnected(_)))
        .count();
    assert_eq!(ends, 50);
    let closed = world
        .seen
        .iter()
        .filter(|seen| matches!(seen, Seen::Disconnected(_)));
    assert_eq!(closed.take(50).count(), 50);
}

#[test]
fn dropping_a_client_with_its_own_threads_ends_it() {
    let world = World::new(|_| {});
    let (handler, told) = caller(Retry::Now);
    let client = Client::start(&quick(), &world.address.to_string(), handler).unwrap();
    assert_eq!(next(&told), Told::Connected(1));
    drop(client);
    assert!(matches!(next(&told), Told::Disconnected(_)));
    assert_dropped(&told);
}

#[test]
fn closing_a_client_waits_until_all_is_said() {
    let world = World::new(|_| {});
    let (handler, told) = caller(Retry::Now);
    let client = Client::start(&quick(), &world.address.to_string(), handler).unwrap();
    assert_eq!(next(&told), Told::Connected(1));
    for _ in 0..100 {
        client.post("one of many".into()).unwrap();
    }
    client.close(PATIENCE);
    assert_eq!(
        told.iter().last(),
        Some(Told::Disconnected(CloseReason::Closed))
    );
    let inputs = std::iter::from_fn(|| match world.next() {
        Seen::Disconnected(_) => None,
        other => Some(matches!(other, Seen::Input(_))),
    });
    assert_eq!(inputs.filter(|is_input| *is_input).count(), 100);
}

#[test]
fn a_panic_ends_the_client() {
    #[derive(Clone, Copy, PartialEq)]
    enum Clumsy {
        AtTheOpening,
        AtTheEnd,
    }

    impl Handler for Clumsy {
        type Decoder = LineDecoder;
        type Encoder = LineEncoder;
        type Message = ();

        fn codec(&mut self) -> (LineDecoder, LineEncoder) {
            assert!(*self != Self::AtTheOpening, "as the test wants it");
            Default::default()
        }

        fn input(&mut self, _line: String, _ctx: &mut Context<'_, Self>) {}

        fn disconnected(&mut self, _reason: CloseReason) {
            panic!("as the test wants it");
        }
    }

    impl ClientHandler for Clumsy {}

    for clumsy in [Clumsy::AtTheOpening, Clumsy::AtTheEnd] {
        let listening = listener();
        let address = listening.local_addr().to_string();
        let client = Client::start(&quick(), &address, clumsy).unwrap();
        let acceptor = AcceptLoop::start(&Config::default(), vec![listening], drop).unwrap();
        ended(&client);
        drop(acceptor);
    }
}
