//! Real threads on one broker: nothing is lost or doubled, everything ends, and no number is left
//! standing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bayeux::ManualClock;
use bayeux::Publication;
use bayeux::connector::WakeSink;
use bayeux::connector::{Answer, Exchange, Executed};
use bayeux::{Broker, BrokerConfig, Overflow, QueueLimits};
use serde_json::{Value, json};

use crate::common::rng::Rng;
use crate::common::wait::{PATIENCE, eventually};
use crate::common::world::execute;

/// Collects wakes for one thread.
#[derive(Default)]
struct Bell {
    woken: Mutex<Vec<u64>>,
    rung: Condvar,
}

impl WakeSink for Bell {
    fn wake(&self, keys: &[u64]) {
        self.woken.lock().unwrap().extend_from_slice(keys);
        self.rung.notify_one();
    }
}

impl Bell {
    fn wait(&self, time: Duration) -> Vec<u64> {
        let woken = self.woken.lock().unwrap();
        let waited = self
            .rung
            .wait_timeout_while(woken, time, |woken| woken.is_empty());
        std::mem::take(&mut *waited.unwrap().0)
    }
}

/// Sends requests from one thread.
struct Sender {
    broker: Broker,
    bell: Arc<Bell>,
    keys: u64,
}

impl Sender {
    fn new(broker: &Broker) -> Self {
        Self {
            broker: broker.clone(),
            bell: Arc::default(),
            keys: 0,
        }
    }

    fn send(&mut self, messages: &Value) -> (u64, Executed) {
        self.keys += 1;
        let executed = execute(&self.broker, self.bell.clone(), self.keys, messages);
        (self.keys, executed)
    }

    fn ask(&mut self, messages: &Value) -> Vec<Value> {
        match self.send(messages).1 {
            Executed::Now(answer) => written(answer),
            Executed::Later(_) => panic!("{messages} is not answered at once"),
        }
    }

    fn handshake(&mut self) -> String {
        let items = self.ask(&json!([{"channel": "/meta/handshake"}]));
        items[0]["clientId"]
            .as_str()
            .unwrap_or_else(|| panic!("no client id: {items:?}"))
            .to_owned()
    }

    /// A session with a subscription that has made its first connect.
    fn open(&mut self, subscription: &str) -> String {
        let id = self.handshake();
        let subscribe = json!({"channel": "/meta/subscribe", "clientId": id,
            "subscription": subscription});
        let items = self.ask(&json!([subscribe, connect(&id)]));
        assert!(items.iter().any(|item| item["channel"] == "/meta/connect"));
        id
    }
}

fn written(mut answer: Answer) -> Vec<Value> {
    let mut text = Vec::new();
    answer.write_array(&mut text);
    if let Some(mut in_flight) = answer.in_flight.take() {
        in_flight.commit();
    }
    serde_json::from_slice(&text).expect("a JSON array")
}

fn connect(id: &str) -> Value {
    json!({"channel": "/meta/connect", "clientId": id})
}

/// What a receiver has got of each publisher.
#[derive(Default)]
struct Got(HashMap<u64, u64>);

