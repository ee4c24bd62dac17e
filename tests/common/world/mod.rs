//! A broker, fake connections and a clock moved by hand: a world in which nothing happens by
//! itself.
//!
//! Each test program uses its own part of it.

pub(crate) mod sockets;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::ManualClock;
use bayeux::connector::message::{BatchLimits, parse};
use bayeux::connector::{Answer, AnswerStatus, Call, Exchange, Executed, InFlight};
use bayeux::connector::{ConnectionHandle, WakeSink};
use bayeux::{Broker, BrokerConfig, Policy};
use bayeux::{BrowserId, Peer, Transport};
use serde_json::{Value, json};

use super::wait::{eventually, until};

/// Remembers which connections were woken.
#[derive(Default)]
pub(crate) struct FakeSink {
    woken: Mutex<Vec<u64>>,
    behind: AtomicBool,
}

impl WakeSink for FakeSink {
    fn wake(&self, keys: &[u64]) {
        self.woken
            .lock()
            .expect("no panic while it was held")
            .extend_from_slice(keys);
    }

    fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }
}

/// What a fake connection has been answered.
pub(crate) struct Response {
    pub(crate) items: Vec<Value>,
    pub(crate) status: AnswerStatus,
    pub(crate) cookie: Option<BrowserId>,
    pub(crate) close: bool,
    in_flight: Option<InFlight>,
}

impl Response {
    fn new(answer: Answer) -> Self {
        let mut text = Vec::new();
        answer.write_array(&mut text);
        assert_eq!(
            text.len(),
            answer.array_len(),
            "the length that was announced"
        );
        let in_flight = answer.in_flight.as_ref();
        let carries = in_flight.is_some_and(InFlight::carries_messages);
        assert!(!carries || !answer.messages.is_empty());
        let items = serde_json::from_slice(&text).expect("an answer is a JSON array of objects");
        Self {
            items,
            status: answer.status,
            cookie: answer.cookie,
            close: answer.close,
            in_flight: answer.in_flight,
        }
    }

    /// The kernel took it all.
    pub(crate) fn written(mut self) -> Vec<Value> {
        self.in_flight.iter_mut().for_each(InFlight::commit);
        self.items
    }

    /// The kernel took a part of it.
    pub(crate) fn stalled(&mut self) {
        self.in_flight.iter_mut().for_each(InFlight::stalled);
    }

    /// Whether a newer connection wants what this one has not written.
    pub(crate) fn is_cut(&self) -> bool {
        self.in_flight.as_ref().is_some_and(InFlight::is_cut)
    }

    /// The connection broke before it was written.
    pub(crate) fn broken(mut self) {
        self.in_flight.iter_mut().for_each(InFlight::abort);
    }
}

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) clock: ManualClock,
    sink: Arc<FakeSink>,
    pub(crate) next_key: u64,
    pending: BTreeMap<u64, Exchange>,
    /// Connections that were woken at least once.
    pub(crate) woken: BTreeSet<u64>,
    pub(crate) browser: Option<BrowserId>,
    pub(crate) transport: Transport,
    pub(crate) ip: IpAddr,
}

impl World {
    pub(crate) fn new(config: BrokerConfig) -> Self {
        Self::with_policy(config, None)
    }

