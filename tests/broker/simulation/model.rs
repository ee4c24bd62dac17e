//! What a broker should do, in the plainest way: lists, linear searches, no wakes, no threads.

mod owners;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use bayeux::{BrokerConfig, Gone, Overflow, QueueLimits};
use bayeux::{BrowserId, Transport};
use serde_json::{Value, json};

pub(crate) use super::replies::{Expected, Request, Sent, Sums};
use super::replies::{failure, farewell, matches, name_of, patterns, success};

#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) waiting: VecDeque<Rc<Sent>>,
    pub(crate) flight: Vec<Rc<Sent>>,
    /// What is in flight counts against the limits.
    stalled: bool,
}

#[derive(PartialEq)]
enum Pushed {
    Queued,
    Refused,
    Overflowed,
}

impl Queue {
    pub(crate) fn messages(&self) -> usize {
        self.waiting.len() + self.flight.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        let all = self.waiting.iter().chain(&self.flight);
        all.map(|message| message.size()).sum()
    }

    fn push(&mut self, message: &Rc<Sent>, limits: &QueueLimits, sums: &mut Sums) -> Pushed {
        let in_flight: usize = self.flight.iter().map(|message| message.size()).sum();
        let counted = |queue: &Self| match queue.stalled {
            true => (queue.messages(), queue.bytes()),
            false => (queue.waiting.len(), queue.bytes() - in_flight),
        };
        let fits = |(messages, bytes): (usize, usize)| {
            messages < limits.messages && bytes + message.size() <= limits.bytes
        };
        if !fits(counted(self)) {
            match limits.overflow {
                Overflow::Disconnect => return Pushed::Overflowed,
                Overflow::DropOldest
                    if !self.stalled && fits((0, 0)) || fits((self.flight.len(), in_flight)) =>
                {
                    while !fits(counted(self)) {
                        self.waiting.pop_front();
                        sums.dropped_oldest += 1;
                    }
                }
                _ => {
                    sums.dropped_newest += 1;
                    return Pushed::Refused;
                }
            }
        }
        self.waiting.push_back(Rc::clone(message));
        Pushed::Queued
    }
}

/// The connect that a session has waiting.
#[derive(Clone)]
pub(crate) struct Hold {
    pub(crate) key: u64,
    until: u64,
    timed_out: bool,
    browser: Option<BrowserId>,
}

pub(crate) struct Session {
    owner: IpAddr,
    number: u64,
    connected: bool,
    expires: Option<u64>,
    /// How long it lives after its last answer.
    lifetime: u64,
    pub(crate) subscriptions: BTreeSet<String>,
    pub(crate) queue: Queue,
    /// The connection that writes what is in flight, and whether it is to give up.
    pub(crate) flight: Option<(u64, bool)>,
    pub(crate) hold: Option<Hold>,
    advised: Value,
    /// It has ended, and its client is still to be told.
    pub(crate) parting: Option<Gone>,
    /// The response in flight tells it.
    told: bool,
}

impl Session {
    fn ready(&self) -> bool {
        self.flight.is_none() && !self.queue.waiting.is_empty()
    }

    fn has_nothing_left(&self) -> bool {
        self.parting.is_some() && self.queue.messages() == 0
    }

    /// Whether a response now tells all that is left, with or without messages.
    fn tells_all(&mut self, with_messages: bool) -> bool {
        let all = self.flight.is_none() && (with_messages || self.queue.messages() == 0);
        self.told |= all && self.parting.is_some();
        all && self.parting.is_some()
    }

    fn is_over(&self) -> bool {
        self.hold.is_none()
            && match self.parting {
                None => false,
                Some(Gone::Disconnected) => true,
                Some(_) => self.has_nothing_left() && self.told,
            }
    }

    /// Whether it has a place among all: its client may come back.
    pub(crate) fn is_registered(&self) -> bool {
        self.parting != Some(Gone::Disconnected)
    }
}