impl Got {
    fn message(&mut self, message: &Publication) {
        let (publisher, number): (u64, u64) =
            serde_json::from_str(message.data()).expect("a publisher and a number");
        let last = self.0.entry(publisher).or_default();
        assert_eq!(number, *last + 1, "the next of publisher {publisher}");
        *last = number;
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

const PUBLISHERS: u64 = 2;
const MESSAGES: u64 = 1500;

/// Publishes numbered messages, one or several in a request.
fn publish(mut sender: Sender, publisher: u64) {
    let mut rng = Rng::new(publisher);
    let id = sender.open("/echo");
    let mut number = 0;
    while number < MESSAGES {
        let count = (1 + rng.below(4) as u64).min(MESSAGES - number);
        let message = |n| json!({"channel": "/s/x", "clientId": id, "data": [publisher, n]});
        let batch = (number + 1..=number + count).map(message).collect();
        let items = sender.ask(&batch);
        assert!(
            items.iter().all(|item| item["successful"] == true),
            "{items:?}"
        );
        number += count;
    }
    sender.ask(&json!([{"channel": "/meta/disconnect", "clientId": id}]));
}

/// Polls for several sessions, breaks connections and supersedes its own connects.
fn receive(mut sender: Sender, seed: u64, ready: &AtomicU64) {
    let mut rng = Rng::new(seed);
    let mut sessions: HashMap<String, Got> = HashMap::new();
    for subscription in ["/s/x", "/s/*", "/**", "/s/**"] {
        sessions.insert(sender.open(subscription), Got::default());
    }
    ready.fetch_add(1, Ordering::Relaxed);
    let mut pending: HashMap<u64, (String, Exchange)> = HashMap::new();
    let mut idle: Vec<String> = sessions.keys().cloned().collect();
    let begun = Instant::now();
    while sessions
        .values()
        .any(|got| got.total() < PUBLISHERS * MESSAGES)
    {
        assert!(
            begun.elapsed() < PATIENCE,
            "seed {seed}: messages are missing"
        );
        for id in std::mem::take(&mut idle) {
            // Now and then two at once; the first is superseded.
            for _ in 0..1 + usize::from(rng.percent(10)) {
                match sender.send(&json!([connect(&id)])) {
                    (key, Executed::Later(exchange)) => {
                        pending.insert(key, (id.clone(), exchange));
                    }
                    (_, Executed::Now(answer)) => {
                        let again = collect(&mut rng, answer, &id, &mut sessions);
                        idle.extend(again.then(|| id.clone()));
                    }
                }
            }
        }
        let wait = if idle.is_empty() {
            PATIENCE
        } else {
            Duration::ZERO
        };
        for key in sender.bell.wait(wait.min(Duration::from_millis(200))) {
            let Some((id, exchange)) = pending.get_mut(&key) else {
                continue;
            };
            if let Some(answer) = exchange.poll() {
                let again = collect(&mut rng, answer, id, &mut sessions);
                idle.extend(again.then(|| id.clone()));
                pending.remove(&key);
            } else if rng.percent(5) {
                idle.push(id.clone());
                pending.remove(&key);
            }
        }
    }
    drop(pending);
    for (id, got) in sessions {
        assert_eq!(got.0.len() as u64, PUBLISHERS);
        sender.ask(&json!([{"channel": "/meta/disconnect", "clientId": id}]));
    }
}

/// Takes an answer, or breaks the connection. Whether a new connect is to follow.
fn collect(
    rng: &mut Rng,
    mut answer: Answer,
    id: &str,
    sessions: &mut HashMap<String, Got>,
) -> bool {
    let replies = String::from_utf8(answer.replies.clone()).expect("JSON");
    let superseded = replies.contains("409::connect_superseded");
    assert!(
        superseded || replies.contains("\"successful\":true"),
        "{replies}"
    );
    if rng.percent(10) {
        drop(answer);
        return !superseded;
    }
    for message in &answer.messages {
        sessions.get_mut(id).expect("one of ours").message(message);
    }
    if let Some(mut in_flight) = answer.in_flight.take() {
        in_flight.commit();
    }
    !superseded
}

/// Sessions that come, subscribe, hold, and go in every way there is.
fn churn(mut sender: Sender, seed: u64, stop: &AtomicBool) {
    let mut rng = Rng::new(seed);
    let mut held: Vec<(String, Exchange)> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // Those that are abandoned stay for a while: on a slow machine until there is no room.
        if sender.broker.stats().sessions > 50_000 {
            std::thread::park_timeout(Duration::from_millis(2));
            continue;
        }
        let id = sender.open(["/s/x", "/**", "/s/*", "/other"][rng.below(4)]);
        let mut brief = connect(&id);
        brief["advice"] = json!({ "timeout": rng.below(200) });
        if let (_, Executed::Later(exchange)) = sender.send(&json!([brief])) {
            held.push((id, exchange));
        }
        if held.len() > 8 {
            let at = rng.below(held.len());
            let (id, exchange) = held.swap_remove(at);
            let bye = json!([{"channel": "/meta/disconnect", "clientId": id}]);
            match rng.below(4) {
                0 => drop(exchange),
                1 => {
                    sender.send(&bye);
                }
                2 => {
                    let unsubscribe = json!({"channel": "/meta/unsubscribe", "clientId": id,
                        "subscription": ["/s/x", "/**"]});
                    sender.send(&json!([unsubscribe]));
                    sender.send(&bye);
                }
                _ => {
                    // Never to be heard of again.
                    sender.send(&json!([connect(&id)]));
                }
            }
        }
    }
}

/// Stops those that go on for ever, also when the test fails.
struct StopInTheEnd<'a>(&'a AtomicBool);

