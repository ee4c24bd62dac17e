//! One scene for each thing that is promised.

use std::collections::BTreeSet;
use std::time::Duration;

use super::net::{Net, fault, id, request, result};
use crate::link::router::Router;
use crate::link::wire::{Claim, Frame, News, encode};
use crate::link::{CallError, Event, ExportError, FaultKind, Limits, LinkEnd, PostError};

const SECOND: Duration = Duration::from_secs(1);

fn chain(nodes: usize) -> Net {
    let mut net = Net::new(nodes, &Limits::default(), 1);
    for n in 1..nodes {
        net.link(n - 1, n);
    }
    net.settle();
    net
}

#[test]
fn a_ring_settles_in_few_frames() {
    let mut net = Net::new(3, &Limits::default(), 7);
    for n in 0..3 {
        net.export(n, &format!("a{n}"));
    }
    for (a, b) in [(0, 1), (1, 2), (2, 0)] {
        net.link(a, b);
    }
    net.settle();
    assert!(net.frames < 100, "{} frames", net.frames);
    let before = net.frames;
    net.export(0, "late");
    net.settle();
    assert!(net.frames - before <= 4, "{} frames", net.frames - before);
    for n in 0..3 {
        assert_eq!(net.owners(n, "late"), [0]);
        assert_eq!(net.nodes[n].router.reachable().len(), 2);
    }
}

#[test]
fn two_links_between_two_nodes_do_no_harm() {
    let mut net = Net::new(2, &Limits::default(), 3);
    net.export(1, "x");
    net.link(0, 1);
    net.settle();
    net.link(1, 0);
    net.settle();
    assert!(net.frames < 20, "{} frames", net.frames);
    net.post(0, "x", 1).unwrap();
    net.settle();
    assert_eq!(net.numbers(1, "x", 0), [1]);
}

#[test]
fn messages_go_over_nodes_between_and_are_answered() {
    let mut net = chain(4);
    net.export(3, "far");
    net.settle();
    for n in 0..500 {
        net.post(0, "far", n).unwrap();
    }
    let answer = net.call(0, "far", SECOND);
    net.pass_time(SECOND);
    let expected: Vec<u64> = (0..500).collect();
    assert_eq!(net.numbers(3, "far", 0)[..500], expected);
    assert_eq!(result(&answer), Some(Ok("\"n3\"".to_owned())));
    let first = &net.nodes[3].inbox[0].1;
    assert_eq!((first.from, &*first.from_name), (id(0), "n0"));
    assert_eq!(net.nodes[0].router.unconfirmed(), 0);
}

#[test]
fn own_aliases_are_like_others() {
    let mut net = Net::new(1, &Limits::default(), 1);
    let token = net.export(0, "me");
    net.post(0, "me", 5).unwrap();
    let answer = net.call(0, "me", SECOND);
    net.settle();
    assert_eq!(net.numbers(0, "me", 0).first(), Some(&5));
    assert_eq!(result(&answer), Some(Ok("\"n0\"".to_owned())));
    assert!(!net.use_router(0, |router| router.unexport("me", token + 1)));
    assert!(net.use_router(0, |router| router.unexport("me", token)));
    assert_eq!(net.post(0, "me", 6), Err(PostError::UnknownAlias));
}

#[test]
fn what_has_no_receiver_yet_waits_for_it_or_its_time() {
    let mut net = chain(2);
    let keep = |net: &mut Net, alias: &str, args: &str| {
        net.use_router(0, |router| router.post(&request(alias, "n", args), true))
            .unwrap();
    };
    keep(&mut net, "later", "1");
    keep(&mut net, "later", "2");
    keep(&mut net, "never", "3");
    let (waiter, call) = crossbeam_channel::bounded(1);
    let ask = request("never", "ask", "null");
    net.use_router(0, |router| router.call(&ask, SECOND, true, waiter))
        .unwrap();
    net.pass_time(SECOND);
    assert!(matches!(
        result(&call),
        Some(Err(CallError::NotSent(PostError::UnknownAlias)))
    ));
    net.export(1, "later");
    net.settle();
    assert_eq!(net.numbers(1, "later", 0), [1, 2]);
    net.pass_time(Duration::from_secs(60));
    let lost = Event::Undelivered {
        alias: "never".into(),
        node: None,
        lost: 1,
        uncertain: 0,
    };
    assert_eq!(
        net.nodes[0]
            .events
            .iter()
            .filter(|event| **event == lost)
            .count(),
        1
    );
    assert_eq!(net.nodes[0].router.unconfirmed(), 0);
}