/// A connect as its connection knows it.
pub(crate) struct Waiting {
    client: String,
    request: Value,
    advise: bool,
    end: Option<Gone>,
}

/// A connect that is not held.
struct DueConnect {
    advise: bool,
    /// It would be, but for the limit per browser.
    full: bool,
}

/// A client in the server.
#[derive(Default)]
pub(crate) struct Local {
    pub(crate) subscriptions: BTreeSet<String>,
    pub(crate) inbox: Queue,
    /// Not yet moved to the inbox.
    arrived: Queue,
}

pub(crate) struct Model {
    pub(crate) config: BrokerConfig,
    pub(crate) now: u64,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) waiting: BTreeMap<u64, Waiting>,
    pub(crate) locals: BTreeMap<usize, Local>,
    pub(crate) sums: Sums,
    /// Sessions that ended while the last request was executed.
    ended: BTreeMap<String, Gone>,
}

impl Model {
    pub(crate) fn new(config: BrokerConfig) -> Self {
        Self {
            config,
            now: 0,
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            locals: BTreeMap::new(),
            sums: Sums::default(),
            ended: BTreeMap::new(),
        }
    }

    /// Executes a request. `ids` are the client ids that its handshakes were given.
    pub(crate) fn request(&mut self, request: &Request<'_>, ids: &[String]) -> Expected {
        self.sums.received += request.messages.len() as u64;
        let is_handshake = |message: &&Value| message["channel"] == "/meta/handshake";
        let places = request.messages.iter().filter(is_handshake).count();
        if !self.reserve(request.owner, places) {
            self.sums.refused += 1;
            let refuse = |message: &Value| failure(message, "503::session_limit");
            let items = request.messages.iter().map(refuse).collect();
            return Expected {
                items,
                ..Expected::default()
            };
        }
        let mut ids = ids.iter();
        let (mut first, mut replies) = (Vec::new(), Vec::new());
        let mut rider: Option<String> = None;
        let mut rider_connects = false;
        let mut last = Vec::new();
        let mut due = Vec::new();
        self.ended.clear();
        for (n, message) in request.messages.iter().enumerate() {
            let client = message["clientId"].as_str().unwrap_or_default();
            let known = message["channel"] != "/meta/handshake" && self.find(message);
            if known {
                rider.get_or_insert_with(|| client.to_owned());
            }
            let reply = match message["channel"].as_str().expect("a channel") {
                "/meta/handshake" => {
                    let id = ids.next().expect("an id for each handshake").clone();
                    self.handshake(id, request.owner);
                    let mut reply = success(message);
                    reply["advice"] = self.advice(None);
                    reply
                }
                "/meta/connect" if known => {
                    let Some(connect) = self.connect(request, message) else {
                        return Expected {
                            held: true,
                            ..Expected::default()
                        };
                    };
                    rider_connects |= rider.as_deref() == Some(client);
                    due.push((replies.len(), client, message, connect));
                    Value::Null
                }
                "/meta/subscribe" if known => self.subscribe(message),
                "/meta/unsubscribe" if known => self.unsubscribe(message),
                "/meta/disconnect" if known => {
                    last.append(&mut self.says_goodbye(client));
                    success(message)
                }
                channel => self.other(known, channel, message),
            };
            if n == 0 && message["channel"] == "/meta/handshake" {
                first.push(reply);
            } else {
                replies.push(reply);
            }
        }
        let mut messages = Vec::new();
        for (at, client, message, connect) in due {
            let rides = rider.as_deref() == Some(client);
            replies[at] = self.connect_reply(message, &connect, rides);
            if rides {
                messages.append(&mut self.take_off(client, request.key));
            }
            self.let_go(client);
        }
        let bound = self.config.meta_connect_deliver_only
            || request.transport == Transport::CallbackPolling;
        if let Some(rider) = rider.filter(|_| !rider_connects && !bound) {
            if !self.is_parting(&rider) {
                messages = self.take_off(&rider, request.key);
            }
        }
        let in_flight = messages.len();
        let items = first.into_iter().chain(last).chain(messages);
        Expected {
            held: false,
            messages: in_flight,
            items: items.chain(replies).collect(),
        }
    }

