//! A server in this process, and a WebSocket client that speaks raw frames, right or wrong.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bayeux::AllowedHost;
use bayeux::Config;
use bayeux::{Server, ServerBuilder};
use serde_json::{Value, json};

use super::wait::{NEVER, PATIENCE, until_numbers};

/// Long enough to see that something does not come.
pub(crate) const A_WHILE: Duration = Duration::from_millis(150);

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::built(change, |builder| builder)
    }

    pub(crate) fn built(
        change: impl FnOnce(&mut Config),
        build: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let mut config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            demo: Some(false),
            workers: 2,
            ..Config::default()
        };
        // The tests name whom they like.
        config.site.allowed_hosts = vec![AllowedHost::any()];
        config.broker.timeout = NEVER;
        config.broker.max_interval = NEVER;
        config.native.body_timeout = NEVER;
        config.native.write_timeout = NEVER;
        config.native.io_threads = 2;
        change(&mut config);
        let server = build(Server::builder().config(config)).start().unwrap();
        let address = server.local_addrs()[0];
        Self { server, address }
    }

    /// A socket without a session.
    pub(crate) fn socket(&self) -> Socket {
        self.tcp().upgraded()
    }

    /// A connection.
    pub(crate) fn tcp(&self) -> Socket {
        Socket::open(self.address)
    }

    /// A socket with a session that has connected, and is subscribed to the channel.
    pub(crate) fn client(&self, channel: &str) -> Client {
        let mut client = self.unconnected();
        client.socket.tell(&client.connect(0));
        assert_eq!(client.socket.item()["successful"], true);
        client.subscribe(channel);
        client
    }

    pub(crate) fn unconnected(&self) -> Client {
        let mut socket = self.socket();
        let id = socket.handshake();
        Client { socket, id }
    }

    pub(crate) fn publish(&self, channel: &str, data: &Value) -> usize {
        self.server.broker().publish(channel, data).unwrap()
    }

    /// Waits for the server's numbers to become what they should be.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&bayeux::ServerStats) -> bool) {
        until_numbers(what, || self.server.stats(), holds);
    }
}

pub(crate) const UPGRADE: &str = "GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A session on a socket.
pub(crate) struct Client {
    pub(crate) socket: Socket,
    pub(crate) id: String,
}

impl Client {
    pub(crate) fn connect(&self, timeout: u64) -> Value {
        json!({"channel": "/meta/connect", "clientId": self.id, "id": "c",
            "connectionType": "websocket", "advice": {"timeout": timeout}})
    }

    /// Sends a connect that is held.
    pub(crate) fn hold(&mut self) {
        self.socket.tell(&self.connect(20_000));
        self.socket.quiet();
    }

    pub(crate) fn subscribe(&mut self, channel: &str) {
        self.socket
            .tell(&json!({"channel": "/meta/subscribe", "clientId": self.id,
            "subscription": channel}));
        assert_eq!(self.socket.item()["successful"], true);
    }

    pub(crate) fn message(&self, channel: &str, data: impl Into<Value>) -> Value {
        json!({"channel": channel, "clientId": self.id, "id": "p", "data": data.into()})
    }
}

/// What a server sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// The code, 1005 for none.
    Close(u16, String),
    /// The end of the stream.
    End,
}

pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
    items: VecDeque<Value>,
}