    pub(crate) fn with_policy(config: BrokerConfig, policy: Option<Box<dyn Policy>>) -> Self {
        let clock = ManualClock::new();
        let broker = Broker::start_without_ticker(config, Arc::new(clock.clone()), policy)
            .expect("worker threads start");
        Self {
            broker,
            clock,
            sink: Arc::default(),
            next_key: 1,
            pending: BTreeMap::new(),
            woken: BTreeSet::new(),
            browser: None,
            transport: Transport::LongPolling,
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// From now on connections that were woken wait for their turn, or do not.
    pub(crate) fn fall_behind(&mut self, behind: bool) {
        self.sink.behind.store(behind, Ordering::Relaxed);
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn send(&mut self, body: &Value) -> Result<Response, u64> {
        self.send_text(&body.to_string())
    }

    /// `Err` is the connection on which the answer will come.
    pub(crate) fn send_text(&mut self, body: &str) -> Result<Response, u64> {
        let key = self.next_key;
        self.next_key += 1;
        let batch = parse(body.as_bytes(), &BatchLimits::default()).expect("a batch");
        let peer = Peer {
            ip: self.ip,
            transport: self.transport,
            browser: self.browser,
            secure: false,
        };
        let connection = ConnectionHandle {
            sink: Arc::clone(&self.sink) as Arc<dyn WakeSink>,
            key,
        };
        match self.broker.execute(Call {
            peer,
            batch,
            connection,
        }) {
            Executed::Now(answer) => Ok(Response::new(answer)),
            Executed::Later(exchange) => {
                self.pending.insert(key, exchange);
                Err(key)
            }
        }
    }

    /// Sends a request that is not held, and whose answer is written.
    pub(crate) fn ask(&mut self, body: &Value) -> Vec<Value> {
        self.response(body).written()
    }

    /// The answer to a request that is not held; user code is waited for.
    pub(crate) fn response(&mut self, body: &Value) -> Response {
        let sent = self.send(body);
        self.settled(sent)
            .unwrap_or_else(|_| panic!("{body} is held"))
    }

    /// The one reply to one message.
    pub(crate) fn reply(&mut self, message: &Value) -> Value {
        let mut items = self.ask(&json!([message]));
        assert_eq!(items.len(), 1, "one reply to {message}: {items:?}");
        items.remove(0)
    }

    /// Sends a connect that is held, at once or after user code has agreed.
    pub(crate) fn hold(&mut self, message: &Value) -> u64 {
        let sent = self.send(&json!([message]));
        match self.settled(sent) {
            Err(key) => key,
            Ok(response) => panic!("{message} was answered: {:?}", response.items),
        }
    }

    /// Waits for user code to decide about what was sent; `Err` is the connection of a connect
    /// that is held.
    pub(crate) fn settled(&mut self, sent: Result<Response, u64>) -> Result<Response, u64> {
        let key = match sent {
            Ok(response) => return Ok(response),
            Err(key) => key,
        };
        let answer = until("a decision", || {
            let exchange = self.pending.get_mut(&key).expect("it has no answer yet");
            let is_held = exchange.is_held();
            // One that only lines up has its turn at once.
            let may_answer = !is_held || self.sink.is_behind();
            match may_answer.then(|| exchange.poll()).flatten() {
                Some(answer) => Ok(Ok(answer)),
                None if is_held => Ok(Err(key)),
                None => Err(key),
            }
        })?;
        self.pending.remove(&key);
        Ok(Response::new(answer))
    }

    /// Lets every woken connection look; those that now have an answer.
    pub(crate) fn answers(&mut self) -> BTreeMap<u64, Response> {
        let mut woken =
            std::mem::take(&mut *self.sink.woken.lock().expect("no panic while it was held"));
        woken.sort_unstable();
        woken.dedup();
        self.woken.extend(&woken);
        let mut answers = BTreeMap::new();
        for key in woken {
            let Some(exchange) = self.pending.get_mut(&key) else {
                continue;
            };
            if let Some(answer) = exchange.poll() {
                self.pending.remove(&key);
                answers.insert(key, Response::new(answer));
            }
        }
        answers
    }

    /// The answer on a connection, which must be there by now.
    pub(crate) fn answer(&mut self, key: u64) -> Response {
        let mut answers = self.answers();
        answers
            .remove(&key)
            .unwrap_or_else(|| panic!("no answer on connection {key}"))
    }

    /// Waits for work in the pools to bring an answer.
    pub(crate) fn worked(&mut self, key: u64) -> Response {
        until("an answer", || self.answers().remove(&key).ok_or(key))
    }

    /// The peer of a held connect goes away.
    pub(crate) fn leave(&mut self, key: u64) {
        assert!(
            self.pending.remove(&key).is_some(),
            "connection {key} waits for an answer"
        );
    }

    pub(crate) fn advance(&mut self, time: Duration) {
        self.clock.advance(time);
        self.broker.tick();
    }

    pub(crate) fn handshake(&mut self) -> String {
        let reply = self.reply(&json!({"channel": "/meta/handshake", "id": "h"}));
        assert_eq!(reply["successful"], true, "{reply}");
        reply["clientId"].as_str().expect("a client id").to_owned()
    }

    /// A session that has made its first connect.
    pub(crate) fn open(&mut self) -> String {
        let client = self.handshake();
        let reply = self.reply(&connect(&client));
        assert_eq!(reply["successful"], true, "{reply}");
        client
    }

    pub(crate) fn subscribe(&mut self, client: &str, subscription: &Value) -> Value {
        self.reply(
            &json!({"channel": "/meta/subscribe", "clientId": client, "id": "s",
            "subscription": subscription}),
        )
    }

    /// All that waits for a client, taken with a connect that does not.
    pub(crate) fn reply_all(&mut self, client: &str) -> Vec<Value> {
        let mut connect = connect(client);
        connect["advice"] = json!({"timeout": 0});
        self.ask(&json!([connect]))
    }

    /// Waits for what other threads do.
    pub(crate) fn until(&self, holds: impl Fn() -> bool) {
        eventually("it comes to that", holds);
    }

    pub(crate) fn publish(&mut self, client: &str, channel: &str, data: &Value) -> Vec<Value> {
        self.ask(&json!([{"channel": channel, "clientId": client, "id": "p", "data": data}]))
    }
}

/// For connections that need not know when there is something.
pub(crate) struct Deaf;

impl WakeSink for Deaf {
    fn wake(&self, _keys: &[u64]) {}
}

/// Sends a request to a broker that has no world, by long-polling from this machine.
pub(crate) fn execute(
    broker: &Broker,
    sink: Arc<dyn WakeSink>,
    key: u64,
    messages: &Value,
) -> Executed {
    let body = messages.to_string();
    let batch = parse(body.as_bytes(), &BatchLimits::default()).expect("a batch");
    let peer = Peer {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        transport: Transport::LongPolling,
        browser: None,
        secure: false,
    };
    let connection = ConnectionHandle { sink, key };
    broker.execute(Call {
        peer,
        batch,
        connection,
    })
}

pub(crate) fn connect(client: &str) -> Value {
    json!({"channel": "/meta/connect", "clientId": client, "id": "c",
        "connectionType": "long-polling"})
}

pub(crate) fn data_of(items: &[Value]) -> Vec<Value> {
    let messages = items.iter().filter(|item| item.get("successful").is_none());
    messages.map(|item| item["data"].clone()).collect()
}
