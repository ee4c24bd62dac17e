//! A load generator: many Bayeux clients on one I/O thread, over long-polling or WebSocket, and the
//! publishers that send to them. It checks what it measures: every message must come to every
//! subscriber once and in order.
//!
//! - `wire`: requests, responses and frames as bytes.
//! - `client`: one client, from bytes to what it has heard; no socket, no clock.
//! - `tally`: what came, what did not, and how long it took.
//! - here: the clients' connections, on the reactor of `tcp`.
//!
//! In scope: subscribers that stay, publishers with a window of messages under way, visitors that
//! come and go. Out of scope: what a server costs (ask it through the [`Probe`]), and printing.

mod client;
mod tally;
mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bayeux::tcp::reactor::{
    CloseReason, Config, Connect, ConnectOptions, Io, Reactor, Refuse, Service, Turn,
};

use self::client::{Client, Heard, Role};
pub(crate) use self::tally::{Latencies, Tally};
pub(crate) use self::wire::Transport;

/// What is to be done to a server.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The server.
    pub(crate) target: SocketAddr,
    /// The path of its endpoint.
    pub(crate) path: String,
    /// How clients speak with it.
    pub(crate) transport: Transport,
    /// Clients that subscribe to the channel and stay.
    pub(crate) subscribers: usize,
    /// How long these do nothing before anything is published, while the server is watched.
    pub(crate) idle: Duration,
    /// Clients that publish, without sessions.
    pub(crate) publishers: usize,
    /// What each of these publishes.
    pub(crate) messages: u64,
    /// So many messages of a publisher are under way: each until its last subscriber has it, or
    /// until its reply where there is no subscriber.
    pub(crate) window: usize,
    /// Connections on which a session comes and goes again and again.
    pub(crate) visitors: usize,
    /// Sessions on each of these.
    pub(crate) visits: u64,
    /// Nothing comes for so long: what is missing is lost.
    pub(crate) patience: Duration,
}

/// How it went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// From the first connection until all subscribers had a connect waiting.
    pub(crate) set_up: Duration,
    /// From then, or from the first message or visit, to the end.
    pub(crate) span: Duration,
    /// The server's CPU time in that span, where the probe can tell.
    pub(crate) cpu: Option<Duration>,
    /// The same while the subscribers did nothing.
    pub(crate) idle_cpu: Option<Duration>,
    /// Messages, one by one.
    pub(crate) tally: Tally,
    /// Messages that the server has acknowledged.
    pub(crate) acknowledged: u64,
    /// Visits, each with how long it took.
    pub(crate) visits: Latencies,
    /// What went wrong, at most a few.
    pub(crate) errors: Vec<String>,
}

/// Tells how much CPU time the server has used so far.
pub(crate) type Probe = Box<dyn FnMut() -> Option<Duration> + Send>;

impl Report {
    /// What is not as it must be.
    pub(crate) fn complaints(&self, plan: &Plan) -> Vec<String> {
        let mut complaints = self.errors.clone();
        let messages = plan.publishers as u64 * plan.messages;
        let all = messages * plan.subscribers as u64;
        let visits = plan.visitors as u64 * plan.visits;
        for (what, is, expected) in [
            ("deliveries", self.tally.delivered, all),
            ("duplicates", self.tally.duplicates, 0),
            ("deliveries out of order", self.tally.reordered, 0),
            ("acknowledged messages", self.acknowledged, messages),
            ("visits", self.visits.count(), visits),
        ] {
            if is != expected {
                complaints.push(format!("{is} {what}, {expected} expected"));
            }
        }
        complaints
    }
}

/// Does it. Blocks until everything has come, or nothing more comes.
///
/// # Errors
/// If a thread cannot be started or the engine fails itself.
pub(crate) fn run(plan: &Plan, probe: Probe) -> std::io::Result<Report> {
    let (done, report) = channel();
    let config = Config {
        name: "load".to_owned(),
        threads: 1,
        ..Config::default()
    };
    let mut made = Some(Engine::new(plan.clone(), probe, done));
    let reactor = Reactor::start(&config, Vec::new(), |_, _| {
        made.take().expect("there is one thread")
    })?;
    reactor.wakers().for_each(|waker| waker.nudge());
    let report = loop {
        match report.recv_timeout(Duration::from_secs(1)) {
            Ok(report) => break report,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(std::io::Error::other("the engine failed"));
            }
        }
    };
    reactor.stop(Duration::ZERO);
    Ok(report)
}

/// What goes on at present.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Subscribers come.
    SettingUp,
    /// They do nothing until then.
    Idle(Instant),
    /// Messages are published, visitors come and go.
    Loaded,
    /// The report has been given.
    Over,
}