impl Socket {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            read: Vec::new(),
            items: VecDeque::new(),
        }
    }

    /// Makes a WebSocket of a connection.
    pub(crate) fn upgraded(mut self) -> Self {
        self.send_raw(UPGRADE.as_bytes());
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        self
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.send_raw(&frame(0x81, text.as_bytes()));
    }

    /// Sends one message in a frame.
    pub(crate) fn tell(&mut self, message: &Value) {
        self.send_text(&json!([message]).to_string());
    }

    pub(crate) fn handshake(&mut self) -> String {
        self.tell(&json!({"channel": "/meta/handshake"}));
        let reply = self.item();
        assert_eq!(reply["successful"], true, "{reply}");
        reply["clientId"].as_str().unwrap().to_owned()
    }

    /// The next frame.
    pub(crate) fn frame(&mut self) -> Frame {
        self.frame_within(PATIENCE)
            .expect("the server sends something")
    }

    /// The next frame; `None` if there is none within that time.
    pub(crate) fn frame_within(&mut self, time: Duration) -> Option<Frame> {
        let deadline = Instant::now() + time;
        loop {
            if let Some((frame, taken)) = parse(&self.read) {
                self.read.drain(..taken);
                return Some(frame);
            }
            match self.fill(deadline) {
                None => return None,
                Some(0) => return Some(Frame::End),
                Some(_) => {}
            }
        }
    }

    /// Reads some; `None` if nothing comes in time, 0 at the end.
    fn fill(&mut self, deadline: Instant) -> Option<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        let least = Duration::from_millis(1);
        self.stream.set_read_timeout(Some(left.max(least))).unwrap();
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(n) => {
                self.read.extend_from_slice(&piece[..n]);
                Some(n)
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Some(0),
            Err(_) => None,
        }
    }

    /// The next text; pings are ignored.
    pub(crate) fn text(&mut self) -> String {
        loop {
            match self.frame() {
                Frame::Text(text) => return text,
                Frame::Ping(_) => {}
                other => panic!("a text, not {other:?}"),
            }
        }
    }

    /// The next message or reply.
    pub(crate) fn item(&mut self) -> Value {
        while self.items.is_empty() {
            let items: Vec<Value> = serde_json::from_str(&self.text()).unwrap();
            self.items.extend(items);
        }
        self.items.pop_front().unwrap()
    }

    /// Nothing comes for a while.
    pub(crate) fn quiet(&mut self) {
        assert_eq!(self.frame_within(A_WHILE), None);
    }

    /// The code and the reason that the server closes with; other frames are skipped.
    pub(crate) fn closing(&mut self) -> (u16, String) {
        loop {
            match self.frame() {
                Frame::Close(code, reason) => {
                    assert_eq!(self.frame(), Frame::End, "after the close frame");
                    return (code, reason);
                }
                Frame::End => panic!("the end without a close frame"),
                _ => {}
            }
        }
    }

    /// What the server sends before the empty line.
    pub(crate) fn head(&mut self) -> String {
        let end = self.find(b"\r\n\r\n");
        let head: Vec<u8> = self.read.drain(..end).collect();
        String::from_utf8(head).unwrap()
    }

    /// What the server sends up to and including that.
    pub(crate) fn up_to(&mut self, mark: &str) -> String {
        let end = self.find(mark.as_bytes());
        let text: Vec<u8> = self.read.drain(..end).collect();
        String::from_utf8(text).unwrap()
    }

    fn find(&mut self, mark: &[u8]) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self
                .read
                .windows(mark.len())
                .position(|bytes| bytes == mark);
            if let Some(at) = found {
                return at + mark.len();
            }
            let read = self.fill(deadline);
            let so_far = String::from_utf8_lossy(&self.read);
            assert!(read.is_some_and(|n| n > 0), "{mark:?} in {so_far}");
        }
    }

    /// The server ends the stream and sends nothing before.
    pub(crate) fn ends(&mut self) {
        assert_eq!(self.fill(Instant::now() + PATIENCE), Some(0));
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = [0x11, 0x22, 0x33, 0x44];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    out
}

/// The first frame of a server, and its length.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "frames of a server are not masked");
    assert_eq!(first & 0x70, 0, "no reserved bits");
    let (start, len) = match second {
        126 => (
            4,
            u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())),
        ),
        127 => (
            10,
            u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()),
        ),
        len => (2, u64::from(len)),
    };
    let end = start + usize::try_from(len).unwrap();
    let payload = bytes.get(start..end)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let frame = match (first, payload) {
        (0x81, _) => Frame::Text(text(payload)),
        (0x89, _) => Frame::Ping(payload.to_vec()),
        (0x8a, _) => Frame::Pong(payload.to_vec()),
        (0x88, []) => Frame::Close(1005, String::new()),
        (0x88, [a, b, reason @ ..]) => Frame::Close(u16::from_be_bytes([*a, *b]), text(reason)),
        _ => panic!("a frame that begins with {first:#x}"),
    };
    Some((frame, end))
}
