//! One address does everything at once that a stranger can do, to a server that may not have more
//! memory than a small machine. Clients behind another address lose nothing.
//!
//! For figures: `FAULTS_FULL=1` lets it last a minute.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::abuse::wire::{Rude, in_threads};
use super::good::Good;
use super::priority::stand_back;
use super::program::Program;
use super::scale::{alone, few, handshake, is_full, tell, tell_latencies};
use crate::common::http::{Connection, request_bytes};

/// What the server may have, stacks and all.
const MEMORY: u64 = 512 << 20;

/// Settings for a machine of that size.
const FLAGS: &[&str] = &[
    "--max-sessions=5000",
    "--max-queued-total=48MiB",
    "--max-input-total=48MiB",
    "--max-body=1MiB",
    "--max-interval=20s",
    "--timeout=2s",
];

/// The well-behaved.
const GOOD: usize = 50;

#[test]
fn one_address_does_all_of_it_at_once() {
    let _alone = alone();
    let program = Program::with_memory(MEMORY, FLAGS);
    let good = Good::start(program.address, GOOD);
    let (calm, span) = match is_full() {
        true => (Duration::from_secs(8), Duration::from_secs(60)),
        false => (Duration::from_millis(500), Duration::from_secs(4)),
    };
    let peace = good.measured(calm);
    let before = program.metrics();
    let siege = Siege {
        address: program.address,
        until: Instant::now() + span,
    };
    let (trouble, newcomers) = std::thread::scope(|scope| {
        let abusers = scope.spawn(|| {
            stand_back(is_full());
            in_threads(ASSAULTS.len() * 2, |n| ASSAULTS[n % ASSAULTS.len()](&siege));
        });
        let newcomers = scope.spawn(|| siege.newcomers());
        let trouble = good.measured(span);
        abusers.join().expect("the abusers themselves do not fail");
        (trouble, newcomers.join().expect("somebody new may come"))
    });
    let after = program.metrics();
    tell_latencies("under siege", &peace, &trouble);
    tell(&format!(
        "   memory: {:.0} MiB before, {:.0} MiB at the end of it, {:.0} MiB at the most",
        before.resident / 1_048_576.0,
        after.resident / 1_048_576.0,
        program.peak() / 1_048_576.0
    ));
    tell(&format!("   counters: {}", after.told_since(&before)));
    let faults = good.stop();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(trouble.count() > GOOD, "the well-behaved went on");
    assert!(newcomers > 0, "and others came");
}

struct Siege {
    address: SocketAddr,
    until: Instant,
}

impl Siege {
    fn is_over(&self) -> bool {
        Instant::now() > self.until
    }

    /// Somebody else comes now and then, whose requests take their time to arrive; how many have.
    fn newcomers(&self) -> usize {
        let mut count = 0;
        while !self.is_over() {
            let mut connection = Connection::open(self.address);
            let request = handshake();
            let (first, second) = request.split_at(request.len() - 10);
            connection.send(first);
            std::thread::sleep(Duration::from_millis(20));
            connection.send(second);
            let reply = connection.response();
            assert_eq!(reply.status, 200, "{reply:?}");
            count += 1;
        }
        count
    }

    /// A connection of the stranger, as long as there is one to be had.
    fn open(&self) -> Option<Rude> {
        Rude::open_elsewhere(self.address, None)
    }

    /// Does it again and again, each time on a connection of its own.
    fn again(&self, mut assault: impl FnMut(&mut Rude) -> Option<()>) {
        while !self.is_over() {
            let Some(mut rude) = self.open() else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            // Until the server has enough of it.
            while !self.is_over() && assault(&mut rude).is_some() {}
        }
    }