    /// Whether the session of a message is known; if so it lives longer for it.
    fn find(&mut self, message: &Value) -> bool {
        let client = message["clientId"].as_str().unwrap_or_default();
        let first = self.first_lifetime();
        let (now, max_interval) = (self.now, millis(self.config.max_interval));
        let Some(session) = self.sessions.get_mut(client) else {
            return false;
        };
        if session.parting.is_some() {
            return session.is_registered() && message["channel"] == "/meta/connect";
        }
        if message["channel"] != "/meta/connect" {
            let grace = if session.connected {
                max_interval
            } else {
                first
            };
            session.expires = session.expires.map(|expires| expires.max(now + grace));
        }
        true
    }

    fn handshake(&mut self, id: String, owner: IpAddr) {
        let session = Session {
            owner,
            number: self.sums.handshakes,
            connected: false,
            expires: Some(self.now + self.first_lifetime()),
            lifetime: self.first_lifetime(),
            subscriptions: BTreeSet::new(),
            queue: Queue::default(),
            flight: None,
            hold: None,
            advised: self.advice(None),
            parting: None,
            told: false,
        };
        assert!(self.sessions.insert(id, session).is_none(), "ids differ");
        self.sums.handshakes += 1;
    }

    /// What its reply needs, or none if the connect is held.
    fn connect(&mut self, request: &Request<'_>, message: &Value) -> Option<DueConnect> {
        let client = message["clientId"].as_str().expect("it was found");
        let others = self.sessions.iter().filter(|(id, _)| *id != client);
        let held = others.filter_map(|(_, session)| session.hold.as_ref());
        let held = held.filter(|hold| hold.browser == request.browser).count();
        let limit = self.config.max_sessions_per_browser;
        let full = request.browser.is_some() && limit.is_some_and(|limit| held >= limit);
        let asked = message["advice"]["timeout"].as_u64();
        let timeout = asked.unwrap_or(u64::MAX).min(millis(self.config.timeout));
        let now = self.now;
        let lifetime = self.lifetime(message["advice"]["interval"].as_u64());
        let session = self.sessions.get_mut(client).expect("it was found");
        session.hold = None;
        if let Some((key, cut)) = &mut session.flight {
            *cut |= *key != request.key;
        }
        let advise = !session.connected || message.get("advice").is_some();
        let wanted = request.messages.len() == 1 && session.connected && timeout > 0;
        if wanted && !session.ready() && !session.has_nothing_left() {
            if full {
                return Some(DueConnect { advise, full });
            }
            session.expires = None;
            session.hold = Some(Hold {
                key: request.key,
                until: now + timeout,
                timed_out: false,
                browser: request.browser,
            });
            let waiting = Waiting {
                client: client.to_owned(),
                request: message.clone(),
                advise,
                end: None,
            };
            self.waiting.insert(request.key, waiting);
            return None;
        }
        session.connected = true;
        (session.expires, session.lifetime) = (Some(now + lifetime), lifetime);
        Some(DueConnect {
            advise,
            full: false,
        })
    }

    /// The reply to a connect that is not held, when all messages of its request are executed.
    fn connect_reply(&mut self, message: &Value, connect: &DueConnect, rides: bool) -> Value {
        let client = message["clientId"].as_str().expect("it was found");
        let advice = self.advice(message["advice"]["interval"].as_u64());
        let (now, slow) = (self.now, self.lifetime(Some(SLOW)));
        let Some(session) = self.sessions.get_mut(client) else {
            return farewell(message, self.ended[client]);
        };
        let mut reply = success(message);
        if connect.full {
            let advice = json!({"multiple-clients": true, "reconnect": "retry", "interval": SLOW});
            session.advised = advice.clone();
            (session.expires, session.lifetime) = (Some(now + slow), slow);
            reply["advice"] = advice;
        } else if session.tells_all(rides) {
            reply["advice"] = json!({"reconnect": "none"});
        } else if connect.advise || session.advised != advice {
            session.advised = advice.clone();
            reply["advice"] = advice;
        }
        reply
    }

