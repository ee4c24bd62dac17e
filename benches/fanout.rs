//! Two threads that publish to different receivers should not stand in each other's way.

mod common;

use std::sync::{Arc, Barrier};
use std::time::Instant;

use bayeux::connector::WakeSink;
use bayeux::connector::{Exchange, Executed};
use bayeux::{Broker, BrokerConfig, Overflow, QueueLimits};
use common::{Discard, broker, connect, goal, median, message, open, send, size};
use serde_json::json;

const RECEIVERS: usize = 500;

struct Case {
    broker: Broker,
    /// The receivers' held connects.
    _held: Vec<Exchange>,
}

impl Case {
    /// Each channel has its receivers, all of them with a held connect on a sink that discards
    /// its wakes. Their queues are full, so that each message takes another one's place.
    fn new() -> Self {
        let broker = broker(BrokerConfig {
            queue: QueueLimits {
                messages: 4,
                overflow: Overflow::DropOldest,
                ..QueueLimits::default()
            },
            max_sessions_per_browser: None,
            ..BrokerConfig::default()
        });
        let sink = Arc::new(Discard::default()) as Arc<dyn WakeSink>;
        let mut held = Vec::new();
        for n in 0..2 * RECEIVERS as u64 {
            let id = open(&broker, &json!(format!("/fan/{}", n % 2)));
            match send(&broker, &sink, n, &connect(&id)) {
                Executed::Later(exchange) => held.push(exchange),
                Executed::Now(_) => panic!("the connect is held"),
            }
        }
        assert_eq!(broker.stats().held as usize, held.len());
        Self {
            broker,
            _held: held,
        }
    }

    fn publish(&self, channel: &str, messages: usize) {
        for _ in 0..messages {
            let publication = Arc::new(message(channel, "{\"text\":\"some words\"}"));
            assert_eq!(self.broker.publish_encoded(&publication), Ok(RECEIVERS));
        }
    }
}

/// Messages per second when each of these is published on by a thread of its own.
fn rate(threads: &[(&Case, &str)], messages: usize) -> f64 {
    let barrier = Barrier::new(threads.len());
    let run = &|case: &Case, channel: &str| {
        barrier.wait();
        let begun = Instant::now();
        case.publish(channel, messages);
        (begun, Instant::now())
    };
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let spawn = |(case, channel)| scope.spawn(move || run(case, channel));
        let running: Vec<_> = threads.iter().copied().map(spawn).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let begun = spans.iter().map(|span| span.0).min().expect("a thread");
    let ended = spans.iter().map(|span| span.1).max().expect("a thread");
    (threads.len() * messages) as f64 / (ended - begun).as_secs_f64()
}

fn main() {
    let (case, other) = (Case::new(), Case::new());
    let (rounds, messages) = (size(15, 2), size(20_000, 10));
    let (mut ones, mut together, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=rounds {
        let one = rate(&[(&case, "/fan/0")], messages);
        let two = rate(&[(&case, "/fan/0"), (&case, "/fan/1")], messages);
        // What the machine can do at this moment, when nothing at all is shared.
        let best = rate(&[(&case, "/fan/0"), (&other, "/fan/1")], messages);
        if round > 0 {
            ones.push(1e9 / (one * RECEIVERS as f64));
            together.push(two / one);
            apart.push(best / one);
        }
    }
    println!("{:.1} ns a delivery", median(ones));
    let (together, apart) = (median(together), median(apart));
    println!("two threads to one: {together:.2}; with a broker for each: {apart:.2}");
    let ratio = 2.0 * together / apart;
    goal(
        "two threads to one, on a machine with two whole cores",
        ratio,
        ratio >= 1.7,
    );
}