    /// Leaves connections behind that each begin so, as many as there may be.
    fn pile_up(&self, request: &[u8]) {
        let mut left = Vec::new();
        while !self.is_over() {
            if left.len() >= few(1000) {
                left.clear();
            }
            if let Some(mut rude) = self.open() {
                rude.reads_little();
                rude.send(request, Duration::from_millis(100));
                left.push(rude);
            } else {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

const ASSAULTS: &[fn(&Siege)] = &[
    handshakes,
    comings_and_goings,
    patterns,
    halves,
    unread,
    crowds,
    floods,
];

fn batch(message: &Value, count: usize) -> String {
    let one = message.to_string();
    format!("[{}]", vec![one; count].join(","))
}

/// A thousand sessions a request.
fn handshakes(siege: &Siege) {
    let body = batch(&json!({"channel": "/meta/handshake"}), 1000);
    siege.again(|rude| rude.post(&body).map(drop));
}

/// Sessions that end at once.
fn comings_and_goings(siege: &Siege) {
    siege.again(|rude| {
        let ids = sessions(rude, 300)?;
        let gone = |id| json!({"channel": "/meta/disconnect", "clientId": id});
        let all: Vec<Value> = ids.iter().map(gone).collect();
        rude.post(&Value::from(all).to_string()).map(drop)
    });
}

/// The ids of so many new sessions.
fn sessions(rude: &mut Rude, count: usize) -> Option<Vec<String>> {
    let reply = rude.post(&batch(&json!({"channel": "/meta/handshake"}), count))?;
    let replies: Vec<Value> = serde_json::from_str(&reply).ok()?;
    let ids = replies.iter().map(|reply| reply["clientId"].as_str());
    ids.map(|id| id.map(str::to_owned)).collect()
}

/// Subscriptions to long patterns that nobody else has.
fn patterns(siege: &Siege) {
    let mut number = 0_u64;
    siege.again(|rude| {
        let id = sessions(rude, 1)?.remove(0);
        for _ in 0..10 {
            let patterns = (0..100).map(|_| {
                number += 1;
                format!("{}/{number}/**", "/segment".repeat(30))
            });
            let patterns: Vec<String> = patterns.collect();
            let message = json!([{"channel": "/meta/subscribe", "clientId": id,
                "subscription": patterns}]);
            rude.post(&message.to_string())?;
        }
        Some(())
    });
}

/// Bodies of a megabyte of which the end does not come.
fn halves(siege: &Siege) {
    let length = 1_000_000;
    let head = format!(
        "POST /cometd HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    let half = [head.into_bytes(), vec![b' '; length - 1]].concat();
    siege.pile_up(&half);
}

/// Answers of nearly a megabyte that nobody reads.
fn unread(siege: &Siege) {
    let patterns: Vec<String> = (0..8000)
        .map(|n| format!("{}/{n}", "/unread".repeat(14)))
        .collect();
    let body = json!([{"channel": "/meta/subscribe", "clientId": "nobody",
        "subscription": patterns}])
    .to_string();
    let kind = "Content-Type: application/json\r\n";
    let request = request_bytes("POST", "/cometd", kind, body.as_bytes());
    siege.pile_up(&request);
}

/// Sessions that are subscribed and take nothing, and messages for them.
fn crowds(siege: &Siege) {
    let data = "x".repeat(12_000);
    siege.again(|rude| {
        let ids = sessions(rude, 500)?;
        let subscribe =
            |id| json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/crowd"});
        let all: Vec<Value> = ids.iter().map(subscribe).collect();
        rude.post(&Value::from(all).to_string())?;
        let message = json!({"channel": "/crowd", "clientId": ids[0], "data": data});
        rude.post(&batch(&message, 20)).map(drop)
    });
}

/// A thousand messages a request, for itself.
fn floods(siege: &Siege) {
    siege.again(|rude| {
        let ids = sessions(rude, 1)?;
        let subscribe = json!([{"channel": "/meta/subscribe", "clientId": ids[0],
            "subscription": "/flood"}]);
        rude.post(&subscribe.to_string())?;
        let message = json!({"channel": "/flood", "clientId": ids[0], "data": "y"});
        rude.post(&batch(&message, 1000)).map(drop)
    });
}