#[test]
fn a_bounded_outbox_is_full_and_then_not() {
    let limits = Limits {
        outbox_messages: 10,
        window: 4,
        ..Limits::default()
    };
    let mut net = Net::new(2, &limits, 1);
    net.export(1, "x");
    net.link(0, 1);
    net.settle();
    net.nodes[1].stuck = true;
    for n in 0..10 {
        net.post(0, "x", n).unwrap();
    }
    assert_eq!(net.post(0, "x", 10), Err(PostError::Full));
    net.pass_time(SECOND);
    assert_eq!(net.post(0, "x", 10), Err(PostError::Full));
    net.nodes[1].stuck = false;
    net.pass_time(SECOND);
    assert_eq!(net.post(0, "x", 10), Ok(()));
    net.pass_time(SECOND);
    assert_eq!(net.numbers(1, "x", 0).len(), 11);
    let long = "1".repeat(limits.max_message);
    let result = net.use_router(0, |router| router.post(&request("x", "n", &long), false));
    assert!(matches!(result, Err(PostError::TooLarge { .. })));
}

#[test]
fn a_slow_handler_slows_down_its_own_posters_only() {
    let limits = Limits {
        inbox_messages: 50,
        outbox_messages: 100,
        ..Limits::default()
    };
    let mut net = Net::new(3, &limits, 5);
    net.export(1, "slow");
    net.export(2, "fast");
    net.link(0, 1);
    net.link(0, 2);
    net.settle();
    net.nodes[1].stuck = true;
    let mut refused = 0;
    for n in 0..300 {
        refused += u64::from(net.post(0, "slow", n).is_err());
        net.post(0, "fast", n).unwrap();
        net.pass_time(Duration::from_millis(20));
    }
    assert_eq!(refused, 200);
    assert_eq!(net.numbers(2, "fast", 0).len(), 300);
    net.nodes[1].stuck = false;
    net.pass_time(Duration::from_secs(30));
    assert_eq!(net.numbers(1, "slow", 0), (0..100).collect::<Vec<_>>());
}

#[test]
fn callers_are_told_what_went_wrong() {
    let mut net = chain(3);
    let token = net.export(2, "x");
    net.settle();
    net.nodes[2].stuck = true;
    let late = net.call(0, "x", SECOND);
    net.pass_time(2 * SECOND);
    assert_eq!(result(&late), Some(Err(CallError::Timeout)));
    let removed = net.call(0, "x", SECOND * 9);
    net.post(0, "x", 1).unwrap();
    net.pass_time(Duration::from_millis(50));
    net.use_router(2, |router| router.unexport("x", token));
    net.settle();
    assert_eq!(fault(result(&removed)).kind, FaultKind::UnknownAlias);
    let is_rejected = |event: &&Event| matches!(event, Event::Rejected { .. });
    assert_eq!(net.nodes[0].events.iter().filter(is_rejected).count(), 1);
    net.export(2, "y");
    net.settle();
    let lost = net.call(0, "y", SECOND * 9);
    net.settle();
    net.cut(1, 2);
    net.settle();
    assert_eq!(result(&lost), Some(Err(CallError::PeerLost(id(2)))));
}

#[test]
fn a_call_that_waited_too_long_is_not_begun() {
    let mut net = chain(2);
    net.export(1, "x");
    net.settle();
    net.nodes[1].stuck = true;
    let call = net.call(0, "x", SECOND);
    net.pass_time(2 * SECOND);
    assert_eq!(result(&call), Some(Err(CallError::Timeout)));
    net.nodes[1].stuck = false;
    net.pass_time(SECOND);
    assert!(net.nodes[1].inbox.is_empty());
}

