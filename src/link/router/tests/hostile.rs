//! Scenes with peers that lie or want too much, and what lasts too long to be waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::net::{Net, id, request, result};
use crate::link::error::LinkEnd;
use crate::link::hello::Peer;
use crate::link::wire::{Body, Claim, Frame, News, Payload, PayloadKind, Routed, encode};
use crate::link::{Event, Limits, LinkId, NodeId};

const SECOND: Duration = Duration::from_secs(1);

/// Node 0 is a hub with links to the others; its ends of them are 0, 2, 4 and so on.
fn star(nodes: usize, limits: &Limits) -> Net {
    let mut net = Net::new(nodes, limits, 5);
    for n in 1..nodes {
        net.link(0, n);
    }
    net.settle();
    net
}

fn inject(net: &mut Net, at: usize, link: u64, frame: &Frame<'_>) -> Result<(), LinkEnd> {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes);
    net.use_router(at, |router| router.frame(LinkId(link), &bytes[4..]))
}

/// All there is to know of a node.
fn whole(origin: NodeId, name: &str, peers: &[NodeId]) -> Frame<'static> {
    Frame::News(News {
        origin,
        seq: 1000,
        name: Some(name.to_owned()),
        peers: peers.iter().copied().collect(),
        lost: BTreeSet::new(),
        aliases: BTreeMap::new(),
    })
}

fn invented(n: u8) -> NodeId {
    NodeId::from_bytes([100 + n; 16])
}

#[test]
fn a_neighbour_is_called_what_it_has_proved() {
    let mut net = star(3, &Limits::default());
    let forged = whole(id(1), "n2", &[id(0)]);
    let end = inject(&mut net, 0, 0, &forged);
    assert!(matches!(end, Err(LinkEnd::Protocol(_))), "{end:?}");
    assert_eq!(&*net.nodes[0].router.name_of(id(1)), "n1");
    let honest = whole(id(1), "n1", &[id(0)]);
    assert_eq!(inject(&mut net, 0, 0, &honest), Ok(()));
}

#[test]
fn a_node_that_is_linked_cannot_be_taken_by_another() {
    let mut net = star(2, &Limits::default());
    net.export(1, "x");
    net.settle();
    let peer = |name: &str| Peer {
        id: id(1),
        name: name.to_owned(),
        version: 1,
        features: Vec::new(),
        outgoing: false,
        max_frame: 1 << 20,
    };
    let taken = net.use_router(0, |router| router.link_up(LinkId(77), peer("evil")));
    assert_eq!(taken, Err(LinkEnd::Denied));
    assert_eq!(net.nodes[0].router.stats().links, 1);
    net.post(0, "x", 1).unwrap();
    net.settle();
    assert_eq!(net.numbers(1, "x", 0), [1]);
    let again = net.use_router(0, |router| router.link_up(LinkId(78), peer("n1")));
    assert_eq!(again, Ok(()), "its own second link");
}

#[test]
fn a_refusal_without_a_rival_takes_nothing_away() {
    let mut net = star(3, &Limits::default());
    net.export(0, "x");
    net.settle();
    let refuse = Frame::Refuse {
        alias: "x".to_owned(),
        owner: id(2),
    };
    for _ in 0..10 {
        assert_eq!(inject(&mut net, 0, 2, &refuse), Ok(()));
        net.settle();
        assert_eq!(net.owners(1, "x"), [0]);
        net.post(1, "x", 1).unwrap();
    }
    net.pass_time(5 * SECOND);
    assert_eq!(net.numbers(0, "x", 1).len(), 10);
    let refused = |event: &Event| matches!(event, Event::AliasRefused { .. });
    assert!(!net.nodes[0].events.iter().any(refused));
}

#[test]
fn a_firm_name_is_not_lost_to_one_that_was_taken_elsewhere() {
    for (claim, owner) in [(Claim::Sole, 0), (Claim::Firm, 2)] {
        let mut net = Net::new(3, &Limits::default(), 3);
        net.export_as(2, "x", claim).unwrap();
        // The lower id decides between the two otherwise.
        net.export(0, "x");
        net.link(1, 2);
        net.settle();
        net.link(0, 2);
        net.pass_time(10 * SECOND);
        for n in 0..3 {
            assert_eq!(net.owners(n, "x"), [owner], "{claim:?}, at {n}");
        }
        net.cut(0, 2);
        net.pass_time(SECOND);
        assert_eq!(net.owners(0, "x"), [0], "on its own it has it");
    }
}