struct Engine {
    plan: Plan,
    probe: Probe,
    done: Sender<Report>,
    report: Report,
    phase: Phase,
    begun: Instant,
    /// When something came last.
    heard: Instant,
    /// Connections asked for so far, and those of them that are not open yet.
    asked: usize,
    opening: usize,
    /// Subscribers with a connect waiting.
    ready: usize,
    publishers: Vec<Publisher>,
    /// How many subscribers still lack a message that is under way.
    under_way: HashMap<(usize, u64), usize>,
    cpu: Option<Duration>,
}

#[derive(Default)]
struct Publisher {
    key: Option<u64>,
    sent: u64,
    finished: u64,
    acknowledged: u64,
}

/// A client and its connection.
struct Conn {
    client: Client,
    number: usize,
    visits: u64,
    since: Instant,
}

/// Connections that are being opened at a time.
const OPENING: usize = 64;
/// Errors that are reported.
const ERRORS: usize = 5;

impl Engine {
    fn new(plan: Plan, probe: Probe, done: Sender<Report>) -> Self {
        let now = Instant::now();
        Self {
            report: Report {
                tally: Tally::new(plan.subscribers, plan.publishers),
                ..Report::default()
            },
            publishers: (0..plan.publishers).map(|_| Publisher::default()).collect(),
            plan,
            probe,
            done,
            phase: Phase::SettingUp,
            begun: now,
            heard: now,
            asked: 0,
            opening: 0,
            ready: 0,
            under_way: HashMap::new(),
            cpu: None,
        }
    }

    /// Subscribers first; the others when these are ready.
    fn role(&self, number: usize) -> Role {
        let first_visitor = self.plan.subscribers + self.plan.publishers;
        if number < self.plan.subscribers {
            Role::Subscriber
        } else if number < first_visitor {
            Role::Publisher
        } else {
            Role::Visitor
        }
    }

    fn fail(&mut self, error: String) {
        if self.report.errors.len() < ERRORS {
            self.report.errors.push(error);
        }
    }

    fn hear(&mut self, number: usize, heard: &Heard, conn: (&mut u64, &mut Instant), now: Instant) {
        match heard {
            Heard::Ready => self.ready += 1,
            Heard::Message(stamp) => {
                let latency = now.saturating_duration_since(self.begun + stamp.sent);
                let (publisher, message) = (stamp.publisher, stamp.message);
                if !self
                    .report
                    .tally
                    .delivered(number, publisher, message, latency)
                {
                    return;
                }
                let Some(lacking) = self.under_way.get_mut(&(publisher, message)) else {
                    return self.fail(format!("message {message} was not sent by {publisher}"));
                };
                *lacking -= 1;
                if *lacking == 0 {
                    self.under_way.remove(&(publisher, message));
                    self.publishers[publisher].finished += 1;
                }
            }
            Heard::Acknowledged => {
                self.report.acknowledged += 1;
                let publisher = &mut self.publishers[number - self.plan.subscribers];
                publisher.acknowledged += 1;
                if self.plan.subscribers == 0 {
                    publisher.finished += 1;
                }
            }
            Heard::Visited => {
                let (visits, since) = conn;
                self.report
                    .visits
                    .add(now.saturating_duration_since(*since));
                *visits += 1;
                *since = now;
            }
        }
    }

    /// Opens what is still to be opened.
    fn open_more(&mut self, turn: &mut Turn<'_, Conn>) {
        let all = match self.phase {
            Phase::SettingUp => self.plan.subscribers,
            Phase::Loaded => self.plan.subscribers + self.plan.publishers + self.plan.visitors,
            Phase::Idle(_) | Phase::Over => self.asked,
        };
        while self.asked < all && self.opening < OPENING {
            turn.connect(Connect {
                address: self.plan.target.into(),
                ticket: self.asked as u64,
                timeout: self.plan.patience,
                options: ConnectOptions::default(),
            });
            self.asked += 1;
            self.opening += 1;
        }
    }

    /// Lets publishers send what their windows allow.
    fn publish(&mut self, turn: &mut Turn<'_, Conn>) {
        let window = self.plan.window.max(1) as u64;
        for (number, publisher) in self.publishers.iter_mut().enumerate() {
            let Some(key) = publisher.key else { continue };
            let last = self.plan.messages.min(publisher.finished + window);
            // One request at a time: it carries all that is due.
            let waits = publisher.acknowledged < publisher.sent;
            if publisher.sent == last || (waits && !self.plan.transport.has_frames()) {
                continue;
            }
            let messages = publisher.sent..last;
            publisher.sent = last;
            for message in messages.clone() {
                let subscribers = self.plan.subscribers;
                if subscribers > 0 {
                    self.under_way.insert((number, message), subscribers);
                }
            }
            let sent = turn.now().saturating_duration_since(self.begun);
            let written = turn.with(key, |conn, io| {
                let bytes = conn.client.publish(number, messages, sent);
                io.write(&bytes).is_ok()
            });
            if written != Some(true) {
                self.report
                    .errors
                    .push("a publisher could not send".to_owned());
            }
        }
    }

