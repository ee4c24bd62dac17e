//! Fake sockets and streams of events: connections that are bound to sessions.

use std::sync::Arc;

use bayeux::Publication;
use bayeux::connector::message::{BatchLimits, parse};
use bayeux::connector::{Answer, Attachment, Call, Ended, Exchange, Executed, InFlight, NoStream};
use bayeux::connector::{ConnectionHandle, WakeSink};
use bayeux::{Peer, Transport};
use serde_json::Value;

use super::World;

/// A fake connection that stays.
pub(crate) struct Socket {
    pub(crate) key: u64,
    connection: ConnectionHandle,
    peer: Peer,
    pub(crate) sessions: Vec<Attachment>,
    held: Vec<Exchange>,
}

impl World {
    /// A socket without a session.
    pub(crate) fn socket(&mut self) -> Socket {
        let key = self.next_key;
        self.next_key += 1;
        Socket {
            key,
            connection: ConnectionHandle {
                sink: Arc::clone(&self.sink) as Arc<dyn WakeSink>,
                key,
            },
            peer: Peer {
                ip: [127, 0, 0, 1].into(),
                transport: Transport::WebSocket,
                browser: self.browser,
                secure: false,
            },
            sessions: Vec::new(),
            held: Vec::new(),
        }
    }

    /// A socket with a session that has connected once.
    pub(crate) fn open_socket(&mut self) -> (Socket, String) {
        let client = self.handshake();
        let mut socket = self.socket();
        let replies = socket.ask(self, &serde_json::json!([super::connect(&client)]));
        assert_eq!(replies[0]["successful"], true, "{replies:?}");
        (socket, client)
    }

    /// A stream of events of the session.
    pub(crate) fn stream(&mut self, client: &str) -> Result<Socket, NoStream> {
        let mut socket = self.socket();
        socket.peer.transport = Transport::EventSource;
        let stream = self
            .broker
            .open_stream(&socket.peer, client, &socket.connection)?;
        socket.sessions.push(stream);
        Ok(socket)
    }

    /// Whether a connection was woken since it was last asked for.
    pub(crate) fn was_woken(&mut self, key: u64) -> bool {
        let mut woken = self.sink.woken.lock().expect("no panic while held");
        let before = woken.len();
        woken.retain(|other| *other != key);
        woken.len() < before
    }
}

impl Socket {
    /// Sends a frame; `None` if its answer comes later.
    pub(crate) fn send(&mut self, world: &mut World, body: &Value) -> Option<Vec<Value>> {
        let body = body.to_string();
        let batch = parse(body.as_bytes(), &BatchLimits::default()).expect("a batch");
        let executed = world.broker.execute(Call {
            peer: self.peer,
            batch,
            connection: self.connection.clone(),
        });
        match executed {
            Executed::Now(answer) => Some(self.take(answer)),
            Executed::Later(mut exchange) => {
                self.sessions.extend(exchange.attached());
                self.held.push(exchange);
                None
            }
        }
    }

    /// Sends a frame that is answered at once.
    pub(crate) fn ask(&mut self, world: &mut World, body: &Value) -> Vec<Value> {
        self.send(world, body)
            .unwrap_or_else(|| panic!("{body} is not answered at once"))
    }

    /// Sends a connect that is held.
    pub(crate) fn hold(&mut self, world: &mut World, message: &Value) {
        let sent = self.send(world, &serde_json::json!([message]));
        assert!(sent.is_none(), "{message} is answered: {sent:?}");
    }

    fn take(&mut self, answer: Answer) -> Vec<Value> {
        let mut text = Vec::new();
        answer.write_array(&mut text);
        self.sessions.extend(answer.attached);
        answer.in_flight.into_iter().for_each(|mut it| it.commit());
        serde_json::from_slice(&text).expect("an answer is a JSON array of objects")
    }

    /// The answers to connects that are not held any longer.
    pub(crate) fn answers(&mut self) -> Vec<Value> {
        let mut items = Vec::new();
        let mut held = std::mem::take(&mut self.held);
        held.retain_mut(|exchange| match exchange.poll() {
            Some(answer) => {
                items.extend(self.take(answer));
                false
            }
            None => true,
        });
        self.held = held;
        items
    }

    /// What is pushed now, and written.
    pub(crate) fn pushes(&mut self, world: &mut World) -> Result<Vec<Value>, Ended> {
        let data = self.collect(world)?;
        let in_flight = self.sessions.iter_mut().filter_map(Attachment::in_flight);
        in_flight.for_each(InFlight::commit);
        Ok(data)
    }

    /// What is pushed now, to be written.
    pub(crate) fn collect(&mut self, world: &mut World) -> Result<Vec<Value>, Ended> {
        if !world.was_woken(self.key) {
            return Ok(Vec::new());
        }
        let mut out: Vec<Arc<Publication>> = Vec::new();
        for session in &mut self.sessions {
            if !session.is_in_flight() {
                let before = out.len();
                let collected = session.collect(BUDGET, &mut out)?;
                assert_eq!(collected.messages, out.len() > before);
            }
        }
        let data = out
            .iter()
            .map(|message| serde_json::from_str(message.data()));
        Ok(data.collect::<Result<_, _>>().expect("data is JSON"))
    }
}

const BUDGET: usize = 64 << 10;