#[test]
fn nodes_that_are_only_talked_of_are_forgotten_and_keep_nobody_out() {
    let limits = Limits {
        max_nodes: 5,
        ..Limits::default()
    };
    let mut net = Net::new(4, &limits, 5);
    net.link(0, 1);
    net.settle();
    for n in 0..9 {
        let talk = whole(invented(n), "nobody", &[]);
        assert_eq!(inject(&mut net, 0, 0, &talk), Ok(()));
    }
    assert_eq!(net.nodes[0].router.nodes.len(), 5);
    net.link(0, 2);
    net.settle();
    net.link(2, 3);
    net.settle();
    let known = |net: &Net| net.nodes[0].router.reachable().len();
    assert_eq!(
        known(&net),
        2,
        "a neighbour is known, what is behind it is not"
    );
    net.pass_time(limits.forget_after + SECOND);
    net.cut(2, 3);
    net.link(2, 3);
    net.settle();
    assert_eq!(known(&net), 3);
}

#[test]
fn what_is_told_of_a_node_does_not_grow_without_end() {
    let limits = Limits {
        max_known: 3 << 20,
        ..Limits::default()
    };
    let mut net = star(2, &limits);
    let mut seq = 0;
    let mut grow = |net: &mut Net, origin: NodeId, first: u64| {
        for n in 0..40 {
            seq = first + n;
            let aliases = (0..500).map(|i| {
                let alias = format!("{:0100}", 500 * seq + i);
                (alias, Some(Claim::Shared))
            });
            let news = News {
                origin,
                seq,
                name: None,
                peers: BTreeSet::new(),
                lost: BTreeSet::new(),
                aliases: aliases.collect(),
            };
            assert_eq!(inject(net, 0, 0, &Frame::News(news)), Ok(()));
        }
    };
    for n in 0..6 {
        let talk = whole(invented(n), "nobody", &[]);
        assert_eq!(inject(&mut net, 0, 0, &talk), Ok(()));
        grow(&mut net, invented(n), 1001);
    }
    let router = &net.nodes[0].router;
    let largest = router
        .nodes
        .values()
        .map(|entry| entry.size())
        .max()
        .unwrap();
    let all: usize = router.nodes.values().map(|entry| entry.size()).sum();
    assert!(largest > 900_000 && largest < 1 << 20, "{largest}");
    assert!(all > 2 << 20 && all <= 3 << 20, "{all}");
    assert_eq!(router.known_bytes, all, "it is counted right");
    // What makes room is taken, however little there is.
    let known = &router.nodes[&invented(0)];
    let gone = known.aliases.keys().take(500);
    let news = News {
        origin: invented(0),
        seq: known.seq + 1,
        name: None,
        peers: BTreeSet::new(),
        lost: BTreeSet::new(),
        aliases: gone.map(|alias| (alias.to_string(), None)).collect(),
    };
    let left = known.aliases.len() - 500;
    assert_eq!(inject(&mut net, 0, 0, &Frame::News(news)), Ok(()));
    let router = &net.nodes[0].router;
    assert_eq!(router.nodes[&invented(0)].aliases.len(), left);
    net.pass_time(limits.forget_after + SECOND);
    assert!(net.nodes[0].router.known_bytes < 1000);
}

#[test]
fn two_that_have_a_name_firmly_keep_it_each() {
    let mut net = Net::new(4, &Limits::default(), 3);
    for n in [0, 3] {
        net.export_as(n, "x", Claim::Firm).unwrap();
    }
    // 1 hears of 0 first, 2 of 3.
    for (a, b) in [(0, 1), (2, 3), (1, 2)] {
        net.link(a, b);
        net.settle();
    }
    net.pass_time(10 * SECOND);
    for n in 0..4 {
        net.post(n, "x", n as u64).unwrap();
    }
    net.pass_time(SECOND);
    for (owner, posters) in [(0, [0, 1]), (3, [2, 3])] {
        for from in posters {
            assert_eq!(net.numbers(owner, "x", from), [from as u64]);
        }
    }
    let refused = |event: &Event| matches!(event, Event::AliasRefused { .. });
    assert!(!net.nodes.iter().flat_map(|n| &n.events).any(refused));
    // Also as neighbours; and what they tell each other of it becomes rare.
    net.link(0, 3);
    net.pass_time(120 * SECOND);
    let (before, pings) = (net.frames, 4 * 4 * 60);
    net.pass_time(600 * SECOND);
    let frames = net.frames - before;
    assert!(frames < pings + 200, "{frames}");
    for n in [0, 3] {
        net.post(n, "x", 9).unwrap();
        net.settle();
        assert_eq!(net.numbers(n, "x", n).last(), Some(&9));
    }
}

