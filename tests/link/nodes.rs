//! Linked nodes on real sockets: exporting, posting, calling, coming and going.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bayeux::link::{
    CallError, Config, Event, ExportError, Fault, FaultKind, Full, Keys, Message, Methods, Node,
    PostError, PostOptions,
};

use crate::common::ports::lasting_address;
use crate::common::wait::{PATIENCE, eventually};
use crate::support::{config, hub, key, linked, node};

fn adder() -> Methods {
    Methods::new().on("add", |message: &Message| {
        let numbers: Vec<i64> = message.args()?;
        Ok::<i64, Fault>(numbers.iter().sum())
    })
}

fn fault<T: std::fmt::Debug>(result: Result<T, CallError>) -> FaultKind {
    match result {
        Err(CallError::Fault(fault)) => fault.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_makes_no_difference_where_an_alias_is() {
    let (hub, address) = hub();
    let [a, b] = ["a", "b"].map(|name| linked(name, &address));
    a.export("adder", adder()).unwrap().keep();
    for node in [&a, &*hub, &b] {
        assert!(node.wait_for("adder", PATIENCE));
        let sum: i64 = node.call("adder", "add", &[1, 2, 3], PATIENCE).unwrap();
        assert_eq!(sum, 6);
        let sum: i64 = node.call("a/adder", "add", &[1], PATIENCE).unwrap();
        assert_eq!(sum, 1);
    }
    let aliases = b.aliases();
    assert_eq!(aliases.len(), 1);
    assert_eq!(
        (&*aliases[0].alias, &*aliases[0].owner_name),
        ("adder", "a")
    );
    assert_eq!(aliases[0].owner, a.id());
}

#[test]
fn messages_say_who_sent_them_and_can_be_answered_in_several_ways() {
    let (hub, address) = hub();
    let a = linked("a", &address);
    let (told, tell) = channel();
    let seen = told.clone();
    let both = Methods::new().on("ask", move |message: &Message| {
        let sender = message.sender();
        seen.send(format!("{} {:?}", sender.name, sender.alias))
            .unwrap();
        message.post_back("told", &"later").map_err(Fault::failed)?;
        Ok::<_, Fault>("now")
    });
    hub.export("oracle", both).unwrap().keep();
    let late = |mut message: Message| {
        let reply = message.take_reply().unwrap();
        thread::spawn(move || reply.answer(Ok("much later")));
    };
    hub.export("late", late).unwrap().keep();
    let listen = Methods::new().on("told", move |message: &Message| {
        told.send(message.args::<String>()?).unwrap();
        Ok::<_, Fault>(())
    });
    let asker = a.export("asker", listen).unwrap();
    assert!(a.wait_for("late", PATIENCE));
    let now: String = asker.node().call("oracle", "ask", &(), PATIENCE).unwrap();
    assert_eq!(now, "now");
    assert_eq!(tell.recv_timeout(PATIENCE).unwrap(), "a Some(\"asker\")");
    assert_eq!(tell.recv_timeout(PATIENCE).unwrap(), "later");
    assert_eq!(
        a.call::<String>("late", "x", &(), PATIENCE).unwrap(),
        "much later"
    );
}

#[test]
fn exports_come_and_go_and_everybody_hears_of_it() {
    let (hub, address) = hub();
    let a = linked("a", &address);
    let (seen, events) = channel();
    a.observe(move |event| match event {
        Event::AliasAdded { alias, .. } => seen.send(format!("+{alias}")).unwrap(),
        Event::AliasRemoved { alias, .. } => seen.send(format!("-{alias}")).unwrap(),
        _ => {}
    });
    let export = hub.export("x", adder()).unwrap();
    assert_eq!(events.recv_timeout(PATIENCE).unwrap(), "+x");
    let taken = a.export("x", adder()).unwrap_err();
    assert_eq!(taken, ExportError::Taken { owner: hub.id() });
    drop(export);
    assert_eq!(events.recv_timeout(PATIENCE).unwrap(), "-x");
    let _mine = a.export("x", adder()).unwrap();
    assert_eq!(events.recv_timeout(PATIENCE).unwrap(), "+x");
}

#[test]
fn errors_are_typed() {
    let (hub, address) = hub();
    let a = linked("a", &address);
    hub.export("adder", adder()).unwrap().keep();
    let boom = |_: Message| panic!("on purpose");
    hub.export("boom", boom).unwrap().keep();
    hub.export("mute", |_: Message| {}).unwrap().keep();
    let slow = |_: Message| thread::sleep(Duration::from_millis(300));
    hub.export("slow", slow).unwrap().keep();
    assert!(a.wait_for("slow", PATIENCE));
    let call = |alias, event| a.call::<i64>(alias, event, &"x", PATIENCE);
    assert_eq!(fault(call("adder", "add")), FaultKind::InvalidArgs);
    assert_eq!(fault(call("adder", "subtract")), FaultKind::UnknownEvent);
    assert_eq!(fault(call("boom", "x")), FaultKind::Panic);
    assert_eq!(
        fault(call("boom", "x")),
        FaultKind::Panic,
        "it is still there"
    );
    assert_eq!(fault(call("mute", "x")), FaultKind::NoAnswer);
    let unknown = call("nobody", "x").unwrap_err();
    assert_eq!(unknown, CallError::NotSent(PostError::UnknownAlias));
    for reserved in ["_manager", "a b", "x/_y", ""] {
        let error = a.post(reserved, "shutdown", &()).unwrap_err();
        assert!(matches!(error, PostError::Name(_)), "{reserved}");
    }
    assert!(matches!(
        a.post("adder", "_stop", &()),
        Err(PostError::Name(_))
    ));
    let late = a
        .call::<()>("slow", "x", &(), Duration::from_millis(30))
        .unwrap_err();
    assert_eq!(late, CallError::Timeout);
    let long = "x".repeat(300 << 10);
    assert!(matches!(
        a.post("adder", "add", &long),
        Err(PostError::TooLarge { .. })
    ));
    assert_eq!(a.call::<i64>("adder", "add", &[2, 2], PATIENCE), Ok(4));
}

#[test]
fn a_slow_handler_holds_up_its_own_posters_only() {
    let (hub, address) = hub();
    let mut small = config("a");
    small.limits.outbox_messages = 8;
    let a = Node::start(small).unwrap();
    a.connect(&address).unwrap();
    let gate = Arc::new(Mutex::new(()));
    let held = gate.lock().unwrap();
    let waits = Arc::clone(&gate);
    hub.export("slow", move |_: Message| drop(waits.lock()))
        .unwrap()
        .keep();
    hub.export("adder", adder()).unwrap().keep();
    assert!(a.wait_for("adder", PATIENCE));
    let full = Full::Block(Duration::from_millis(20));
    let options = PostOptions {
        full,
        ..PostOptions::default()
    };
    let posted = (0..20)
        .take_while(|n| a.post_with(options, "slow", "x", n).is_ok())
        .count();
    assert_eq!(posted, 8);
    assert_eq!(
        a.post_with(PostOptions::AT_ONCE, "slow", "x", &0),
        Err(PostError::Full)
    );
    for _ in 0..100 {
        assert_eq!(a.call::<i64>("adder", "add", &[1], PATIENCE), Ok(1));
    }
    let (node, begun) = (a.clone(), Instant::now());
    let blocked = thread::spawn(move || node.post("slow", "x", &1));
    thread::sleep(Duration::from_millis(50));
    drop(held);
    assert_eq!(blocked.join().unwrap(), Ok(()));
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert!(a.flush(PATIENCE));
}

/// What `observe` tells of links, as text.
fn links(node: &Node, seen: &Sender<String>) {
    let seen = seen.clone();
    node.observe(move |event| {
        let line = match event {
            Event::LinkUp { peer, .. } => format!("up {}", peer.name),
            Event::LinkDown { peer, reason, .. } => format!("down {} {reason}", peer.name),
            Event::LinkFailed { reason, .. } => format!("failed {reason}"),
            _ => return,
        };
        // The test may be over.
        let _ = seen.send(line);
    });
}

#[test]
fn a_link_ends_once_and_is_made_again() {
    let address = lasting_address().to_string();
    let hub = node("hub");
    hub.listen(&address).unwrap();
    let (seen, lines) = channel();
    let a = node("a");
    links(&a, &seen);
    a.connect(&address).unwrap();
    assert_eq!(lines.recv_timeout(PATIENCE).unwrap(), "up hub");
    hub.shutdown(PATIENCE);
    assert_eq!(
        lines.recv_timeout(PATIENCE).unwrap(),
        "down hub closed by the peer: shut down"
    );
    assert!(lines.recv_timeout(PATIENCE).unwrap().starts_with("failed "));
    let again = node("hub");
    eventually("the port is free", || again.listen(&address).is_ok());
    let up = std::iter::repeat_with(|| lines.recv_timeout(PATIENCE).unwrap());
    let rest: Vec<String> = up.take_while(|line| line.starts_with("failed ")).collect();
    drop(rest);
    eventually("it is linked", || a.nodes().len() == 1);
}

#[test]
fn a_node_that_was_shut_down_stays_so() {
    let (hub, address) = hub();
    let a = linked("a", &address);
    hub.export("x", |_: Message| {}).unwrap().keep();
    assert!(a.wait_for("x", PATIENCE));
    let handle = a.clone();
    a.post("x", "e", &1).unwrap();
    assert_eq!(a.shutdown(PATIENCE), 0);
    assert_eq!(a.shutdown(PATIENCE), 0);
    assert_eq!(handle.post("x", "e", &1), Err(PostError::Stopped));
    assert_eq!(
        handle.call::<()>("x", "e", &1, PATIENCE),
        Err(CallError::Stopped)
    );
    assert!(matches!(
        handle.export("y", adder()),
        Err(ExportError::Stopped)
    ));
    assert!(a.connect(&address).is_err() && a.listen("127.0.0.1:0").is_err());
    eventually("the hub knows", || hub.nodes().is_empty());
    thread::sleep(Duration::from_millis(600));
    assert!(hub.nodes().is_empty(), "it does not come back");
}

#[test]
fn three_nodes_in_a_ring_come_to_rest() {
    let nodes = ["a", "b", "c"].map(|name| {
        let node = node(name);
        let address = node.listen("127.0.0.1:0").unwrap()[0].to_string();
        node.export(&format!("{name}-alias"), adder())
            .unwrap()
            .keep();
        (node, address)
    });
    for n in 0..3 {
        nodes[n].0.connect(&nodes[(n + 1) % 3].1).unwrap();
    }
    for (node, _) in &nodes {
        for alias in ["a-alias", "b-alias", "c-alias"] {
            assert!(node.wait_for(alias, PATIENCE));
        }
    }
    let frames = || {
        nodes
            .iter()
            .map(|(node, _)| node.stats().frames_in)
            .sum::<u64>()
    };
    eventually("all links are there", || {
        nodes.iter().all(|(node, _)| node.stats().links == 2)
    });
    eventually("nothing more is said", || {
        let settled = frames();
        assert!(settled < 100, "{settled} frames");
        thread::sleep(Duration::from_millis(500));
        frames() == settled
    });
}

#[test]
fn a_name_with_a_key_of_its_own_is_not_for_others() {
    let special = bayeux::link::Key::new(b"for the bank's eyes only").unwrap();
    let mut config = config("hub");
    config.keys = Keys::common(key()).named("bank", special.clone());
    let hub = Node::start(config).unwrap();
    let (seen, lines) = channel();
    links(&hub, &seen);
    let address = hub.listen("127.0.0.1:0").unwrap()[0].to_string();
    let thief = linked("bank", &address);
    assert_eq!(
        lines.recv_timeout(PATIENCE).unwrap(),
        "failed wrong key or name"
    );
    drop(thief);
    let bank = Node::start(Config::named("bank", special)).unwrap();
    bank.connect(&address).unwrap();
    eventually("the bank is there", || {
        hub.nodes().iter().any(|(_, name)| &**name == "bank")
    });
}

#[test]
fn work_is_spread_over_those_that_share_it() {
    let (hub, address) = hub();
    let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let workers: Vec<Node> = counts.iter().map(|_| linked("worker", &address)).collect();
    for (worker, count) in workers.iter().zip(&counts) {
        let count = Arc::clone(count);
        let work = move |_: Message| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        worker.export_shared("work", work).unwrap().keep();
    }
    eventually("both are there", || hub.aliases().len() == 2);
    for n in 0..100 {
        hub.post("work", "do", &n).unwrap();
    }
    assert!(hub.flush(PATIENCE));
    assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [50, 50]);
    assert_eq!(hub.broadcast("work", "do", &0), Ok(2));
}

#[test]
fn a_handler_may_own_what_uses_the_node_when_it_is_dropped() {
    let node = node("a");
    let own = |name: &str| {
        let inner = node.export(name, adder()).unwrap();
        move |_: Message| assert_eq!(inner.node().name(), "a")
    };
    let outer = node.export("outer", own("inner")).unwrap();
    assert!(node.export("outer", own("refused")).is_err());
    assert!(!node.wait_for("refused", Duration::ZERO));
    drop(outer);
    assert!(node.aliases().is_empty());
    node.export("last", own("all")).unwrap().keep();
    node.shutdown(PATIENCE);
}

#[test]
fn a_call_can_be_given_up() {
    let (hub, address) = hub();
    let a = linked("a", &address);
    hub.export("mute", |mut message: Message| {
        std::mem::forget(message.take_reply())
    })
    .unwrap()
    .keep();
    assert!(a.wait_for("mute", PATIENCE));
    let call = a
        .start_call(PostOptions::AT_ONCE, "mute", "x", &(), PATIENCE)
        .unwrap();
    call.cancel();
    let wait = a
        .start_call(PostOptions::AT_ONCE, "mute", "x", &(), PATIENCE)
        .unwrap();
    eventually("it has arrived", || hub.stats().delivered == 2);
    hub.shutdown(Duration::ZERO);
    let error = wait.wait::<()>().unwrap_err();
    assert_eq!(error, CallError::PeerLost(hub.id()));
}

#[test]
fn a_call_that_has_to_wait_for_room_takes_no_longer() {
    let (hub, address) = hub();
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let hold = move |_: &Message| {
        // The test may be over.
        let _ = held.lock().unwrap().recv();
        Ok::<_, Fault>(())
    };
    hub.export("slow", Methods::new().on("hold", hold))
        .unwrap()
        .keep();
    let mut config = config("caller");
    config.limits.outbox_messages = 1;
    let caller = Node::start(config).unwrap();
    caller.connect(&address).unwrap();
    assert!(caller.wait_for("slow", Duration::MAX));
    caller.post("slow", "hold", &()).unwrap();
    let time = Duration::from_secs(2);
    let later = release.clone();
    let releasing = thread::spawn(move || {
        thread::sleep(time * 3 / 4);
        later.send(()).unwrap();
    });
    let begun = Instant::now();
    let called = caller.call::<()>("slow", "hold", &(), time);
    assert_eq!(called, Err(CallError::Timeout));
    assert!(begun.elapsed() < time * 3 / 2, "{:?}", begun.elapsed());
    releasing.join().unwrap();
    release.send(()).unwrap();
}

#[test]
fn an_observer_can_be_ended() {
    let node = node("one");
    let seen = |observing: &Receiver<String>| observing.recv_timeout(PATIENCE).unwrap();
    let (tell, told) = channel();
    let note = tell.clone();
    let observing = node.observe_while(move |event| drop(note.send(format!("{event:?}"))));
    node.export("a", adder()).unwrap().keep();
    assert!(seen(&told).contains("AliasAdded"));
    drop(observing);
    // What it owned is gone with it, and it is told nothing more.
    drop(tell);
    assert_eq!(
        told.recv_timeout(PATIENCE),
        Err(RecvTimeoutError::Disconnected)
    );
    let (tell, told) = channel();
    node.observe(move |event| drop(tell.send(format!("{event:?}"))));
    node.export("b", adder()).unwrap().keep();
    assert!(seen(&told).contains("\"b\""));
}

#[test]
fn an_observer_misses_nothing_while_another_is_slow() {
    let node = node("one");
    let (entered, enters) = channel();
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    node.observe(move |_| {
        // The test may be over.
        let _ = entered.send(());
        let _ = held.lock().unwrap().recv();
    });
    node.export("a", adder()).unwrap().keep();
    enters.recv_timeout(PATIENCE).unwrap();
    let (tell, told) = channel();
    node.observe(move |event| drop(tell.send(format!("{event:?}"))));
    node.export("b", adder()).unwrap().keep();
    drop(release);
    let seen = std::iter::repeat_with(|| told.recv_timeout(PATIENCE).unwrap());
    assert!(seen.take(2).any(|event| event.contains("\"b\"")));
}

#[test]
fn limits_without_end_are_no_trouble() {
    let mut config = config("boundless");
    config.limits.max_message = usize::MAX;
    config.limits.link_buffer = usize::MAX;
    config.limits.window = u64::MAX;
    let hub = Node::start(config).unwrap();
    let address = hub.listen("127.0.0.1:0").unwrap()[0].to_string();
    hub.export("adder", adder()).unwrap().keep();
    let a = linked("a", &address);
    assert!(a.wait_for("adder", PATIENCE));
    assert_eq!(a.call("adder", "add", &[1, 2], PATIENCE), Ok(3));
}
