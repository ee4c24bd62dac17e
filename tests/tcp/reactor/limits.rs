//! The reactor as a whole: limits, listeners, distribution, stopping.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use bayeux::tcp::reactor::{AcceptLoop, Accepted, CloseReason, Config, Reactor};
use bayeux::tcp::{Address, ListenOptions, Listener};
use bayeux::{Clock, SystemClock};

use crate::common::ports::closed;
use crate::support::probe::{Probe, Seen, World, local, read_line, read_to_end};
use crate::support::{PATIENCE, is_without_ipv6};

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
fn a_busy_listener_does_not_keep_who_waits_at_another() {
    let listeners = (0..3).map(|_| Listener::bind(&local(), &ListenOptions::default()).unwrap());
    let config = Config {
        max_connections: Some(0),
        ..Config::default()
    };
    let (accepted, connections) = mpsc::channel();
    let accept = move |connection: Accepted| drop(accepted.send(connection));
    let acceptor = AcceptLoop::start(&config, listeners.collect(), accept).unwrap();
    let connect = |door: &Address| TcpStream::connect(door.inet().unwrap()).unwrap();
    let doors = acceptor.local_addrs();
    let _crowd: Vec<TcpStream> = (0..8).flat_map(|_| doors.iter().map(connect)).collect();
    acceptor.set_max_connections(Some(1));
    let mut served: Vec<usize> = (0..6)
        .map(|_| connections.recv_timeout(PATIENCE).unwrap().listener)
        .collect();
    served.sort_unstable();
    assert_eq!(served, [0, 0, 1, 1, 2, 2]);
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
    closed(address);
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

/// A clock that fails on the first I/O thread when it is told to.
#[derive(Default)]
struct Broken(AtomicBool);

impl Clock for Broken {
    fn now(&self) -> Instant {
        let is_first = std::thread::current().name() == Some("tcp-io-0");
        let fails = is_first && self.0.load(Ordering::SeqCst);
        assert!(!fails, "as the test wants it");
        SystemClock.now()
    }

    fn wall(&self) -> SystemTime {
        SystemClock.wall()
    }
}

#[test]
fn a_thread_that_is_lost_gets_no_more_connections() {
    let clock = Arc::new(Broken::default());
    let world = World::new(|config| {
        config.threads = 2;
        config.clock = clock.clone();
    });
    let mut lost = world.connect();
    world.opened();
    clock.0.store(true, Ordering::SeqCst);
    lost.write_all(b"echo nothing\n").unwrap();
    assert_eq!(lost.read(&mut [0]).unwrap_or(0), 0);
    let served = || {
        let mut client = world.connect();
        let mut line = [0; 7];
        let asked = client.write_all(b"echo served\n");
        asked.and_then(|()| client.read_exact(&mut line))?;
        assert_eq!(&line, b"served\n");
        Ok(())
    };
    // One that comes while the thread ends is closed at once, and none waits in vain.
    let (mut in_a_row, mut closed) = (0, 0);
    while in_a_row < 4 {
        match served() {
            Ok(()) => in_a_row += 1,
            Err(error) => {
                let error: std::io::Error = error;
                assert_ne!(error.kind(), ErrorKind::WouldBlock);
                (in_a_row, closed) = (0, closed + 1);
                assert!(closed < 100, "{error}");
            }
        }
    }
    assert_eq!(world.reactor.stop(PATIENCE).stuck, 0);
}

#[test]
fn both_families_on_one_port() {
    if is_without_ipv6("both_families_on_one_port") {
        return;
    }
    let v6 = "[::]:0".parse().unwrap();
    let either = ListenOptions {
        only_v6: Some(false),
        ..Default::default()
    };
    let both = Listener::bind(&v6, &either).unwrap();
    let port = both.local_addr().port().unwrap();
    let (seen, receiver) = mpsc::channel();
    let reactor = Reactor::start(&Config::default(), vec![both], |_, waker| Probe {
        seen: seen.clone(),
        dirty: Vec::new(),
        waker,
    })
    .unwrap();
    for peer in ["127.0.0.1", "::1"] {
        let mut stream = TcpStream::connect((peer, port)).unwrap();
        stream.write_all(b"peer\n").unwrap();
        let shown: std::net::SocketAddr = read_line(&mut stream).parse().unwrap();
        assert_eq!(shown, stream.local_addr().unwrap());
    }
    drop((reactor, receiver));
    let alone = ListenOptions {
        only_v6: Some(true),
        ..Default::default()
    };
    let only_v6 = Listener::bind(&v6, &alone).unwrap();
    let port = only_v6.local_addr().port().unwrap();
    closed(([127, 0, 0, 1], port).into());
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

#[test]
fn a_unix_socket_in_use_is_told_from_a_stale_one_without_waiting() {
    let name = format!("bayeux-tcp-busy-{}.sock", std::process::id());
    let path = std::env::temp_dir().join(name);
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    let options = ListenOptions {
        backlog: 0,
        ..ListenOptions::default()
    };
    let _busy = Listener::bind(&address, &options).unwrap();
    // Nobody accepts, and one fills the backlog.
    let _waiting = UnixStream::connect(&path).unwrap();
    let (done, result) = mpsc::channel();
    std::thread::spawn(move || {
        let bound = Listener::bind(&address, &ListenOptions::default());
        let _ = done.send(bound.map_err(|error| error.source.kind()));
    });
    let result = result.recv_timeout(PATIENCE).unwrap();
    assert_eq!(result.unwrap_err(), ErrorKind::AddrInUse);
    assert!(path.exists());
}