#[test]
fn a_message_that_is_too_long_for_the_peer_is_rejected_once_and_for_good() {
    let mut net = star(2, &Limits::default());
    net.export(1, "x");
    net.settle();
    let link = net.nodes[0].router.links.get_mut(&LinkId(0)).unwrap();
    link.peer.max_frame = 1000;
    let long = format!("{:01000}", 7);
    let post = request("x", "n", &long);
    net.use_router(0, |router| router.post(&post, false))
        .unwrap();
    net.post(0, "x", 1).unwrap();
    // What was sent is lost; the next link takes more.
    net.cut(0, 1);
    net.link(0, 1);
    net.pass_time(5 * SECOND);
    net.post(0, "x", 2).unwrap();
    net.settle();
    assert_eq!(net.numbers(1, "x", 0), [1, 2]);
    let rejected = |event: &&Event| matches!(event, Event::Rejected { .. });
    assert_eq!(net.nodes[0].events.iter().filter(rejected).count(), 1);
    assert_eq!(net.nodes[0].router.stats().rejected, 1);
}

#[test]
fn a_message_that_cannot_be_read_is_dropped_by_its_receiver_and_counted() {
    let mut net = star(3, &Limits::default());
    net.export(2, "x");
    net.settle();
    let good = Payload {
        kind: PayloadKind::Post,
        event: "n",
        content: "7",
        ..Payload::default()
    };
    let mut no_text = good.to_bytes();
    *no_text.last_mut().unwrap() = 0xff;
    let dropped = |net: &Net, at: usize| net.nodes[at].router.stats().frames_dropped;
    for (seq, payload) in (1..).zip([&[99][..], b"", &no_text, &good.to_bytes()]) {
        let routed = Routed {
            hops: 9,
            to: id(2),
            from: id(1),
            epoch: 1,
            alias: "x",
            body: Body::Data { seq, payload },
        };
        assert_eq!(inject(&mut net, 0, 0, &Frame::Routed(routed)), Ok(()));
        net.settle();
    }
    assert_eq!((dropped(&net, 0), dropped(&net, 2)), (0, 3));
    assert_eq!(net.numbers(2, "x", 1), [7], "those behind it come");
    assert_eq!(net.nodes[0].router.stats().links, 2);
}

#[test]
fn calls_to_a_shared_alias_take_turns_too() {
    let mut net = star(3, &Limits::default());
    for n in 1..3 {
        net.try_export(n, "work", true).unwrap();
    }
    net.settle();
    for _ in 0..10 {
        let answer = net.call(0, "work", SECOND);
        net.settle();
        assert!(matches!(result(&answer), Some(Ok(_))));
    }
    let counts = [1, 2].map(|n: usize| net.nodes[n].inbox.len());
    assert_eq!(counts, [5, 5]);
}

#[test]
fn after_billions_of_calls_a_stream_can_begin_anew() {
    let mut net = star(2, &Limits::default());
    net.export(1, "x");
    net.settle();
    net.nodes[0].router.counter = u64::from(u32::MAX) - 3;
    net.post(0, "x", 1).unwrap();
    net.settle();
    net.post(0, "x", 2).unwrap();
    net.cut(0, 1);
    // It is given up, and its receiver remembers it longer.
    net.pass_time(Limits::default().outbox_time + SECOND);
    net.nodes[0].router.counter += 10;
    net.link(0, 1);
    net.settle();
    net.post(0, "x", 3).unwrap();
    net.pass_time(SECOND);
    assert_eq!(net.numbers(1, "x", 0).last(), Some(&3));
}

#[test]
fn any_number_of_aliases_can_come_and_go() {
    let mut net = star(2, &Limits::default());
    for n in 0..5000 {
        let alias = format!("a{n}");
        let token = net.export(1, &alias);
        net.settle();
        net.post(0, &alias, n).unwrap();
        net.settle();
        assert!(net.use_router(1, |router| router.unexport(&alias, token)));
        net.settle();
        if n == 4000 {
            net.pass_time(Limits::default().forget_after + SECOND);
            assert_eq!(net.nodes[0].router.outbound.len(), 0);
        }
    }
    assert_eq!(net.nodes[1].inbox.len(), 5000);
    assert!(net.nodes[1].router.inbound.len() < 2000);
}

