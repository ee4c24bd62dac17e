//! Requests that are parked, of one connection and of several.

use std::io::Read;
use std::net::TcpStream;

use serde_json::Value;

use super::*;
use crate::broker::{Broker, BrokerConfig};
use crate::clock::SystemClock;
use crate::http::SiteConfig;
use crate::protocol::{Publication, Publisher};

const PATIENCE: Duration = Duration::from_secs(30);

/// The connector, with a broker that holds connects for as long as the test lasts.
struct World {
    broker: Broker,
    running: TinyHttp,
}

impl World {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = BrokerConfig {
            timeout: 100 * PATIENCE,
            max_sessions_per_browser: None,
            ..BrokerConfig::default()
        };
        let broker = Broker::start(config, Arc::clone(&clock), None).unwrap();
        let site = Site::new(SiteConfig::default(), broker.clone(), Arc::clone(&clock));
        let site = Arc::new(site.unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let running = TinyHttp::start(4, PATIENCE, vec![listener], &site, &clock).unwrap();
        Self { broker, running }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.running.local_addrs()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A session that has connected once, on that connection.
    fn session(&self, stream: &mut TcpStream) -> ClientId {
        send(stream, r#"{"channel":"/meta/handshake"}"#);
        let replies = answer(stream);
        let id = ClientId::parse(replies[0]["clientId"].as_str().unwrap()).unwrap();
        connect(stream, &id);
        assert_eq!(answer(stream)[0]["successful"], true);
        id
    }

    fn push(&self, id: ClientId, data: &str) {
        let message = Publication::new(&"/a".try_into().unwrap(), data, Publisher::Nobody);
        self.broker.push(id, message).unwrap();
    }

    fn until(&self, holds: impl Fn(&Broker) -> bool) {
        while !holds(&self.broker) {
            std::thread::yield_now();
        }
    }

    /// Stops it; nothing of any request may be left behind.
    fn ends(self) {
        let shared = Arc::clone(&self.running.shared);
        self.running.stop(PATIENCE);
        for shard in &shared.shards {
            let state = shard.state.lock();
            assert!(state.parked.is_empty() && state.unanswered.is_empty());
        }
    }
}

fn send(stream: &mut TcpStream, message: &str) {
    let head = "POST /cometd HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let length = message.len();
    write!(stream, "{head}Content-Length: {length}\r\n\r\n{message}").unwrap();
}

fn connect(stream: &mut TcpStream, id: &ClientId) {
    let message = format!(
        r#"{{"channel":"/meta/connect","clientId":"{}"}}"#,
        id.as_str()
    );
    send(stream, &message);
}

/// The messages of the next response.
fn answer(stream: &mut TcpStream) -> Value {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}]") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.extend(byte);
    }
    let begin = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    serde_json::from_slice(&bytes[begin + 4..]).unwrap()
}

#[test]
fn the_held_connects_of_one_connection_are_answered_in_turn() {
    let world = World::new();
    let mut stream = world.connect();
    let clients = [(); 3].map(|()| world.session(&mut stream));
    for (held, id) in clients.iter().enumerate() {
        connect(&mut stream, id);
        world.until(|broker| broker.stats().held == held as u64 + 1);
    }
    let [first, second, third] = clients;
    let other = &mut world.connect();
    // Another connection, of which the other shard may have charge, or the same.
    let neighbour = world.session(other);
    connect(other, &neighbour);
    world.push(second, "2");
    world.push(third, "3");
    world.push(neighbour, "0");
    assert_eq!(answer(other)[0]["data"], 0);
    world.push(first, "1");
    for data in 1..=3 {
        assert_eq!(answer(&mut stream)[0]["data"], data);
    }
    world.ends();
}

#[test]
fn a_client_may_come_by_several_connections() {
    let world = World::new();
    let (mut older, mut newer) = (world.connect(), world.connect());
    let id = world.session(&mut older);
    for _ in 0..20 {
        connect(&mut older, &id);
        world.until(|broker| broker.stats().held == 1);
        connect(&mut newer, &id);
        assert_eq!(answer(&mut older)[0]["successful"], false, "superseded");
        world.push(id, "1");
        assert_eq!(answer(&mut newer)[0]["data"], 1);
    }
    world.ends();
}