    fn subscribe(&mut self, message: &Value) -> Value {
        let patterns = match patterns(message) {
            Ok(patterns) => patterns,
            Err(error) => return failure(message, error),
        };
        let client = message["clientId"].as_str().expect("it was found");
        let session = self.sessions.get_mut(client).expect("it was found");
        let mut all = session.subscriptions.clone();
        all.extend(patterns);
        if all.len() > self.config.max_subscriptions {
            return failure(message, "403:too_many:subscribe_denied");
        }
        session.subscriptions = all;
        success(message)
    }

    fn unsubscribe(&mut self, message: &Value) -> Value {
        let patterns = match patterns(message) {
            Ok(patterns) => patterns,
            Err(error) => return failure(message, error),
        };
        let client = message["clientId"].as_str().expect("it was found");
        let session = self.sessions.get_mut(client).expect("it was found");
        for pattern in patterns {
            session.subscriptions.remove(&pattern);
        }
        success(message)
    }

    /// A publish, or a message from nobody known.
    fn other(&mut self, known: bool, channel: &str, message: &Value) -> Value {
        let client = message["clientId"].as_str();
        let anonymous = self.config.anonymous_publish && client.is_none();
        let meta = channel.starts_with("/meta/");
        if !known && (meta || !anonymous) {
            let mut reply = failure(message, "402::session_unknown");
            if channel == "/meta/connect" {
                reply["advice"] = json!({"reconnect": "handshake", "interval": 0});
            }
            return reply;
        }
        let silent = client.filter(|_| !self.config.broadcast_to_publisher);
        self.publish(&Sent::new(channel, &message["data"]), silent, None);
        success(message)
    }

    /// Queues the message for everyone subscribed; returns how many that are.
    pub(crate) fn publish(
        &mut self,
        sent: &Rc<Sent>,
        silent: Option<&str>,
        mute: Option<usize>,
    ) -> usize {
        self.sums.published += 1;
        let mut queued = 0;
        let mut overflowed = Vec::new();
        for (id, session) in &mut self.sessions {
            if Some(&**id) == silent || !matches(&session.subscriptions, &sent.channel) {
                continue;
            }
            match session.queue.push(sent, &self.config.queue, &mut self.sums) {
                Pushed::Queued => queued += 1,
                Pushed::Refused => {}
                Pushed::Overflowed => overflowed.push(id.clone()),
            }
        }
        let limits = self.local_limits();
        for (id, local) in &mut self.locals {
            if Some(*id) != mute && matches(&local.subscriptions, &sent.channel) {
                let pushed = local.arrived.push(sent, &limits, &mut self.sums);
                queued += usize::from(pushed == Pushed::Queued);
            }
        }
        for id in overflowed {
            self.end(&id, Gone::Overflowed);
        }
        self.sums.queued += queued as u64;
        queued
    }

    /// Local clients take what has arrived when the request is over.
    pub(crate) fn collect(&mut self) {
        let limits = self.local_limits();
        for local in self.locals.values_mut() {
            for message in local.arrived.waiting.drain(..) {
                local.inbox.push(&message, &limits, &mut self.sums);
            }
        }
    }

    fn local_limits(&self) -> QueueLimits {
        let mut limits = self.config.queue;
        if limits.overflow == Overflow::Disconnect {
            limits.overflow = Overflow::DropOldest;
        }
        limits
    }

