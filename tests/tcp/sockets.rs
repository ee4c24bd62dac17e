//! What is set on sockets, and what a connection tells about itself.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bayeux::tcp::codec::{LineDecoder, LineEncoder};
use bayeux::tcp::reactor::{AcceptLoop, Accepted, Config};
use bayeux::tcp::{
    Address, Context, Handler, ListenOptions, Listener, Server, ServerConfig, StreamOptions,
};

use crate::common::wait::eventually;
use crate::support::{PATIENCE, Peer};

fn local() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// Accepts on a listener.
fn accepting(listener: Listener) -> (AcceptLoop, Receiver<Accepted>) {
    let (sender, accepted) = channel();
    let hand_over = move |connection| drop(sender.send(connection));
    let acceptor = AcceptLoop::start(&Config::default(), vec![listener], hand_over).unwrap();
    (acceptor, accepted)
}

/// A connection as the server's side has it.
fn accepted(listener: Listener) -> Accepted {
    let (acceptor, accepted) = accepting(listener);
    let address = acceptor.local_addrs()[0].inet().unwrap();
    let _peer = TcpStream::connect(address).unwrap();
    accepted.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn options_reach_the_connections() {
    let connection = accepted(Listener::bind(&local(), &ListenOptions::default()).unwrap());
    assert!(connection.socket.tcp_nodelay().unwrap());
    assert!(!connection.socket.keepalive().unwrap());

    let options = ListenOptions {
        stream: StreamOptions {
            nodelay: false,
            keepalive: Some(Duration::from_secs(77)),
            ..StreamOptions::default()
        },
        ..ListenOptions::default()
    };
    let connection = accepted(Listener::bind(&local(), &options).unwrap());
    assert!(!connection.socket.tcp_nodelay().unwrap());
    assert!(connection.socket.keepalive().unwrap());
    let idle = connection.socket.tcp_keepalive_time().unwrap();
    assert_eq!(idle, Duration::from_secs(77));
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernel_takes_little_for_a_peer_that_does_not_read() {
    let taken = |max_unsent| {
        let options = ListenOptions {
            stream: StreamOptions {
                max_unsent,
                ..StreamOptions::default()
            },
            ..ListenOptions::default()
        };
        let (acceptor, accepted) = accepting(Listener::bind(&local(), &options).unwrap());
        let address = acceptor.local_addrs()[0].inet().unwrap();
        let _peer = TcpStream::connect(address).unwrap();
        let connection = accepted.recv_timeout(PATIENCE).unwrap();
        connection.socket.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while let Ok(more) = (&connection.socket).write(&[0; 64 << 10]) {
            taken += more;
        }
        taken
    };
    let (little, much) = (taken(Some(32 << 10)), taken(None));
    assert!(little + (512 << 10) < much, "{little} and {much} bytes");
}

#[test]
fn a_hook_sets_everything_else_and_may_refuse() {
    let options = ListenOptions {
        hook: Some(Arc::new(|socket| socket.set_ttl_v4(42))),
        ..ListenOptions::default()
    };
    let listener = Listener::bind(&local(), &options).unwrap();
    let connection = accepted(listener);
    assert_eq!(connection.socket.ttl_v4().unwrap(), 42);

    let options = ListenOptions {
        hook: Some(Arc::new(|_| Err(ErrorKind::Unsupported.into()))),
        ..ListenOptions::default()
    };
    let error = Listener::bind(&local(), &options).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::Unsupported);
}

#[cfg(target_os = "linux")]
#[test]
fn a_port_can_be_shared_if_both_want_it() {
    let shared = ListenOptions {
        reuse_port: true,
        ..ListenOptions::default()
    };
    let first = Listener::bind(&local(), &shared).unwrap();
    let second = Listener::bind(first.local_addr(), &shared).unwrap();
    let error = Listener::bind(first.local_addr(), &ListenOptions::default()).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    // Between the two every connection finds one.
    let address = first.local_addr().inet().unwrap();
    let (one, two) = (accepting(first), accepting(second));
    let peers: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    eventually("all are accepted", || {
        one.0.stats().accepted + two.0.stats().accepted == 20
    });
    drop(peers);
}

#[cfg(target_os = "linux")]
#[test]
fn a_port_can_be_taken_again_although_old_connections_linger() {
    let listener = Listener::bind(&local(), &ListenOptions::default()).unwrap();
    let address = listener.local_addr().clone();
    let (acceptor, accepted) = accepting(listener);
    let peer = TcpStream::connect(address.inet().unwrap()).unwrap();
    // Who closes first keeps the port in TIME_WAIT.
    drop(accepted.recv_timeout(PATIENCE).unwrap());
    drop((peer, acceptor));
    let strict = ListenOptions {
        reuse_address: false,
        ..ListenOptions::default()
    };
    let error = Listener::bind(&address, &strict).unwrap_err();
    assert_eq!(error.source.kind(), ErrorKind::AddrInUse);
    // A process that a test beside this one is just starting has the listener too, until it is on
    // its way with a program of its own.
    eventually("the port to be free", || {
        Listener::bind(&address, &ListenOptions::default()).is_ok()
    });
}

#[test]
fn names_are_resolved_and_sockets_taken_over() {
    let listeners = Listener::bind_all("localhost:0", &ListenOptions::default()).unwrap();
    assert!(!listeners.is_empty());
    for listener in &listeners {
        let address = listener.local_addr();
        assert!(address.ip().unwrap().is_loopback(), "{address}");
        assert_ne!(address.port(), Some(0));
    }
    let error = Listener::bind_all("no name:1", &ListenOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = bound.local_addr().unwrap();
    let listener = Listener::from_std(bound, &ListenOptions::default()).unwrap();
    assert_eq!(listener.local_addr().inet(), Some(address));
    assert!(accepted(listener).socket.tcp_nodelay().unwrap());
}

/// Tells what the context tells.
struct Witness;

impl Handler for Witness {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = ();

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        Default::default()
    }

    fn input(&mut self, line: String, ctx: &mut Context<'_, Self>) {
        let text = match line.as_str() {
            "peer" => ctx.peer_addr().to_string(),
            "local" => ctx.local_addr().unwrap().to_string(),
            "listener" => format!("{:?}", ctx.listener()),
            "bytes" => format!("{} in, {} out", ctx.bytes_in(), ctx.bytes_out()),
            "id" => {
                let list = ctx.connections().unwrap();
                let own = list.get(ctx.id()).unwrap();
                format!("{} of {}", own.id() == ctx.connection().id(), list.len())
            }
            "age" => {
                let age = ctx.now().duration_since(ctx.opened_at());
                format!("{}", age < PATIENCE)
            }
            _ => {
                let before = ctx.is_closing();
                ctx.shutdown();
                assert!(!before && ctx.is_closing());
                return;
            }
        };
        ctx.send(&text).unwrap();
    }
}

#[test]
fn a_connection_knows_all_about_itself() {
    let listeners = vec![
        Listener::bind(&local(), &ListenOptions::default()).unwrap(),
        Listener::bind(&local(), &ListenOptions::default()).unwrap(),
    ];
    let server = Server::start(&ServerConfig::default(), listeners, |_| Witness).unwrap();
    let address = server.local_addrs()[1].inet().unwrap();
    let mut peer = Peer::connect(address);
    let own = peer.socket().local_addr().unwrap();
    for (ask, answer) in [
        ("peer", own.to_string()),
        ("local", address.to_string()),
        ("listener", "Some(1)".into()),
        ("id", "true of 1".into()),
        ("age", "true".into()),
    ] {
        peer.send(format!("{ask}\r\n"));
        assert_eq!(peer.line(), answer, "{ask}");
    }
    let out = own.to_string().len() + address.to_string().len() + "Some(1)true of 1true".len();
    let come = "peer\r\nlocal\r\nlistener\r\nid\r\nage\r\nbytes\r\n".len();
    peer.send("bytes\r\n");
    assert_eq!(peer.line(), format!("{come} in, {} out", out + 5 * 2));
    peer.send("end\r\n");
    assert_eq!(peer.rest(), b"");
}
