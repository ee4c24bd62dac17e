//! Chance: nodes post, call, export and lose links in an order that a seed decides; what must hold
//! holds afterwards. `SEED=` replays one.

use std::time::Duration;

use super::net::{Net, id, result};
use crate::link::{Event, Limits};

const NODES: usize = 6;

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..60).collect(),
    }
}

fn undelivered(net: &Net, at: usize, to: usize) -> u64 {
    let mut sum = 0;
    for event in &net.nodes[at].events {
        if let Event::Undelivered {
            node,
            lost,
            uncertain,
            ..
        } = event
        {
            if *node == Some(id(to)) {
                sum += lost + uncertain;
            }
        }
    }
    sum
}

/// Pairs of nodes whose links a seed may make and cut.
fn pairs() -> Vec<(usize, usize)> {
    let each = (0..NODES).flat_map(|a| (a + 1..NODES).map(move |b| (a, b)));
    each.filter(|(a, b)| (a + b) % 2 == 1 || b - a == 2)
        .collect()
}

#[test]
fn whatever_happens_to_links_every_message_comes_once_and_in_order() {
    for seed in seeds() {
        let limits = Limits {
            outbox_messages: 200,
            ..Limits::default()
        };
        let mut net = Net::new(NODES, &limits, seed);
        let pairs = pairs();
        for n in 0..NODES {
            net.export(n, &format!("x{n}"));
        }
        for (a, b) in &pairs {
            net.link(*a, *b);
        }
        net.settle();
        let mut posted = vec![vec![0_u64; NODES]; NODES];
        let mut calls = Vec::new();
        for _ in 0..3000 {
            let (a, b) = (net.random(NODES), net.random(NODES));
            match net.random(40) {
                0 => {
                    let (a, b) = pairs[net.random(pairs.len())];
                    if net.is_linked(a, b) {
                        net.cut(a, b);
                    } else {
                        net.link(a, b);
                    }
                }
                1 => net.pass_time(Duration::from_millis(300)),
                2 if !net.owners(a, &format!("x{b}")).is_empty() => {
                    calls.push(net.call(a, &format!("x{b}"), Duration::from_secs(5)));
                }
                3..20 => {
                    if net.post(a, &format!("x{b}"), posted[a][b]).is_ok() {
                        posted[a][b] += 1;
                    }
                }
                _ => drop(net.step()),
            }
        }
        for (a, b) in &pairs {
            if !net.is_linked(*a, *b) {
                net.link(*a, *b);
            }
        }
        net.pass_time(Duration::from_secs(20));
        judge(&net, &posted, seed);
        for call in calls {
            assert!(
                result(&call).is_some(),
                "seed {seed}: a call without an end"
            );
        }
    }
}

fn judge(net: &Net, posted: &[Vec<u64>], seed: u64) {
    for (a, sent) in posted.iter().enumerate() {
        assert_eq!(
            net.nodes[a].router.unconfirmed(),
            0,
            "seed {seed}: node {a}"
        );
        assert_eq!(
            net.nodes[a].router.reachable().len(),
            NODES - 1,
            "seed {seed}: node {a}"
        );
        for (b, count) in sent.iter().enumerate() {
            let inbox = net.nodes[b].inbox.iter();
            let numbers: Vec<u64> = inbox
                .filter(|(_, delivery)| delivery.from == id(a) && delivery.call.is_none())
                .map(|(_, delivery)| delivery.args.parse().expect("a number"))
                .collect();
            assert!(
                numbers.is_sorted_by(|x, y| x < y),
                "seed {seed}: {a} to {b}: {numbers:?}"
            );
            let lost = undelivered(net, a, b);
            let got = numbers.len() as u64;
            assert!(
                got + lost >= *count,
                "seed {seed}: {a} to {b}: {got} of {count}, {lost} lost"
            );
            // Nobody was away for long, so nothing is lost.
            assert_eq!((got, lost), (*count, 0), "seed {seed}: {a} to {b}");
            assert_eq!(
                net.owners(a, &format!("x{b}")),
                [b],
                "seed {seed}: {a} about {b}"
            );
        }
    }
}

#[test]
fn nodes_agree_after_partitions_of_any_length() {
    for seed in seeds() {
        let mut net = Net::new(NODES, &Limits::default(), seed + 1000);
        let pairs = pairs();
        let mut exports: Vec<Option<u64>> = vec![None; NODES];
        for _ in 0..120 {
            let n = net.random(NODES);
            match net.random(8) {
                0 => match exports[n].take() {
                    Some(token) => {
                        net.use_router(n, |router| router.unexport(&format!("x{n}"), token));
                    }
                    None => exports[n] = Some(net.export(n, &format!("x{n}"))),
                },
                1 => {
                    let ms = net.random(200_000) as u64;
                    net.pass_time(Duration::from_millis(ms));
                }
                2..5 => {
                    let (a, b) = pairs[net.random(pairs.len())];
                    if net.is_linked(a, b) {
                        net.cut(a, b);
                    } else {
                        net.link(a, b);
                    }
                }
                _ => {
                    for _ in 0..net.random(30) {
                        net.step();
                    }
                }
            }
        }
        for (a, b) in &pairs {
            if !net.is_linked(*a, *b) {
                net.link(*a, *b);
            }
        }
        net.settle();
        for at in 0..NODES {
            assert_eq!(
                net.nodes[at].router.reachable().len(),
                NODES - 1,
                "seed {seed}: at {at}"
            );
            for (n, export) in exports.iter().enumerate() {
                let owners = net.owners(at, &format!("x{n}"));
                let expected: Vec<usize> = export.map(|_| n).into_iter().collect();
                assert_eq!(owners, expected, "seed {seed}: at {at}");
            }
        }
    }
}
