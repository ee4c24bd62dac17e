//! What publishing costs when a million others are subscribed to something else.

mod common;

use std::sync::Arc;

use bayeux::Publication;
use bayeux::{Broker, BrokerConfig, LocalClient, Overflow, QueueLimits};
use common::{ask, broker, goal, is_real, median, message, open, size, time};
use serde_json::{Value, json};

const RECEIVERS: usize = 10;
/// Subscriptions of one session.
const EACH: usize = 1000;

struct Case {
    broker: Broker,
    meddler: LocalClient,
    publication: Arc<Publication>,
}

impl Case {
    /// The unrelated subscriptions are next to the channel, in the same node of the table.
    fn new(unrelated: usize) -> Self {
        let broker = broker(BrokerConfig {
            queue: QueueLimits {
                messages: 4,
                overflow: Overflow::DropOldest,
                ..QueueLimits::default()
            },
            max_subscription_bytes: 1 << 30,
            max_share_per_ip: 100,
            ..BrokerConfig::default()
        });
        for n in 0..unrelated / EACH {
            let channels = (0..EACH).map(|m| json!(format!("/bench/{}", n * EACH + m)));
            open(&broker, &Value::Array(channels.collect()));
        }
        for n in 0..RECEIVERS {
            let patterns = ["/bench/it", "/bench/*", "/**"];
            // Some of them more than once.
            open(&broker, &json!(patterns[..1 + n % 3]));
        }
        assert_eq!(
            broker.stats().subscriptions as usize / EACH,
            unrelated / EACH
        );
        Self {
            meddler: broker.local_client(),
            broker,
            publication: Arc::new(message("/bench/it", "\"x\"")),
        }
    }

    fn publish(&self) {
        assert_eq!(
            self.broker.publish_encoded(&self.publication),
            Ok(RECEIVERS)
        );
    }

    /// Makes the list of receivers outdated.
    fn meddle(&self) {
        drop(
            self.meddler
                .subscribe_queue("/bench/it")
                .expect("a pattern"),
        );
    }

    fn warm(&self, calls: usize) -> f64 {
        self.publish();
        time(calls, || self.publish())
    }

    fn cold(&self, calls: usize) -> f64 {
        let mut sum = 0.0;
        for _ in 0..calls {
            self.meddle();
            sum += time(1, || self.publish());
        }
        sum / calls as f64
    }
}

fn main() {
    let (few, many) = (Case::new(1000), Case::new(size(1_000_000, 10_000)));
    let (rounds, calls) = (size(51, 3), size(2000, 20));
    for (name, measure) in [
        ("warm", Case::warm as fn(&Case, usize) -> f64),
        ("cold", Case::cold),
    ] {
        let (mut times, mut ratios) = (Vec::new(), Vec::new());
        // Side by side, so that the noise of the machine meets both.
        for _ in 0..rounds {
            let (small, large) = (measure(&few, calls), measure(&many, calls));
            times.push(large);
            ratios.push(large / small);
        }
        println!("{name}: {:.0} ns a publish to {RECEIVERS}", median(times));
        let ratio = median(ratios);
        goal(
            &format!("{name}: time with a million to time with a thousand"),
            ratio,
            ratio <= 1.3,
        );
    }
    if !is_real() {
        // The unrelated ones really got nothing.
        let stats = many.broker.stats();
        assert!(stats.queued_messages <= 4 * RECEIVERS as u64);
        assert!(ask(&many.broker, &json!([])).is_empty());
    }
}