    /// Queues a message for one session; whether it is there.
    pub(crate) fn push(&mut self, client: &str, sent: &Rc<Sent>) -> bool {
        let session = self.sessions.get_mut(client).expect("pushed to the living");
        match session.queue.push(sent, &self.config.queue, &mut self.sums) {
            Pushed::Queued => {
                self.sums.queued += 1;
                true
            }
            Pushed::Refused => false,
            Pushed::Overflowed => {
                self.end(client, Gone::Overflowed);
                false
            }
        }
    }

    /// Takes what waits, if it may be taken, to be written by that connection.
    fn take_off(&mut self, client: &str, key: u64) -> Vec<Value> {
        let Some(session) = self.sessions.get_mut(client) else {
            return Vec::new();
        };
        if !session.ready() {
            return Vec::new();
        }
        session.flight = Some((key, false));
        session.queue.stalled = false;
        session.queue.flight = session.queue.waiting.drain(..).collect();
        let flight = session.queue.flight.iter();
        flight.map(|message| message.json.clone()).collect()
    }

    /// A response that is being written is not taken at once.
    pub(crate) fn flight_stalled(&mut self, key: u64) {
        let of = |session: &&mut Session| session.flight.is_some_and(|(by, _)| by == key);
        if let Some(session) = self.sessions.values_mut().find(of) {
            session.queue.stalled = true;
        }
    }

    /// A response was written or not; returns what has been delivered by it.
    pub(crate) fn flight_ended(&mut self, key: u64, written: bool) -> Vec<Rc<Sent>> {
        let of = |session: &&mut Session| session.flight.is_some_and(|(by, _)| by == key);
        let Some(session) = self.sessions.values_mut().find(of) else {
            return Vec::new();
        };
        session.flight = None;
        if session.queue.stalled && session.hold.is_none() {
            // Its time to come back begins when the client has got its answer, or knows it won't.
            session.expires = session.expires.max(Some(self.now + session.lifetime));
        }
        let mut flight = std::mem::take(&mut session.queue.flight);
        if !written {
            session.told = false;
            for message in flight.drain(..).rev() {
                session.queue.waiting.push_front(message);
            }
        }
        for id in self.sessions.keys().cloned().collect::<Vec<_>>() {
            self.let_go(&id);
        }
        flight
    }

    /// What the waiting connection is answered, if it looks now.
    pub(crate) fn look(&mut self, key: u64) -> Option<Expected> {
        let Waiting {
            client,
            request,
            advise,
            end,
        } = &self.waiting[&key];
        let mut expected = Expected::default();
        if let Some(gone) = end {
            expected.items.push(farewell(request, *gone));
            self.waiting.remove(&key);
            return Some(expected);
        }
        let (client, advise) = (client.clone(), *advise);
        let interval = request["advice"]["interval"].as_u64();
        let (advice, lifetime) = (self.advice(interval), self.lifetime(interval));
        let session = self.sessions.get_mut(&client).expect("it has not ended");
        let Some(hold) = session.hold.as_ref().filter(|hold| hold.key == key) else {
            session.advised = json!({"reconnect": "retry", "interval": SLOW});
            let mut reply = failure(request, "409::connect_superseded");
            reply["advice"] = session.advised.clone();
            expected.items.push(reply);
            self.waiting.remove(&key);
            return Some(expected);
        };
        if !session.ready() && !session.has_nothing_left() && !hold.timed_out {
            return None;
        }
        let mut reply = success(request);
        if session.tells_all(true) {
            reply["advice"] = json!({"reconnect": "none"});
        } else if advise || session.advised != advice {
            session.advised = advice.clone();
            reply["advice"] = advice;
        }
        session.hold = None;
        (session.expires, session.lifetime) = (Some(self.now + lifetime), lifetime);
        expected.items = self.take_off(&client, key);
        expected.messages = expected.items.len();
        expected.items.push(reply);
        self.waiting.remove(&key);
        self.let_go(&client);
        Some(expected)
    }

