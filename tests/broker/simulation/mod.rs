//! Many clients doing whatever clients may do, in random order, against a model that does the same
//! in the plainest way. After each step both must agree about everything that can be seen.
//!
//! `SEED=n` runs one seed only, `STEPS=n` so many steps of each, `SEEDS=n` so many seeds.

mod model;
mod replies;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bayeux::Publisher;
use bayeux::Reason;
use bayeux::connector::AnswerStatus;
use bayeux::{
    AuthRequest, BrokerConfig, Decision, Gone, LocalClient, LocalError, LocalSubscription,
    Overflow, Policy, QueueLimits,
};
use bayeux::{BrowserId, Transport};
use bayeux::{ChannelName, ClientId, Publication};
use model::{Expected, Local, Model, Request, Sent};
use serde_json::{Value, json};

use crate::common::rng::Rng;
use crate::common::world::{Response, World};

const CHANNELS: [&str; 6] = ["/a", "/a/b", "/a/b/c", "/b", "/b/x", "/a/c"];
const PATTERNS: [&str; 11] = [
    "/a", "/a/b", "/a/*", "/a/**", "/*", "/**", "/b/*", "/a/b/c", "/b/x", "/a/b/*", "/b",
];
const ODD_PATTERNS: [&str; 4] = ["/service/x", "/meta/x", "/a/*/b", "/meta/**"];

struct InProcess {
    client: LocalClient,
    subscriptions: BTreeMap<String, LocalSubscription>,
}

struct Simulation {
    rng: Rng,
    world: World,
    model: Model,
    /// Sessions that are or were, to be named in requests.
    names: Vec<String>,
    locals: BTreeMap<usize, InProcess>,
    /// Responses that are not written yet, by their connection.
    unwritten: BTreeMap<u64, Response>,
    /// How many messages each publisher has sent.
    numbers: BTreeMap<u64, u64>,
    /// The last message that a receiver got from a publisher on a channel.
    last: BTreeMap<(String, u64), u64>,
    delivered: u64,
}