#[test]
fn what_a_peer_says_at_the_end_is_fit_for_a_terminal() {
    let said = format!("\x1b[2Jx\n{}", "y".repeat(1000));
    let LinkEnd::Bye(shown) = LinkEnd::bye(&said) else {
        unreachable!("because that is what it makes");
    };
    assert!(shown.starts_with(" [2Jx y") && shown.len() == 200);
}

#[test]
fn times_without_end_are_no_trouble() {
    let limits = Limits {
        outbox_time: Duration::MAX,
        ping_interval: Duration::MAX,
        probe_after: Duration::MAX,
        forget_after: Duration::MAX,
        ..Limits::default()
    };
    let mut net = star(2, &limits);
    net.export(1, "x");
    net.settle();
    net.use_router(0, |router| router.post(&request("later", "n", "1"), true))
        .unwrap();
    net.post(0, "x", 1).unwrap();
    net.settle();
    net.cut(0, 1);
    net.pass_time(SECOND);
    assert_eq!(net.numbers(1, "x", 0), [1]);
}

#[test]
fn a_link_takes_all_that_is_known_at_once() {
    let limits = Limits {
        link_buffer: 16 << 10,
        ..Limits::default()
    };
    let mut net = star(12, &limits);
    for n in 1..11 {
        for alias in 0..50 {
            net.export(n, &format!("node-{n}-has-this-alias-number-{alias}"));
            net.settle();
        }
    }
    net.cut(0, 11);
    net.settle();
    net.link(0, 11);
    net.settle();
    assert!(net.is_linked(0, 11));
    assert_eq!(net.nodes[11].router.aliases().len(), 500);
}

#[test]
fn a_hub_that_grows_tells_of_each_leaf_once() {
    let bytes = |leaves: usize| {
        let mut net = Net::new(leaves + 1, &Limits::default(), 5);
        for n in 1..=leaves {
            net.export(n, &format!("x{n}"));
            net.link(0, n);
            net.settle();
        }
        assert_eq!(net.nodes[1].router.aliases().len(), leaves);
        net.bytes
    };
    // Everybody hears of everybody: four times as much for twice the leaves, not eight times.
    let (few, many) = (bytes(25), bytes(50));
    assert!(many < 5 * few, "{few} and {many}");
}

#[test]
fn nodes_further_away_than_messages_go_are_not_told_of() {
    let limits = Limits {
        max_hops: 2,
        ..Limits::default()
    };
    let mut net = Net::new(5, &limits, 5);
    for n in 0..5 {
        net.export(n, &format!("x{n}"));
    }
    for n in 1..5 {
        net.link(n - 1, n);
    }
    net.settle();
    let known = |net: &Net, at: usize| net.nodes[at].router.aliases().len();
    assert_eq!([0, 1, 2, 3, 4].map(|n| known(&net, n)), [3, 4, 5, 4, 3]);
    net.post(0, "x2", 1).unwrap();
    net.pass_time(SECOND);
    assert_eq!(net.numbers(2, "x2", 0), [1]);
    net.link(0, 3);
    net.settle();
    assert_eq!([0, 1, 2, 3, 4].map(|n| known(&net, n)), [5, 4, 5, 5, 4]);
}

#[test]
fn names_that_json_makes_longer_do_not_make_news_too_long_for_a_frame() {
    let mut net = star(2, &Limits::default());
    let talk = whole(invented(0), "nobody", &[]);
    assert_eq!(inject(&mut net, 0, 0, &talk), Ok(()));
    for n in 0..12 {
        let quotes = "\"".repeat(120);
        let aliases = (0..500).map(|i| (format!("{quotes}{}", 500 * n + i), Some(Claim::Shared)));
        let news = News {
            origin: invented(0),
            seq: 1001 + n,
            name: None,
            peers: BTreeSet::new(),
            lost: BTreeSet::new(),
            aliases: aliases.collect(),
        };
        assert_eq!(inject(&mut net, 0, 0, &Frame::News(news)), Ok(()));
    }
    let known = &net.nodes[0].router.nodes[&invented(0)];
    let aliases: Vec<&str> = known.aliases.keys().map(|alias| &**alias).collect();
    let json = serde_json::to_string(&aliases).unwrap();
    let length = json.len() + known.aliases.len() * r#":"shared""#.len();
    assert!(length > 900_000 && length < 1 << 20, "{length}");
}