#[test]
fn posts_survive_a_cut_and_are_reported_when_the_receiver_stays_away() {
    let mut net = chain(3);
    net.export(2, "x");
    net.settle();
    for n in 0..200 {
        net.post(0, "x", n).unwrap();
    }
    for _ in 0..150 {
        net.step();
    }
    net.cut(0, 1);
    net.pass_time(5 * SECOND);
    assert_eq!(net.post(0, "x", 999), Err(PostError::UnknownAlias));
    net.link(0, 1);
    net.pass_time(5 * SECOND);
    assert_eq!(net.numbers(2, "x", 0), (0..200).collect::<Vec<_>>());
    for n in 200..300 {
        net.post(0, "x", n).unwrap();
    }
    net.cut(1, 2);
    net.pass_time(60 * SECOND);
    let got = net.numbers(2, "x", 0).len() as u64;
    let reported: u64 = net.nodes[0]
        .events
        .iter()
        .map(|event| match event {
            Event::Undelivered {
                lost, uncertain, ..
            } => lost + uncertain,
            _ => 0,
        })
        .sum();
    assert!(got + reported >= 300, "{got} and {reported}");
    net.link(1, 2);
    net.pass_time(5 * SECOND);
    net.post(0, "x", 300).unwrap();
    net.pass_time(SECOND);
    assert_eq!(net.numbers(2, "x", 0).last(), Some(&300));
}

