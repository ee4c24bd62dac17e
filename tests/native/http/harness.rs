//! A server on a free port and a client that speaks raw bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bayeux::AllowedHost;
use bayeux::NativeConfig;
use bayeux::SiteConfig;
use bayeux::connector::native::{Running, start};
use bayeux::connector::site::Site;
use bayeux::tcp::{Address, ListenOptions, Listener};
use bayeux::{Broker, BrokerConfig};
use bayeux::{Clock, SystemClock};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::common::wait::{NEVER, PATIENCE, eventually};

/// What the tests change of the defaults.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) broker: BrokerConfig,
    pub(crate) site: SiteConfig,
    pub(crate) native: NativeConfig,
}

pub(crate) struct Server {
    pub(crate) broker: Broker,
    pub(crate) running: Running,
    address: SocketAddr,
}

impl Server {
    pub(crate) fn start(change: impl FnOnce(&mut Settings)) -> Self {
        Self::start_with(Arc::new(SystemClock), change)
    }

    /// With another clock for the broker.
    pub(crate) fn start_with(
        broker_clock: Arc<dyn Clock>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings::default();
        // The tests name whom they like.
        settings.site.allowed_hosts = vec![AllowedHost::any()];
        settings.broker.max_sessions_per_browser = None;
        settings.native.header_timeout = NEVER;
        settings.native.body_timeout = NEVER;
        settings.native.idle_timeout = NEVER;
        settings.native.write_timeout = NEVER;
        settings.native.io_threads = 2;
        change(&mut settings);
        let clock = Arc::new(SystemClock);
        let broker = Broker::start(settings.broker, broker_clock, None).unwrap();
        let site = Site::new(settings.site, broker.clone(), clock.clone()).unwrap();
        let address: Address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(&address, &ListenOptions::default()).unwrap();
        let running = start(settings.native, vec![listener], Arc::new(site), clock).unwrap();
        let address = running.local_addrs()[0].inet().unwrap();
        Self {
            broker,
            running,
            address,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).unwrap())
    }

    /// A connection whose client takes little ahead of what it reads.
    pub(crate) fn connect_narrow(&self) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&self.address.into()).unwrap();
        Client::new(socket.into())
    }

    /// A session that has connected once, subscribed to the channel.
    pub(crate) fn session(&self, channel: &str) -> Session {
        let mut client = self.connect();
        let handshake = json!([{
            "channel": "/meta/handshake", "version": "1.0",
            "supportedConnectionTypes": ["long-polling"]
        }]);
        let id = client.post(&handshake).json()[0]["clientId"]
            .as_str()
            .unwrap()
            .to_owned();
        let session = Session { id };
        let subscribe = json!([{
            "channel": "/meta/subscribe", "clientId": session.id, "subscription": channel
        }]);
        assert_eq!(client.post(&subscribe).json()[0]["successful"], true);
        client.send(&session.connect(&json!({"advice": {"timeout": 0}})));
        assert_eq!(client.response().json()[0]["successful"], true);
        session
    }

    /// Waits until so many connections are open.
    pub(crate) fn settle(&self, open: usize) {
        eventually("connections open", || {
            self.running.stats().connections.open == open
        });
    }
}

pub(crate) struct Session {
    pub(crate) id: String,
}

impl Session {
    /// The bytes of a connect.
    pub(crate) fn connect(&self, more: &Value) -> Vec<u8> {
        let mut message = json!({
            "channel": "/meta/connect", "clientId": self.id, "connectionType": "long-polling"
        });
        for (key, value) in more.as_object().unwrap() {
            message[key] = value.clone();
        }
        post(&json!([message]))
    }

    /// The bytes of a publish.
    pub(crate) fn publish(&self, channel: &str, data: impl Into<Value>) -> Vec<u8> {
        post(&json!([{"channel": channel, "clientId": self.id, "data": data.into(), "id": "p"}]))
    }
}

/// The bytes of a request.
pub(crate) fn post(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!(
        "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.head);
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The `data` of the messages that were delivered.
    pub(crate) fn data(&self) -> Vec<Value> {
        let all = self.json();
        let delivered = all
            .as_array()
            .unwrap()
            .iter()
            .filter(|m| m.get("data").is_some());
        delivered.map(|message| message["data"].clone()).collect()
    }

    pub(crate) fn closes(&self) -> bool {
        self.head.contains("\r\nConnection: close\r\n")
    }
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn post(&mut self, body: &Value) -> Response {
        self.send(&post(body));
        self.response()
    }

    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next response, interim ones too.
    pub(crate) fn response(&mut self) -> Response {
        self.try_response()
            .expect("a response, not the end of the connection")
    }

    /// The next response; `None` if the connection ends first.
    pub(crate) fn try_response(&mut self) -> Option<Response> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                assert!(self.read.is_empty(), "the connection ended inside a head");
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            if !self.fill() {
                self.read.clear();
                return None;
            }
        }
        let body = self.read.drain(..length).collect();
        Some(Response { status, head, body })
    }

    fn fill(&mut self) -> bool {
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(0) => false,
            Ok(n) => {
                self.read.extend_from_slice(&piece[..n]);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Whether the connection ends without another byte.
    pub(crate) fn ends_silently(&mut self) -> bool {
        self.read.is_empty() && !self.fill()
    }

    /// Whether nothing comes, not even the end, for so long.
    pub(crate) fn is_silent(&mut self, millis: u64) -> bool {
        if !self.read.is_empty() {
            return false;
        }
        self.stream
            .set_read_timeout(Some(Duration::from_millis(millis)))
            .unwrap();
        let silent = self.stream.peek(&mut [0]).is_err();
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }
}
