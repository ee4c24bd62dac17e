//! A connection that breaks at any byte of a message: it comes with the next connect, before what
//! was published after it.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bayeux::tcp::reactor::{Early, Layer, PreConnect, Refuse, Step, Wire};
use serde_json::json;

use super::harness::{Client, Server, Session};
use crate::common::wait::eventually;

/// Lets a connection's peer take only so many bytes more.
struct Cutter {
    /// One for each connection.
    left: Mutex<Vec<Arc<AtomicUsize>>>,
    /// What a write says that comes after them.
    then: io::ErrorKind,
}

const ENOUGH: usize = 1 << 30;

impl Cutter {
    /// How many bytes the newest connection may still take.
    fn newest(&self) -> Arc<AtomicUsize> {
        Arc::clone(self.left.lock().unwrap().last().unwrap())
    }
}

impl PreConnect for Cutter {
    fn start(&self, _connection: &mut Early<'_>) -> Result<Step, Refuse> {
        let left = Arc::new(AtomicUsize::new(ENOUGH));
        self.left.lock().unwrap().push(Arc::clone(&left));
        Ok(Step::Layer(Box::new(Cut(left, self.then))))
    }
}

struct Cut(Arc<AtomicUsize>, io::ErrorKind);

impl Layer for Cut {
    fn read(&mut self, wire: &mut Wire<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        wire.read(buffer)
    }

    fn write(&mut self, wire: &mut Wire<'_>, bytes: &[u8]) -> io::Result<usize> {
        let left = self.0.load(Ordering::SeqCst).min(bytes.len());
        if left == 0 {
            return Err(self.1.into());
        }
        let n = wire.write(&bytes[..left])?;
        self.0.fetch_sub(n, Ordering::SeqCst);
        Ok(n)
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

/// Opens a connection on which the session waits for messages.
type Open = fn(&Server, &Session) -> Client;

fn held_connect(server: &Server, session: &Session) -> Client {
    poll_on(server.connect(), server, session)
}

/// Has a connect held on the connection.
pub(crate) fn poll_on(mut client: Client, server: &Server, session: &Session) -> Client {
    client.send(&session.connect(&json!({})));
    eventually("the connect to be held", || server.broker.stats().held == 1);
    client
}

fn web_socket(server: &Server, session: &Session) -> Client {
    socket_on(server.connect(), server, session)
}

/// Turns the connection into a WebSocket and has a connect held there.
pub(crate) fn socket_on(mut client: Client, server: &Server, session: &Session) -> Client {
    client.send(
        b"GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(client.response().status, 101);
    let connect = json!([{"channel": "/meta/connect", "clientId": session.id,
        "connectionType": "websocket"}])
    .to_string();
    client.send(&frame(&connect));
    eventually("the connect to be held", || server.broker.stats().held == 1);
    client
}

/// A frame of text, as long as two bytes can say, and with a mask of zeros.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let mut frame = match length {
        short @ ..126 => vec![0x81, 0x80 | short as u8],
        _ => [&[0x81, 0x80 | 126][..], &length.to_be_bytes()].concat(),
    };
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn event_stream(server: &Server, session: &Session) -> Client {
    // One that was cut before may not be gone yet.
    eventually("no stream to be open", || {
        server.running.stats().streams == 0
    });
    let mut client = server.connect();
    let id = &session.id;
    client.send(
        format!("GET /cometd/{id} HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n")
            .as_bytes(),
    );
    assert_eq!(client.response().status, 200);
    eventually("the stream to be open", || {
        server.running.stats().streams == 1
    });
    client
}

/// Cuts at every byte of what brings one message: what is behind it waits, or cannot be written.
fn cut_at_every_byte(open: Open) {
    for then in [io::ErrorKind::WouldBlock, io::ErrorKind::BrokenPipe] {
        cut_at_every_byte_and(then, open);
    }
}

fn cut_at_every_byte_and(then: io::ErrorKind, open: Open) {
    let left = Mutex::default();
    let cutter = Arc::new(Cutter { left, then });
    let steps = Arc::clone(&cutter);
    let server = Server::start(|settings| {
        settings.native.pre_connect = vec![steps];
        settings.broker.connection_types = vec!["websocket", "eventsource", "long-polling"];
    });
    let session = server.session("/a");
    let delivered = || server.broker.stats().queued_messages == 0;
    let publish = |data: &str| server.broker.publish("/a", &data).unwrap();

    let whole = open(&server, &session);
    let left = cutter.newest();
    let before = left.load(Ordering::SeqCst);
    publish("one");
    eventually("the whole message to be delivered", delivered);
    let length = before - left.load(Ordering::SeqCst);
    drop(whole);
    assert!((20..2000).contains(&length), "{length}");

    for cut in 0..=length {
        eventually("the one before to end", || server.broker.stats().held == 0);
        let client = open(&server, &session);
        let left = cutter.newest();
        left.store(cut, Ordering::SeqCst);
        publish("one");
        eventually("the cut", || left.load(Ordering::SeqCst) == 0);
        if cut == length {
            eventually("the last byte to be taken", delivered);
        }
        // A connection that has ended, or one that is only stuck.
        let stuck = (cut % 2 == 0).then_some(client);
        publish("two");
        let mut seen = Vec::new();
        let mut next = server.connect();
        while seen.last() != Some(&json!("two")) {
            next.send(&session.connect(&json!({})));
            seen.extend(next.response().data());
        }
        let expected = match cut < length {
            true => vec![json!("one"), json!("two")],
            false => vec![json!("two")],
        };
        assert_eq!(seen, expected, "{then} at {cut} of {length}");
        eventually("everything to be delivered", delivered);
        drop(stuck);
    }
}

#[test]
fn a_response_cut_at_every_byte() {
    cut_at_every_byte(held_connect);
}

#[test]
fn a_frame_cut_at_every_byte() {
    cut_at_every_byte(web_socket);
}

#[test]
fn an_event_cut_at_every_byte() {
    cut_at_every_byte(event_stream);
}