    /// The peer of a waiting connection is gone.
    pub(crate) fn leave(&mut self, key: u64) {
        let waiting = self.waiting.remove(&key).expect("it waits");
        let lifetime = self.lifetime(waiting.request["advice"]["interval"].as_u64());
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(&waiting.client) {
            if session.hold.as_ref().is_some_and(|hold| hold.key == key) {
                session.hold = None;
                (session.expires, session.lifetime) = (Some(now + lifetime), lifetime);
            }
        }
        self.let_go(&waiting.client);
    }

    pub(crate) fn advance(&mut self, millis: u64) {
        self.now += millis;
        let now = self.now;
        let mut expired = Vec::new();
        for (id, session) in &mut self.sessions {
            match &mut session.hold {
                Some(hold) => hold.timed_out |= hold.until <= now,
                None if session.expires.is_some_and(|expires| expires <= now) => {
                    if session.flight.is_some() {
                        session.expires = Some(now + 1000);
                    } else {
                        expired.push(id.clone());
                    }
                }
                None => {}
            }
        }
        for id in expired {
            self.end(&id, Gone::Expired);
        }
    }

    fn is_parting(&self, client: &str) -> bool {
        let session = self.sessions.get(client);
        session.is_some_and(|session| session.parting.is_some())
    }

    /// The client says goodbye: what waits goes with the connect that is held, else it is returned.
    fn says_goodbye(&mut self, client: &str) -> Vec<Value> {
        if self.sessions[client].hold.is_some() {
            self.part(client, Gone::Disconnected);
            return Vec::new();
        }
        let session = self.sessions.get_mut(client).expect("it was found");
        let last = session.queue.waiting.drain(..);
        let last = last.map(|message| message.json.clone()).collect();
        self.end(client, Gone::Disconnected);
        last
    }

    /// The session is over, but its client is still to be told.
    pub(crate) fn part(&mut self, client: &str, gone: Gone) {
        let deadline = self.now + self.lifetime(None);
        let session = self.sessions.get_mut(client).expect("it is there");
        if gone == Gone::Dismissed {
            session.queue.waiting.push_back(Sent::farewell());
        }
        session.parting = Some(gone);
        session.subscriptions.clear();
        session.expires = session.expires.map(|expires| expires.max(deadline));
        *self.sums.ended.entry(name_of(gone)).or_default() += 1;
    }

    /// Lets go of a session whose client has been told.
    fn let_go(&mut self, client: &str) {
        if self.sessions.get(client).is_some_and(Session::is_over) {
            self.end(client, Gone::Dismissed);
        }
    }

    pub(crate) fn end(&mut self, client: &str, gone: Gone) {
        let session = self.sessions.remove(client).expect("it is there");
        self.ended.insert(client.to_owned(), gone);
        let waiting = session.queue.waiting.len() as u64;
        if session.parting.is_none() {
            *self.sums.ended.entry(name_of(gone)).or_default() += 1;
        }
        let notice = u64::from(session.parting == Some(Gone::Dismissed));
        self.sums.dropped_with_session += waiting.saturating_sub(notice);
        for waiting in self.waiting.values_mut() {
            if waiting.client == client {
                waiting.end = Some(gone);
            }
        }
    }

    /// The full triple.
    fn advice(&self, asked: Option<u64>) -> Value {
        json!({"reconnect": "retry", "interval": self.interval(asked),
            "timeout": millis(self.config.timeout)})
    }

    fn interval(&self, asked: Option<u64>) -> u64 {
        let own = millis(self.config.interval);
        let most = millis(self.config.max_client_interval).max(own);
        asked.map_or(own, |asked| asked.min(most))
    }

    fn lifetime(&self, asked: Option<u64>) -> u64 {
        self.interval(asked) + millis(self.config.max_interval)
    }

    fn first_lifetime(&self) -> u64 {
        millis(self.config.interval) + millis(self.config.max_interval).min(30_000)
    }
}

/// What is advised to the superseded and to the many, in milliseconds.
const SLOW: u64 = 2000;

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a short time")
}
