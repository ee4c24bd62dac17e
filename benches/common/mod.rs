//! What the benches share: clients without sockets, and times taken in a noisy place.
#![allow(dead_code, unreachable_pub)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bayeux::Publisher;
use bayeux::SystemClock;
use bayeux::connector::message::{BatchLimits, parse};
use bayeux::connector::{Answer, Call, Executed};
use bayeux::connector::{ConnectionHandle, WakeSink};
use bayeux::{Broker, BrokerConfig};
use bayeux::{ChannelName, Publication};
use bayeux::{Peer, Transport};
use serde_json::{Value, json};

/// Whether this is a real run (`cargo bench`) or a trial that only shows that it still works
/// (`cargo test`).
pub fn is_real() -> bool {
    let mut arguments = std::env::args();
    arguments.any(|argument| argument == "--bench") && std::env::args().all(|a| a != "--test")
}

/// The number for a real run, or the one for a trial.
pub fn size(real: usize, trial: usize) -> usize {
    if is_real() { real } else { trial }
}

/// A sink that only counts.
#[derive(Default)]
pub struct Discard(pub AtomicU64);

impl WakeSink for Discard {
    fn wake(&self, keys: &[u64]) {
        self.0.fetch_add(keys.len() as u64, Ordering::Relaxed);
    }
}

pub fn broker(config: BrokerConfig) -> Broker {
    Broker::start_without_ticker(config, Arc::new(SystemClock), None).expect("threads start")
}

pub fn send(broker: &Broker, sink: &Arc<dyn WakeSink>, key: u64, messages: &Value) -> Executed {
    let body = messages.to_string();
    let batch = parse(body.as_bytes(), &BatchLimits::default()).expect("a batch");
    broker.execute(Call {
        peer: Peer {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            transport: Transport::LongPolling,
            browser: None,
            secure: false,
        },
        batch,
        connection: ConnectionHandle {
            sink: Arc::clone(sink),
            key,
        },
    })
}

pub fn ask(broker: &Broker, messages: &Value) -> Vec<Value> {
    let sink = Arc::new(Discard::default()) as Arc<dyn WakeSink>;
    match send(broker, &sink, 0, messages) {
        Executed::Now(answer) => items(answer),
        Executed::Later(_) => panic!("{messages} is not answered at once"),
    }
}

fn items(mut answer: Answer) -> Vec<Value> {
    let mut text = Vec::new();
    answer.write_array(&mut text);
    if let Some(mut in_flight) = answer.in_flight.take() {
        in_flight.commit();
    }
    serde_json::from_slice(&text).expect("a JSON array")
}

pub fn handshake(broker: &Broker) -> String {
    let items = ask(broker, &json!([{"channel": "/meta/handshake"}]));
    items[0]["clientId"]
        .as_str()
        .expect("a client id")
        .to_owned()
}

/// A session with its subscriptions, after its first connect.
pub fn open(broker: &Broker, subscription: &Value) -> String {
    let id = handshake(broker);
    let items = ask(
        broker,
        &json!([
            {"channel": "/meta/subscribe", "clientId": id, "subscription": subscription},
            {"channel": "/meta/connect", "clientId": id},
        ]),
    );
    assert!(
        items.iter().all(|item| item["successful"] != false),
        "{items:?}"
    );
    id
}

pub fn connect(id: &str) -> Value {
    json!([{"channel": "/meta/connect", "clientId": id}])
}

pub fn message(channel: &str, data: &str) -> Publication {
    let channel = ChannelName::try_from(channel).expect("a channel");
    Publication::new(&channel, data, Publisher::Nobody)
}

pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Nanoseconds for one of so many calls.
pub fn time(calls: usize, mut call: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        call();
    }
    begun.elapsed().as_nanos() as f64 / calls as f64
}

/// Says whether a goal was reached; in a real run it has to be.
pub fn goal(name: &str, value: f64, reached: bool) {
    let verdict = if reached { "reached" } else { "MISSED" };
    println!("{name}: {value:.2} ({verdict})");
    if is_real() && !reached {
        std::process::exit(1);
    }
}
