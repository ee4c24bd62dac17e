//! Two threads that publish to different receivers should not stand in each other's way.

mod common;

use std::sync::{Arc, Barrier};
use std::time::Instant;

use bayeux::broker::{Broker, BrokerConfig, Exchange, Executed, Overflow, QueueLimits};
use bayeux::transport::Outlet;
use common::{Discard, broker, connect, goal, median, message, open, send, size};
use serde_json::json;

const RECEIVERS: usize = 500;

struct Case {
    broker: Broker,
    /// The receivers' held connects.
    _held: Vec<Exchange>,
}

impl Case {
    /// Each channel has its receivers, all of them with a held connect on an outlet that discards
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
        let outlet = Arc::new(Discard::default()) as Arc<dyn Outlet>;
        let mut held = Vec::new();
        for n in 0..2 * RECEIVERS as u64 {
            let id = open(&broker, &json!(format!("/fan/{}", n % 2)));
            match send(&broker, &outlet, n, &connect(&id)) {
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
            assert_eq!(self.broker.publish_encoded(&publication), RECEIVERS);
        }
    }

    /// Messages per second when so many threads publish.
    fn rate(&self, channels: &[&str], messages: usize) -> f64 {
        let barrier = Barrier::new(channels.len());
        let run = &|channel: &&str| {
            barrier.wait();
            let begun = Instant::now();
            self.publish(channel, messages);
            (begun, Instant::now())
        };
        let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
            let threads = channels
                .iter()
                .map(|channel| scope.spawn(move || run(channel)));
            let threads: Vec<_> = threads.collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        let begun = spans.iter().map(|span| span.0).min().expect("a thread");
        let ended = spans.iter().map(|span| span.1).max().expect("a thread");
        (channels.len() * messages) as f64 / (ended - begun).as_secs_f64()
    }
}

fn main() {
    let case = Case::new();
    let (rounds, messages) = (size(31, 2), size(1000, 10));
    case.publish("/fan/0", messages);
    case.publish("/fan/1", messages);
    let (mut ones, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let one = case.rate(&["/fan/0"], messages);
        let two = case.rate(&["/fan/0", "/fan/1"], messages);
        ones.push(1e9 / (one * RECEIVERS as f64));
        ratios.push(two / one);
    }
    println!("{:.1} ns a delivery", median(ones));
    ratios.sort_unstable_by(f64::total_cmp);
    println!("two threads to one, all rounds: {ratios:.2?}");
    let ratio = median(ratios);
    goal("two threads to one", ratio, ratio >= 1.7);
}
