//! What ends, or is full: who is told of it, and who may go on.

use std::time::Duration;

use super::net::{Net, id, request, result};
use crate::link::hello::Peer;
use crate::link::router::Router;
use crate::link::{CallError, Event, Limits, LinkId, PostError};

const SECOND: Duration = Duration::from_secs(1);

fn pair(limits: &Limits) -> Net {
    let mut net = Net::new(2, limits, 1);
    net.link(0, 1);
    net.export(1, "x");
    net.settle();
    net
}

#[test]
fn a_node_that_ends_says_what_it_has_handled() {
    let mut net = pair(&Limits::default());
    for n in 0..5 {
        net.post(0, "x", n).unwrap();
    }
    net.settle();
    assert_eq!(net.numbers(1, "x", 0), [0, 1, 2, 3, 4]);
    // Of all but the first the receipt would go a little later.
    assert_eq!(net.nodes[0].router.unconfirmed(), 4);
    net.use_router(1, Router::stop);
    net.settle();
    assert_eq!(net.nodes[0].router.unconfirmed(), 0);
}

#[test]
fn announcements_under_way_are_not_waited_for() {
    let start = Net::new(0, &Limits::default(), 1).now();
    let mut router = Router::new(id(0), "n0", Limits::default(), start);
    let peer = Peer {
        id: id(1),
        name: "n1".into(),
        version: 1,
        features: Vec::new(),
        outgoing: true,
        max_frame: 1 << 20,
    };
    router.link_up(LinkId(0), peer).unwrap();
    // Nobody would say when they have gone.
    assert!(!router.take_effects().wake.is_empty() && router.is_drained());
}

#[test]
fn own_messages_are_confirmed_when_they_are_handled() {
    let mut net = Net::new(1, &Limits::default(), 1);
    let token = net.export(0, "me");
    net.post(0, "me", 1).unwrap();
    let call = net.call(0, "me", SECOND);
    let left = |net: &Net| {
        let router = &net.nodes[0].router;
        (router.unconfirmed(), router.is_drained())
    };
    assert_eq!(left(&net), (1, false));
    net.settle();
    assert_eq!(left(&net), (0, true));
    assert!(result(&call).is_some());
    // Expired, and rejected.
    net.nodes[0].stuck = true;
    let late = net.call(0, "me", SECOND);
    net.pass_time(2 * SECOND);
    assert_eq!(result(&late), Some(Err(CallError::Timeout)));
    net.post(0, "me", 2).unwrap();
    assert_eq!(left(&net), (1, false));
    net.use_router(0, |router| router.unexport("me", token));
    assert_eq!(left(&net), (0, true));
    // Lost, and told.
    net.export(0, "me");
    net.post(0, "me", 3).unwrap();
    net.use_router(0, Router::stop);
    assert_eq!(left(&net), (0, true));
    let lost = Event::Undelivered {
        alias: "me".into(),
        node: Some(id(0)),
        lost: 1,
        uncertain: 0,
    };
    assert_eq!(net.nodes[0].events.last(), Some(&lost));
}

#[test]
fn an_export_has_its_own_messages_only() {
    let mut net = Net::new(1, &Limits::default(), 1);
    let old = net.export(0, "me");
    net.post(0, "me", 1).unwrap();
    net.use_router(0, |router| router.unexport("me", old));
    let new = net.export(0, "me");
    net.post(0, "me", 2).unwrap();
    let next = |net: &mut Net, token| {
        let next = net.use_router(0, |router| router.next_delivery(&"me".into(), token));
        next.map(|(_, delivery)| delivery.args)
    };
    assert_eq!(next(&mut net, old), None);
    assert_eq!(next(&mut net, new).as_deref(), Some("2"));
}

#[test]
fn who_waits_for_room_for_a_call_is_told_when_there_is_some() {
    let limits = Limits {
        max_calls: 1,
        ..Limits::default()
    };
    let mut net = pair(&limits);
    net.nodes[1].stuck = true;
    let first = net.call(0, "x", SECOND);
    // It arrives, and that is known.
    net.pass_time(SECOND / 2);
    let begin = |router: &mut Router| {
        let (waiter, _) = crossbeam_channel::bounded(1);
        router.call(&request("x", "ask", "null"), SECOND, false, waiter)
    };
    assert_eq!(net.use_router(0, begin), Err(PostError::Full));
    let later = net.now() + 2 * SECOND;
    let router = &mut net.nodes[0].router;
    router.enter(later);
    router.tick();
    assert!(router.take_effects().changed, "there is room");
    assert_eq!(result(&first), Some(Err(CallError::Timeout)));
    assert!(begin(router).is_ok());
}

#[test]
fn sizes_without_end_are_no_trouble() {
    let limits = Limits {
        max_message: usize::MAX,
        outbox_bytes: usize::MAX,
        inbox_messages: usize::MAX,
        inbox_bytes: usize::MAX,
        window: u64::MAX,
        parked_bytes: usize::MAX,
        link_buffer: usize::MAX,
        max_known: usize::MAX,
        ..Limits::default()
    };
    let mut net = pair(&limits);
    for n in 0..200 {
        net.post(0, "x", n).unwrap();
    }
    net.use_router(0, |router| router.post(&request("later", "n", "1"), true))
        .unwrap();
    net.pass_time(SECOND);
    assert_eq!(net.numbers(1, "x", 0).len(), 200);
}

#[test]
fn what_waits_for_its_alias_waits_no_longer_beside_a_patient_call() {
    let mut net = pair(&Limits::default());
    let (waiter, _answer) = crossbeam_channel::bounded(1);
    let ask = request("never", "ask", "null");
    net.use_router(0, |router| router.call(&ask, 3600 * SECOND, true, waiter))
        .unwrap();
    net.use_router(0, |router| router.post(&request("never", "n", "1"), true))
        .unwrap();
    net.pass_time(Limits::default().outbox_time + SECOND);
    let lost = Event::Undelivered {
        alias: "never".into(),
        node: None,
        lost: 1,
        uncertain: 0,
    };
    assert_eq!(net.nodes[0].events.last(), Some(&lost));
}

#[test]
fn a_call_that_is_given_up_leaves_its_place_to_others() {
    let limits = Limits {
        parked_messages: 1,
        ..Limits::default()
    };
    let mut net = pair(&limits);
    let begin = |net: &mut Net| {
        let (waiter, _answer) = crossbeam_channel::bounded(1);
        let ask = request("never", "ask", "null");
        net.use_router(0, |router| router.call(&ask, 3600 * SECOND, true, waiter))
    };
    let first = begin(&mut net).unwrap();
    assert_eq!(begin(&mut net), Err(PostError::Full));
    net.use_router(0, |router| router.cancel(first));
    let second = begin(&mut net).unwrap();
    net.export(1, "never");
    net.settle();
    assert_eq!(
        net.nodes[1].inbox.len(),
        1,
        "{first} is not sent, {second} is"
    );
}

#[test]
fn limits_of_nothing_do_not_stop_everything() {
    let limits = Limits {
        window: 0,
        probe_after: Duration::ZERO,
        receipt_delay: Duration::ZERO,
        ..Limits::default()
    };
    let mut net = pair(&limits);
    for n in 0..200 {
        net.post(0, "x", n).unwrap();
    }
    net.pass_time(SECOND / 10);
    assert_eq!(net.numbers(1, "x", 0).len(), 200);
    assert_eq!(net.nodes[0].router.unconfirmed(), 0);
}