#[test]
fn another_way_is_taken_when_one_is_cut() {
    let mut net = Net::new(4, &Limits::default(), 11);
    net.export(3, "x");
    for (a, b) in [(0, 1), (1, 3), (0, 2), (2, 3)] {
        net.link(a, b);
    }
    net.settle();
    for n in 0..1000 {
        net.post(0, "x", n).unwrap();
        net.step();
        match n {
            300 => net.cut(1, 3),
            500 => net.link(1, 3),
            600 => net.cut(0, 2),
            700 => net.link(0, 2),
            _ => {}
        }
    }
    net.pass_time(20 * SECOND);
    assert_eq!(net.numbers(3, "x", 0), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_name_belongs_to_who_had_it_first() {
    let mut net = chain(3);
    net.export(0, "x");
    net.settle();
    let taken = ExportError::Taken { owner: id(0) };
    assert_eq!(net.try_export(2, "x", false), Err(taken.clone()));
    assert_eq!(net.try_export(2, "x", true), Err(taken));
    // Only the owner can remove it; others going away change nothing.
    net.cut(1, 2);
    net.settle();
    assert_eq!(net.owners(1, "x"), [0]);
    for reserved in ["_manager", "", "a b"] {
        assert!(matches!(
            net.try_export(0, reserved, false),
            Err(ExportError::Name(_))
        ));
    }
}

#[test]
fn two_that_take_a_name_at_once_agree() {
    for seed in 0..50 {
        let mut net = Net::new(4, &Limits::default(), seed);
        for n in 1..4 {
            net.link(0, n);
        }
        net.settle();
        for n in 1..4 {
            net.export(n, "x");
        }
        net.pass_time(5 * SECOND);
        let owners = net.owners(0, "x");
        assert_eq!(owners.len(), 1, "seed {seed}");
        for n in 0..4 {
            assert_eq!(net.owners(n, "x"), owners, "seed {seed}, at {n}");
        }
        let refused = |event: &&Event| matches!(event, Event::AliasRefused { .. });
        let told: usize = net
            .nodes
            .iter()
            .map(|site| site.events.iter().filter(refused).count())
            .sum();
        assert!(told >= 2, "seed {seed}");
        // When the owner goes, one of those that stand by takes over.
        net.cut(0, owners[0]);
        net.pass_time(5 * SECOND);
        let next = net.owners(0, "x");
        assert!(next.len() == 1 && next != owners, "seed {seed}: {next:?}");
    }
}

#[test]
fn shared_aliases_are_used_in_turn() {
    let mut net = Net::new(4, &Limits::default(), 2);
    for n in 1..4 {
        net.link(0, n);
        net.try_export(n, "work", true).unwrap();
    }
    net.settle();
    for n in 0..30 {
        net.post(0, "work", n).unwrap();
    }
    net.settle();
    let counts: Vec<usize> = (1..4).map(|n| net.numbers(n, "work", 0).len()).collect();
    assert_eq!(counts, [10, 10, 10]);
    let all = net.use_router(0, |router| router.broadcast(&request("work", "n", "1")));
    assert_eq!(all, Ok(3));
    let one = crate::link::router::Request {
        node: Some("n2"),
        ..request("work", "n", "77")
    };
    net.use_router(0, |router| router.post(&one, false))
        .unwrap();
    net.settle();
    assert!(net.numbers(2, "work", 0).contains(&77));
}

fn injected(net: &mut Net, at: usize, link: u64, frame: &Frame<'_>) -> Result<(), LinkEnd> {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes);
    let link = crate::link::LinkId(link);
    net.use_router(at, |router| router.frame(link, &bytes[4..]))
}

fn claim(origin: usize, seq: u64, alias: &str) -> Frame<'static> {
    Frame::News(News {
        origin: id(origin),
        seq,
        name: None,
        peers: BTreeSet::new(),
        lost: BTreeSet::new(),
        aliases: [(alias.to_owned(), Some(Claim::Sole))].into(),
    })
}

#[test]
fn a_peer_that_announces_the_alias_of_another_gets_nothing() {
    // 0 is the hub; 1 owns x; 2 lies. The hub's end of the link to 2 is number 2.
    let mut net = Net::new(4, &Limits::default(), 2);
    net.export(1, "x");
    for n in [1, 2, 3] {
        net.link(0, n);
    }
    net.settle();
    // It claims the name for itself; it speaks in the name of another; of the hub itself.
    assert_eq!(injected(&mut net, 0, 2, &claim(2, 3, "x")), Ok(()));
    assert_eq!(injected(&mut net, 0, 2, &claim(1, 50, "evil")), Ok(()));
    assert!(injected(&mut net, 0, 2, &claim(0, 50, "evil")).is_err());
    assert!(injected(&mut net, 0, 2, &claim(2, 4, "_evil")).is_err());
    net.settle();
    assert_eq!(net.use_router(0, |router| router.stats().refused), 1);
    for n in [0, 1, 3] {
        assert_eq!(
            (net.owners(n, "x"), net.owners(n, "evil").len()),
            (vec![1], 0)
        );
    }
    net.cut(0, 2);
    net.settle();
    net.post(3, "x", 1).unwrap();
    net.settle();
    assert_eq!(net.numbers(1, "x", 3), [1]);
}

#[test]
fn a_silent_peer_is_asked_and_then_cut() {
    let mut net = chain(2);
    net.pass_time(Duration::from_secs(120));
    assert!(net.is_linked(0, 1), "peers that answer stay");
    // Nothing arrives any more: the net does not step while only the time of one node is moved.
    let ping = Limits::default().ping_interval + Limits::default().ping_timeout;
    let start = net.now();
    let mut router = Router::new(id(7), "alone", Limits::default(), start);
    let peer = crate::link::hello::Peer {
        id: id(8),
        name: "mute".into(),
        version: 1,
        features: Vec::new(),
        outgoing: true,
        max_frame: 1 << 20,
    };
    router.enter(start);
    router.link_up(crate::link::LinkId(0), peer).unwrap();
    router.enter(start + ping / 2);
    router.tick();
    assert!(router.take_effects().cut.is_empty());
    router.enter(start + ping);
    router.tick();
    assert_eq!(
        router.take_effects().cut,
        [(crate::link::LinkId(0), LinkEnd::Silent)]
    );
}

#[test]
fn a_peer_that_does_not_read_is_cut_and_others_are_not() {
    let limits = Limits {
        link_buffer: 4096,
        ..Limits::default()
    };
    let mut router = Router::new(
        id(0),
        "n0",
        limits,
        Net::new(0, &Limits::default(), 1).now(),
    );
    let peer = |n: usize| crate::link::hello::Peer {
        id: id(n),
        name: format!("n{n}"),
        version: 1,
        features: Vec::new(),
        outgoing: true,
        max_frame: 1 << 20,
    };
    for n in [1, 2] {
        router
            .link_up(crate::link::LinkId(n as u64), peer(n))
            .unwrap();
    }
    let mut ping = Vec::new();
    encode(&Frame::Ping(1), &mut ping);
    for _ in 0..1000 {
        router.frame(crate::link::LinkId(1), &ping[4..]).unwrap();
    }
    let cut = router.take_effects().cut;
    assert_eq!(cut, [(crate::link::LinkId(1), LinkEnd::Overflow)]);
}

#[test]
fn a_node_that_has_stopped_takes_nothing() {
    let mut net = chain(2);
    net.export(1, "x");
    net.settle();
    net.nodes[1].stuck = true;
    let call = net.call(0, "x", SECOND);
    net.use_router(0, Router::stop);
    net.use_router(0, Router::stop);
    assert_eq!(result(&call), Some(Err(CallError::Stopped)));
    assert_eq!(net.post(0, "x", 1), Err(PostError::Stopped));
    assert_eq!(net.try_export(0, "y", false), Err(ExportError::Stopped));
}
