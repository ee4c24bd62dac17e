//! A hub with many linked nodes, on real sockets; the hub is a process of its own, which is killed
//! and started again while they post to each other.
//!
//! `LINK_NODES` and `LINK_POSTS` say how many.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bayeux::link::{Event, Message, Node};

use crate::common::ports::lasting_address;
use crate::common::wait::{PATIENCE, eventually};
use crate::support::{Process, config, key, role};

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// Not a test by itself: the hub's process.
#[test]
fn hub_process() {
    if let Some(address) = role() {
        let hub = Node::start(bayeux::link::Config::named("hub", key())).unwrap();
        hub.listen(&address).unwrap();
        println!("hub is up");
        thread::sleep(Duration::from_secs(600));
    }
}

/// One of the nodes: what it got from each other, and what it was told is lost.
struct Leaf {
    node: Node,
    got: Arc<Mutex<Vec<Vec<u64>>>>,
    undelivered: Arc<Mutex<u64>>,
}

fn leaf(n: usize, nodes: usize, address: &str) -> Leaf {
    let mut config = config(&format!("leaf{n}"));
    config.workers = 1;
    // However long a slow machine takes to tell all of all again.
    config.limits.outbox_time = 10 * PATIENCE;
    let node = Node::start(config).unwrap();
    let got = Arc::new(Mutex::new(vec![Vec::new(); nodes]));
    let (inbox, undelivered) = (Arc::clone(&got), Arc::new(Mutex::new(0)));
    let take = move |message: Message| {
        let (from, number): (usize, u64) = message.args().unwrap();
        inbox.lock().unwrap()[from].push(number);
    };
    node.export(&format!("x{n}"), take).unwrap().keep();
    let count = Arc::clone(&undelivered);
    node.observe(move |event| {
        if let Event::Undelivered {
            lost, uncertain, ..
        } = event
        {
            *count.lock().unwrap() += lost + uncertain;
        }
    });
    node.connect(address).unwrap();
    Leaf {
        node,
        got,
        undelivered,
    }
}

/// Each node posts its share to the others in turn; returns how many to each.
fn post(leaf: &Leaf, n: usize, nodes: usize, share: usize, pace: &dyn Fn(usize)) -> Vec<u64> {
    let mut sent = vec![0_u64; nodes];
    for round in 0..share {
        let to = (n + 1 + round % (nodes - 1)) % nodes;
        leaf.node
            .post(&format!("x{to}"), "n", &(n, sent[to]))
            .unwrap();
        sent[to] += 1;
        pace(round);
    }
    sent
}

#[test]
fn nothing_is_lost_doubled_or_out_of_order_when_the_hub_is_killed() {
    if role().is_some() {
        return;
    }
    let (nodes, posts) = (number("LINK_NODES", 200), number("LINK_POSTS", 100_000));
    let address = lasting_address().to_string();
    let mut hub = Process::start("hub::hub_process", &address);
    hub.line("hub is up");
    let begun = Instant::now();
    let leaves: Vec<Leaf> = (0..nodes).map(|n| leaf(n, nodes, &address)).collect();
    eventually("all know all", || {
        leaves.iter().all(|leaf| leaf.node.aliases().len() == nodes)
    });
    let linked = begun.elapsed();
    let share = posts / nodes;
    // Eight threads post for all; half way they wait until the hub was killed.
    let (half, killed) = (std::sync::Barrier::new(9), std::sync::Barrier::new(9));
    let mut sent: Vec<Vec<u64>> = Vec::new();
    let begun = Instant::now();
    thread::scope(|scope| {
        let posters: Vec<_> = (0..8)
            .map(|group| {
                let (leaves, half, killed) = (&leaves, &half, &killed);
                scope.spawn(move || {
                    let mine: Vec<usize> = (group..nodes).step_by(8).collect();
                    let mut sent = Vec::new();
                    for (index, n) in mine.iter().enumerate() {
                        if index == mine.len() / 2 {
                            half.wait();
                            killed.wait();
                        }
                        let counts = post(&leaves[*n], *n, nodes, share, &|_| {});
                        sent.push((*n, counts));
                    }
                    sent
                })
            })
            .collect();
        half.wait();
        hub.kill();
        killed.wait();
        thread::sleep(Duration::from_millis(300));
        hub = Process::start("hub::hub_process", &address);
        hub.line("hub is up");
        let mut all: Vec<_> = posters
            .into_iter()
            .flat_map(|p| p.join().unwrap())
            .collect();
        all.sort_by_key(|(n, _)| *n);
        sent = all.into_iter().map(|(_, counts)| counts).collect();
    });
    for leaf in &leaves {
        assert!(leaf.node.flush(10 * PATIENCE), "{:?}", leaf.node.stats());
    }
    let took = begun.elapsed();
    for (n, counts) in sent.iter().enumerate() {
        assert_eq!(*leaves[n].undelivered.lock().unwrap(), 0);
        for (to, count) in counts.iter().enumerate() {
            let got = &leaves[to].got.lock().unwrap()[n];
            assert!(
                got.iter().copied().eq(0..*count),
                "{n} to {to}: {got:?} of {count}"
            );
        }
    }
    println!("{nodes} nodes linked in {linked:.1?}; {posts} posts in {took:.1?}");
}