fn config(rng: &mut Rng) -> BrokerConfig {
    let overflow = [
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::Disconnect,
    ];
    BrokerConfig {
        timeout: Duration::from_millis(3000),
        interval: Duration::from_millis(*rng.pick(&[0, 0, 500])),
        max_interval: Duration::from_millis(5000),
        max_client_interval: Duration::from_millis(2000),
        anonymous_publish: rng.percent(50),
        broadcast_to_publisher: rng.percent(75),
        meta_connect_deliver_only: rng.percent(25),
        queue: QueueLimits {
            messages: 6 + rng.below(10),
            bytes: 600 + rng.below(1000),
            overflow: *rng.pick(&overflow),
        },
        max_sessions: 4 + rng.below(8),
        max_subscriptions: 4,
        max_sessions_per_browser: *rng.pick(&[None, Some(1), Some(2)]),
        workers: 1,
        ..BrokerConfig::default()
    }
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = config(&mut rng);
        let allow = |_: &AuthRequest<'_>| Decision::Allow;
        // With a policy every request takes the way through the worker threads.
        let policy = (seed % 8 == 7).then(|| Box::new(allow) as Box<dyn Policy>);
        Self {
            rng,
            world: World::with_policy(config.clone(), policy),
            model: Model::new(config),
            names: vec!["nobody".to_owned(), ClientId::random().to_string()],
            locals: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            numbers: BTreeMap::new(),
            last: BTreeMap::new(),
            delivered: 0,
        }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..8 => self.request(&[json!({"channel": "/meta/handshake"})]),
            8..36 => self.connect(),
            36..48 => self.subscribe(),
            48..70 => self.publish(),
            70..76 => self.batch(),
            76..80 => self.time_passes(),
            80..84 => self.write_late(),
            84..87 => self.peer_leaves(),
            87..89 => self.disconnect(),
            89..91 => self.server_acts(),
            _ => self.local_step(),
        }
        if self.rng.percent(70) {
            self.look_all();
        }
        self.check();
    }

    /// In the order in which they came: ids are random, and a seed is to bring the same again.
    fn alive(&self) -> Vec<String> {
        let all = self.names.iter();
        all.filter(|name| self.model.sessions.contains_key(*name))
            .cloned()
            .collect()
    }

    /// A session, most of the time one that lives.
    fn name(&mut self) -> String {
        let alive = self.alive();
        if alive.is_empty() || self.rng.percent(5) {
            self.rng.pick(&self.names).clone()
        } else {
            self.rng.pick(&alive).clone()
        }
    }

    fn connect_message(&mut self) -> Value {
        let mut message = json!({"channel": "/meta/connect", "clientId": self.name(), "id": "c"});
        if self.rng.percent(30) {
            message["advice"] = match self.rng.below(4) {
                0 => json!({"timeout": 0}),
                1 => json!({"timeout": 100 * self.rng.below(50)}),
                2 => json!({"interval": 100 * self.rng.below(30)}),
                _ => json!({}),
            };
        }
        message
    }

    fn connect(&mut self) {
        let message = self.connect_message();
        self.request(&[message]);
    }

    fn subscribe_message(&mut self) -> Value {
        let verb = *self.rng.pick(&["subscribe", "subscribe", "unsubscribe"]);
        let one = |rng: &mut Rng| match rng.percent(5) {
            true => json!(rng.pick(&ODD_PATTERNS)),
            false => json!(rng.pick(&PATTERNS)),
        };
        let subscription = match self.rng.below(10) {
            0 => Value::Null,
            1..4 => (0..self.rng.below(3)).map(|_| one(&mut self.rng)).collect(),
            _ => one(&mut self.rng),
        };
        let mut message = json!({"channel": format!("/meta/{verb}"), "clientId": self.name(),
            "id": 1});
        if subscription != Value::Null {
            message["subscription"] = subscription;
        }
        message
    }

    fn subscribe(&mut self) {
        let message = self.subscribe_message();
        self.request(&[message]);
    }

    /// What the publisher sends next: its name, a number, and some weight.
    fn data(&mut self, publisher: u64) -> Value {
        let number = self.numbers.entry(publisher).or_default();
        *number += 1;
        json!([publisher, number, "x".repeat(self.rng.below(60))])
    }

    fn publish_message(&mut self) -> Value {
        let channel = *self.rng.pick(&CHANNELS);
        if self.rng.percent(10) {
            return json!({"channel": channel, "data": self.data(0)});
        }
        let name = self.name();
        let known = self.names.iter().position(|other| *other == name);
        let publisher = known.expect("all names are kept") as u64 + 1;
        json!({"channel": channel, "clientId": name, "id": "p", "data": self.data(publisher)})
    }

    fn publish(&mut self) {
        let count = if self.rng.percent(70) {
            1
        } else {
            1 + self.rng.below(4)
        };
        let messages: Vec<Value> = (0..count).map(|_| self.publish_message()).collect();
        self.request(&messages);
    }

    /// Anything together in one request.
    fn batch(&mut self) {
        let count = 2 + self.rng.below(4);
        // A third connect with the id of no session would have to wait.
        let mut connects = 0;
        let messages = (0..count).map(|_| match self.rng.below(10) {
            0 => json!({"channel": "/meta/handshake", "id": "h"}),
            1..3 if connects < 2 => {
                connects += 1;
                self.connect_message()
            }
            1..5 => self.subscribe_message(),
            5 => json!({"channel": "/meta/disconnect", "clientId": self.name()}),
            _ => self.publish_message(),
        });
        let messages: Vec<Value> = messages.collect();
        self.request(&messages);
    }

    fn disconnect(&mut self) {
        let message = json!({"channel": "/meta/disconnect", "clientId": self.name(), "id": 0});
        self.request(&[message]);
    }

    fn request(&mut self, messages: &[Value]) {
        let transport = match self.rng.percent(10) {
            true => Transport::CallbackPolling,
            false => Transport::LongPolling,
        };
        let browser = *self
            .rng
            .pick(&[None, None, Some(BrowserId(1)), Some(BrowserId(2))]);
        self.world.transport = transport;
        self.world.browser = browser;
        self.world.ip = [127, 0, 0, *self.rng.pick(&[1, 2, 3, 3, 3])].into();
        self.world.fall_behind(self.rng.percent(30));
        let key = self.world.next_key;
        let sent = self.world.send(&Value::from(messages));
        let settled = self.world.settled(sent);
        let handshakes = settled.iter().flat_map(|response| &response.items);
        let handshakes = handshakes.filter(|item| item["channel"] == "/meta/handshake");
        let ids = handshakes.filter_map(|item| item["clientId"].as_str().map(str::to_owned));
        let ids: Vec<String> = ids.collect();
        let request = Request {
            key,
            messages,
            transport,
            browser,
            owner: self.world.ip,
        };
        let expected = self.model.request(&request, &ids);
        self.model.collect();
        match settled {
            Err(_) => assert!(expected.held, "held: {messages:?}\nnot {expected:?}"),
            Ok(response) => {
                assert!(!expected.held, "not held: {messages:?}");
                let fresh = !ids.is_empty() && browser.is_none();
                assert_eq!(response.cookie.is_some(), fresh, "a cookie");
                self.answered(key, response, &expected);
            }
        }
        self.names.extend(ids);
    }

    fn answered(&mut self, key: u64, mut response: Response, expected: &Expected) {
        let limited = expected
            .items
            .iter()
            .any(|item| item["error"] == "503::session_limit");
        assert_eq!(response.status == AnswerStatus::Unavailable, limited);
        for item in &mut response.items {
            if item["channel"] == "/meta/handshake" && item["successful"] == true {
                let reply = item.as_object_mut().expect("an object");
                reply.remove("clientId").expect("a client id");
                reply.retain(|name, _| !name.contains("ersion") && !name.contains("Types"));
            }
        }
        assert_eq!(response.items, expected.items, "on connection {key}");
        if expected.messages > 0 {
            if self.rng.percent(50) {
                response.stalled();
                self.model.flight_stalled(key);
            }
            self.unwritten.insert(key, response);
            if self.rng.percent(80) {
                self.end_flight(key);
            }
        }
    }

    fn write_late(&mut self) {
        let keys: Vec<u64> = self.unwritten.keys().copied().collect();
        if !keys.is_empty() {
            let key = *self.rng.pick(&keys);
            self.end_flight(key);
        }
    }

    /// The response of a connection is written, or the connection breaks.
    fn end_flight(&mut self, key: u64) {
        let response = self.unwritten.remove(&key).expect("it is not written yet");
        let mut by = self.model.sessions.iter();
        let by = by.find(|(_, session)| session.flight.is_some_and(|(by, _)| by == key));
        let by = by.map(|(id, session)| (id.clone(), session.flight.is_some_and(|(_, cut)| cut)));
        assert_eq!(response.is_cut(), by.as_ref().is_some_and(|(_, cut)| *cut));
        let written = self.rng.percent(80);
        if written {
            response.written();
        } else {
            response.broken();
        }
        let delivered = self.model.flight_ended(key, written);
        if let Some((receiver, _)) = by {
            self.delivered_to(&receiver, &delivered);
        }
    }

    /// Each publisher's messages come in order and once.
    fn delivered_to(&mut self, receiver: &str, messages: &[Rc<Sent>]) {
        for message in messages {
            let last = self.last.entry((receiver.to_owned(), message.publisher));
            let last = last.or_default();
            assert!(
                message.number > *last,
                "order, and no copies, at {receiver}"
            );
            *last = message.number;
            self.delivered += 1;
        }
    }

    /// Woken connections look.
    fn look_all(&mut self) {
        let mut answers = self.world.answers();
        let waiting: Vec<u64> = self.model.waiting.keys().copied().collect();
        for key in waiting {
            match (answers.remove(&key), self.model.look(key)) {
                (None, None) => {}
                (Some(response), Some(expected)) => self.answered(key, response, &expected),
                (Some(response), None) => panic!("{key} is answered: {:?}", response.items),
                (None, Some(expected)) => panic!("{key} is not answered: {expected:?}"),
            }
        }
        assert!(answers.is_empty(), "answers to nobody");
        for (key, cut) in self.model.sessions.values().filter_map(|s| s.flight) {
            assert!(
                !cut || self.world.woken.contains(&key),
                "{key} is told to give up"
            );
        }
    }

    fn time_passes(&mut self) {
        let millis = match self.rng.below(4) {
            0 => 5000,
            1 => 1000,
            _ => 100,
        };
        let millis = millis * (1 + self.rng.below(3) as u64);
        self.world.advance(Duration::from_millis(millis));
        self.model.advance(millis);
        if self.rng.percent(20) {
            self.peer_leaves();
        }
    }

    fn peer_leaves(&mut self) {
        let keys: Vec<u64> = self.model.waiting.keys().copied().collect();
        if !keys.is_empty() {
            let key = *self.rng.pick(&keys);
            self.world.leave(key);
            self.model.leave(key);
        }
    }

    /// The program around the server pushes a message, or sends somebody away.
    fn server_acts(&mut self) {
        let name = self.name();
        if !self.model.sessions.contains_key(&name) {
            return;
        }
        let id = ClientId::parse(&name).expect("the id of a session");
        if self.rng.percent(30) {
            let there = self.model.sessions[&name].parting.is_none();
            assert_eq!(self.world.broker.disconnect(id), there);
            if there {
                self.model.part(&name, Gone::Dismissed);
            }
            return;
        }
        let sent = Sent::new("/service/push", &self.data(0));
        let channel = ChannelName::try_from("/service/push").expect("a channel");
        let data = sent.json["data"].to_string();
        let publication = Publication::new(&channel, &data, Publisher::Nobody);
        let pushed = self.world.broker.push(id, publication);
        if self.model.sessions[&name].parting.is_some() {
            assert_eq!(pushed, Err(LocalError::UnknownClient));
            return;
        }
        assert_eq!(pushed.is_ok(), self.model.push(&name, &sent));
    }

    fn local_step(&mut self) {
        let ids: Vec<usize> = self.locals.keys().copied().collect();
        if ids.is_empty() || (ids.len() < 3 && self.rng.percent(20)) {
            let client = self.world.broker.local_client();
            let id = usize::try_from(client.id().0).expect("a small number");
            self.model.locals.insert(id, Local::default());
            let subscriptions = BTreeMap::new();
            self.locals.insert(
                id,
                InProcess {
                    client,
                    subscriptions,
                },
            );
            return;
        }
        let id = *self.rng.pick(&ids);
        match self.rng.below(10) {
            0 => {
                self.locals.remove(&id);
                let local = self.model.locals.remove(&id).expect("it is in both");
                drop(local);
            }
            1..4 => self.local_subscribes(id),
            4..7 => self.local_publishes(id),
            _ => self.local_receives(id),
        }
    }

    fn local_subscribes(&mut self, id: usize) {
        let pattern = *self.rng.pick(&PATTERNS);
        let local = self.locals.get_mut(&id).expect("it is there");
        let subscriptions = &mut self
            .model
            .locals
            .get_mut(&id)
            .expect("in both")
            .subscriptions;
        if subscriptions.remove(pattern) {
            local.subscriptions.remove(pattern);
        } else {
            let subscribed = local.client.subscribe_queue(pattern).expect("a pattern");
            local.subscriptions.insert(pattern.to_owned(), subscribed);
            subscriptions.insert(pattern.to_owned());
        }
    }

    fn local_publishes(&mut self, id: usize) {
        let channel = *self.rng.pick(&CHANNELS);
        let data = self.data(1_000_000 + id as u64);
        let sent = Sent::new(channel, &data);
        let mute = Some(id).filter(|_| !self.model.config.broadcast_to_publisher);
        let expected = self.model.publish(&sent, None, mute);
        self.model.collect();
        let reached = self.locals[&id].client.publish(channel, &data);
        assert_eq!(reached, Ok(expected));
    }

    fn local_receives(&mut self, id: usize) {
        let client = &self.locals[&id].client;
        let received = client.recv_timeout(Duration::ZERO);
        let inbox = &mut self.model.locals.get_mut(&id).expect("in both").inbox;
        let expected = inbox.waiting.pop_front();
        let received = received.map(|message| String::from_utf8_lossy(message.json()).into_owned());
        assert_eq!(
            received,
            expected.as_ref().map(|message| message.json.to_string())
        );
        if let Some(message) = expected {
            self.delivered_to(&format!("local {id}"), &[message]);
        }
    }

    /// All numbers agree.
    fn check(&self) {
        let (stats, model) = (self.world.broker.stats(), &self.model);
        let refused: BTreeMap<_, _> = self
            .world
            .broker
            .refusals()
            .snapshot()
            .into_iter()
            .collect();
        let sessions = model.sessions.values();
        let known_queues = || {
            let remote = model.sessions.values().filter(|s| s.is_registered());
            let remote = remote.map(|session| &session.queue);
            remote.chain(model.locals.values().map(|local| &local.inbox))
        };
        let remote: usize = sessions.clone().map(|s| s.subscriptions.len()).sum();
        let local: usize = model
            .locals
            .values()
            .map(|local| local.subscriptions.len())
            .sum();
        let ended = |why| model.sums.ended.get(why).copied().unwrap_or(0);
        let table = [
            (
                "sessions",
                stats.sessions,
                sessions.clone().filter(|s| s.is_registered()).count() as u64,
            ),
            (
                "held",
                stats.held,
                sessions.filter(|s| s.hold.is_some()).count() as u64,
            ),
            (
                "subscriptions",
                stats.subscriptions,
                (remote + local) as u64,
            ),
            (
                "messages",
                stats.queued_messages,
                known_queues().map(|q| q.messages() as u64).sum(),
            ),
            (
                "bytes",
                stats.queued_bytes,
                known_queues().map(|q| q.bytes() as u64).sum(),
            ),
            ("received", stats.received, model.sums.received),
            ("published", stats.published, model.sums.published),
            ("queued", stats.queued, model.sums.queued),
            ("handshakes", stats.handshakes, model.sums.handshakes),
            ("oldest", stats.dropped_oldest, model.sums.dropped_oldest),
            ("newest", stats.dropped_newest, model.sums.dropped_newest),
            (
                "lost",
                stats.dropped_with_session,
                model.sums.dropped_with_session,
            ),
            ("refused", refused[&Reason::MaxSessions], model.sums.refused),
            (
                "disconnected",
                stats.ended_disconnected,
                ended("disconnected"),
            ),
            ("dismissed", stats.ended_dismissed, ended("dismissed")),
            ("expired", stats.ended_expired, ended("expired")),
            ("overflowed", stats.ended_overflowed, ended("overflowed")),
            ("evicted", stats.ended_evicted, ended("evicted")),
        ];
        for (name, actual, expected) in table {
            assert_eq!(actual, expected, "{name}");
        }
    }

    /// Everybody goes; nothing may be left.
    fn finish(&mut self) {
        self.look_all();
        for key in self.unwritten.keys().copied().collect::<Vec<_>>() {
            self.end_flight(key);
        }
        self.look_all();
        for name in self.alive() {
            self.request(&[json!({"channel": "/meta/disconnect", "clientId": name})]);
        }
        self.look_all();
        // Who was sent away comes once more, and is told.
        while let Some(name) = self.alive().into_iter().next() {
            self.request(&[json!({"channel": "/meta/connect", "clientId": name})]);
            for key in self.unwritten.keys().copied().collect::<Vec<_>>() {
                self.end_flight(key);
            }
            self.look_all();
        }
        self.locals.clear();
        self.model.locals.clear();
        self.check();
        assert!(self.model.waiting.is_empty(), "everybody was answered");
        let stats = self.world.broker.stats();
        assert_eq!((stats.sessions, stats.held, stats.subscriptions), (0, 0, 0));
        assert_eq!((stats.queued_messages, stats.queued_bytes), (0, 0));
        assert_eq!((stats.session_bytes, stats.message_bytes), (0, 0));
    }
}

/// Says how to see it again, if the run fails.
struct Replay(u64, usize);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to replay: SEED={} STEPS={}", self.0, self.1);
        }
    }
}

fn run(seed: u64, steps: usize) -> u64 {
    let mut simulation = Simulation::new(seed);
    let mut replay = Replay(seed, 0);
    for step in 0..steps {
        replay.1 = step + 1;
        simulation.step();
    }
    simulation.finish();
    simulation.delivered
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

#[test]
fn the_broker_agrees_with_the_model() {
    let steps = setting("STEPS").map_or(400, |steps| usize::try_from(steps).expect("a number"));
    if let Some(seed) = setting("SEED") {
        run(seed, steps);
        return;
    }
    let seeds = setting("SEEDS").unwrap_or(24);
    let delivered: u64 = (0..seeds).map(|seed| run(seed, steps)).sum();
    assert_eq!(run(0, steps), run(0, steps), "a seed brings the same again");
    assert!(
        delivered > 20 * seeds,
        "the simulation does something: {delivered}"
    );
}
