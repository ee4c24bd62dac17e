//! Nodes and exports that end while messages are under way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bayeux::link::{Event, Message};

use crate::common::wait::{PATIENCE, eventually};
use crate::support::{hub, linked, node};

/// A handler that tells what it begins and waits before it ends, and its ends for the test.
fn gated() -> (impl Fn(Message), Receiver<u32>, Sender<()>) {
    let (entered, enters) = channel();
    let (release, held) = channel::<()>();
    let (entered, held) = (Mutex::new(entered), Mutex::new(held));
    let handler = move |message: Message| {
        entered
            .lock()
            .unwrap()
            .send(message.args().unwrap())
            .unwrap();
        // The test may be over.
        let _ = held.lock().unwrap().recv();
    };
    (handler, enters, release)
}

#[test]
fn an_alias_that_is_exported_anew_is_handled_by_one_thread() {
    let node = node("one");
    let (old, enters, release_old) = gated();
    let export = node.export("x", old).unwrap();
    node.post("x", "e", &0).unwrap();
    assert_eq!(enters.recv_timeout(PATIENCE), Ok(0));
    drop(export);
    let (entered, enters) = channel();
    let (release, held) = channel::<()>();
    let (entered, held) = (Mutex::new(entered), Mutex::new(held));
    let inside = AtomicUsize::new(0);
    let handler = move |message: Message| {
        let others = inside.fetch_add(1, Ordering::Relaxed);
        let n: u32 = message.args().unwrap();
        entered.lock().unwrap().send((n, others)).unwrap();
        if n == 1 {
            let _ = held.lock().unwrap().recv();
        }
        inside.fetch_sub(1, Ordering::Relaxed);
    };
    let _export = node.export("x", handler).unwrap();
    for n in 1..=3 {
        node.post("x", "e", &n).unwrap();
    }
    assert_eq!(enters.recv_timeout(PATIENCE), Ok((1, 0)));
    // The thread of the old one has nothing to do with the new one.
    drop(release_old);
    let early = enters.recv_timeout(Duration::from_millis(300));
    assert!(early.is_err(), "{early:?} beside the first");
    drop(release);
    assert_eq!(enters.recv_timeout(PATIENCE), Ok((2, 0)));
    assert_eq!(enters.recv_timeout(PATIENCE), Ok((3, 0)));
}

#[test]
fn a_node_that_has_nothing_to_wait_for_ends_at_once() {
    let (_hub, address) = hub();
    for _ in 0..5 {
        let a = linked("a", &address);
        let exports: Vec<_> = (0..50)
            .map(|n| a.export(&format!("x{n}"), |_: Message| {}).unwrap())
            .collect();
        eventually("it is linked", || !a.nodes().is_empty());
        // What is said about this is under way, and nobody waits for it.
        drop(exports);
        let begun = Instant::now();
        assert_eq!(a.shutdown(PATIENCE), 0);
        assert!(begun.elapsed() < PATIENCE / 2, "it has waited for nothing");
    }
}

#[test]
fn what_a_node_has_posted_to_itself_counts_too() {
    let node = node("one");
    let (handler, enters, release) = gated();
    node.export("x", handler).unwrap().keep();
    for n in 0..3 {
        node.post("x", "e", &n).unwrap();
    }
    assert_eq!(enters.recv_timeout(PATIENCE), Ok(0));
    assert!(!node.flush(Duration::from_millis(20)), "nothing is handled");
    (0..2).for_each(|_| release.send(()).unwrap());
    assert!(!node.flush(Duration::from_millis(200)), "one is not");
    release.send(()).unwrap();
    assert!(node.flush(PATIENCE));
    assert_eq!(enters.try_iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_node_waits_for_its_own_handlers_and_tells_what_they_have_not_handled() {
    let patient = node("patient");
    let (told, tell) = channel();
    let slow = move |message: Message| {
        thread::sleep(Duration::from_millis(20));
        told.send(message.args::<u32>().unwrap()).unwrap();
    };
    patient.export("x", slow).unwrap().keep();
    for n in 0..5 {
        patient.post("x", "e", &n).unwrap();
    }
    assert_eq!(patient.shutdown(PATIENCE), 0);
    assert_eq!(tell.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let hasty = node("hasty");
    let (tell, told) = channel();
    hasty.observe(move |event| drop(tell.send(event.clone())));
    let (handler, enters, release) = gated();
    hasty.export("x", handler).unwrap().keep();
    for n in 0..5 {
        hasty.post("x", "e", &n).unwrap();
    }
    assert_eq!(enters.recv_timeout(PATIENCE), Ok(0));
    assert_eq!(hasty.shutdown(Duration::ZERO), 5);
    let lost = Event::Undelivered {
        alias: "x".into(),
        node: Some(hasty.id()),
        lost: 4,
        uncertain: 0,
    };
    assert!(told.iter().any(|event| event == lost));
    drop(release);
}

#[test]
fn nobody_waits_for_an_alias_beyond_the_end_of_the_node() {
    let node = node("one");
    let handle = node.clone();
    let begun = Instant::now();
    let waiting = thread::spawn(move || handle.wait_for("never", PATIENCE));
    node.shutdown(Duration::ZERO);
    assert!(!waiting.join().unwrap());
    assert!(begun.elapsed() < PATIENCE / 2);
}