    fn is_done(&self) -> bool {
        let all = self.plan.publishers as u64 * self.plan.messages;
        let finished: u64 = self.publishers.iter().map(|one| one.finished).sum();
        let visits = self.plan.visitors as u64 * self.plan.visits;
        finished == all && self.report.acknowledged == all && self.report.visits.count() == visits
    }

    /// Goes on to the next phase when it is time.
    fn advance(&mut self, now: Instant) {
        let stuck = now.saturating_duration_since(self.heard) > self.plan.patience;
        match self.phase {
            Phase::SettingUp if self.ready == self.plan.subscribers => {
                self.report.set_up = now - self.begun;
                self.phase = Phase::Idle(now + self.plan.idle);
                self.cpu = (self.probe)();
            }
            Phase::Idle(until) if now >= until => {
                let cpu = (self.probe)();
                self.report.idle_cpu = cpu.zip(self.cpu).map(|(now, then)| now - then);
                self.cpu = cpu;
                self.phase = Phase::Loaded;
                (self.heard, self.report.span) = (now, now - self.begun);
            }
            Phase::Idle(_) => self.heard = now,
            Phase::Loaded if self.is_done() => self.end(now),
            Phase::SettingUp | Phase::Loaded if stuck => {
                self.fail(format!("nothing has come for {:?}", self.plan.patience));
                self.end(now);
            }
            _ => {}
        }
    }

    fn end(&mut self, now: Instant) {
        self.phase = Phase::Over;
        let mut report = std::mem::take(&mut self.report);
        report.span = (now - self.begun).saturating_sub(report.span);
        report.cpu = (self.probe)().zip(self.cpu).map(|(now, then)| now - then);
        // Nobody listens any more only if `run` has failed.
        drop(self.done.send(report));
    }
}

impl Service for Engine {
    type Conn = Conn;

    fn open(&mut self, io: &mut Io<'_>) -> Result<Conn, Refuse> {
        self.opening -= 1;
        let number = usize::try_from(io.ticket().ok_or(Refuse)?).map_err(|_| Refuse)?;
        let host = self.plan.target.to_string();
        let role = self.role(number);
        let mut client = Client::new(role, self.plan.transport, &host, &self.plan.path);
        io.write(&client.begin()).map_err(|_| Refuse)?;
        if role == Role::Publisher && !self.plan.transport.has_frames() {
            self.publishers[number - self.plan.subscribers].key = Some(io.key());
        }
        let since = io.now();
        Ok(Conn {
            client,
            number,
            visits: 0,
            since,
        })
    }

    fn input(&mut self, conn: &mut Conn, io: &mut Io<'_>, input: &[u8]) -> usize {
        self.heard = io.now();
        let mut at = 0;
        loop {
            let mut heard = Vec::new();
            let mut out = Vec::new();
            let taken = match conn.client.input(&input[at..], &mut out, &mut heard) {
                Ok(Some(taken)) => taken,
                Ok(None) => return at,
                Err(error) => {
                    self.fail(error);
                    io.abort();
                    return input.len();
                }
            };
            at += taken;
            for heard in heard {
                let visits = (&mut conn.visits, &mut conn.since);
                self.hear(conn.number, &heard, visits, io.now());
                if matches!(heard, Heard::Visited) && conn.visits < self.plan.visits {
                    out.extend_from_slice(&conn.client.handshake());
                }
            }
            if conn.client.is_open() && self.role(conn.number) == Role::Publisher {
                self.publishers[conn.number - self.plan.subscribers].key = Some(io.key());
            }
            if !out.is_empty() && io.write(&out).is_err() {
                self.fail("a client could not send".to_owned());
            }
        }
    }

    fn closed(&mut self, conn: Conn, reason: CloseReason) {
        if self.phase != Phase::Over && conn.visits < self.plan.visits.max(1) {
            self.fail(format!("connection {} has ended: {reason}", conn.number));
        }
    }

    fn connect_failed(&mut self, ticket: u64, reason: CloseReason) {
        self.opening -= 1;
        self.fail(format!("connection {ticket} did not come about: {reason}"));
    }

    fn turn_ended(&mut self, turn: &mut Turn<'_, Conn>) {
        let now = turn.now();
        self.advance(now);
        self.open_more(turn);
        if self.phase == Phase::Loaded {
            self.publish(turn);
        }
        let soon = match self.phase {
            Phase::Over => return,
            Phase::Idle(until) => until,
            Phase::SettingUp | Phase::Loaded => now + Duration::from_millis(100),
        };
        turn.wake_at(soon);
    }
}