impl Drop for StopInTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_is_lost_or_doubled_between_threads() {
    let config = BrokerConfig {
        // No hold of a receiver times out: a wake that is lost is not made good.
        timeout: Duration::from_secs(3600),
        max_interval: Duration::from_secs(600),
        queue: QueueLimits {
            messages: 1_000_000,
            bytes: 1 << 30,
            overflow: Overflow::Disconnect,
        },
        ..BrokerConfig::default()
    };
    let clock = ManualClock::new();
    let broker = Broker::start(config, Arc::new(clock.clone()), None).expect("threads start");
    let bot = broker.local_client();
    let all = bot.subscribe_queue("/s/**").expect("a pattern");
    let (ready, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let receivers: Vec<_> = (0..2)
            .map(|seed| {
                let (broker, ready) = (&broker, &ready);
                scope.spawn(move || receive(Sender::new(broker), seed, ready))
            })
            .collect();
        let (broker, stop) = (&broker, &stop);
        let _stop = StopInTheEnd(stop);
        scope.spawn(move || churn(Sender::new(broker), 7, stop));
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                clock.advance(Duration::from_millis(20));
                broker.tick();
                std::thread::park_timeout(Duration::from_millis(2));
            }
        });
        eventually("both are ready", || ready.load(Ordering::Relaxed) == 2);
        for publisher in 0..PUBLISHERS {
            scope.spawn(move || publish(Sender::new(broker), publisher));
        }
        let mut got = Got::default();
        while got.total() < PUBLISHERS * MESSAGES {
            let message = bot.recv_timeout(PATIENCE).expect("all messages");
            got.message(&message);
        }
        eventually("all have got theirs", || {
            receivers.iter().all(|receiver| receiver.is_finished())
        });
    });
    drop(all);
    clock.advance(Duration::from_secs(700));
    eventually("nothing is left", || {
        let stats = broker.stats();
        let left = [stats.sessions, stats.held, stats.subscriptions];
        left == [0; 3] && (stats.queued_messages, stats.message_bytes) == (0, 0)
    });
}

#[test]
fn a_connect_in_the_last_moment_is_held_or_refused_but_not_both() {
    let config = BrokerConfig {
        max_interval: Duration::from_secs(1),
        ..BrokerConfig::default()
    };
    let clock = ManualClock::new();
    let broker = Broker::start_without_ticker(config, Arc::new(clock.clone()), None);
    let broker = broker.expect("threads start");
    let mut sender = Sender::new(&broker);
    for _ in 0..200 {
        let ids: Vec<String> = (0..8).map(|_| sender.open("/x")).collect();
        clock.advance(Duration::from_secs(1));
        std::thread::scope(|scope| {
            scope.spawn(|| broker.tick());
            for id in &ids {
                match sender.send(&json!([connect(id)])).1 {
                    Executed::Now(answer) => {
                        assert_eq!(written(answer)[0]["error"], "402::session_unknown");
                    }
                    Executed::Later(mut exchange) => {
                        std::thread::yield_now();
                        assert!(exchange.poll().is_none(), "the session lives");
                    }
                }
            }
        });
    }
}
