//! Peers that lie, flood, stutter and say nothing: refused or cut, and nobody else is affected.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bayeux::link::{Event, LinkEnd, Message, Methods, Node};
use serde_json::json;

use crate::common::wait::{PATIENCE, eventually};
use crate::support::{Raw, SECRET, config, content, linked};

/// A hub, a well-behaved node that exports `echo`, another that calls it, and how links fail.
struct Scene {
    hub: Node,
    address: String,
    _good: Node,
    other: Node,
    failures: Receiver<LinkEnd>,
}

fn scene(hello_timeout: Duration) -> Scene {
    let mut config = config("hub");
    config.limits.hello_timeout = hello_timeout;
    config.limits.link_buffer = 1 << 20;
    let hub = Node::start(config).unwrap();
    let address = hub.listen("127.0.0.1:0").unwrap()[0].to_string();
    let (seen, failures) = channel();
    hub.observe(move |event| match event {
        Event::LinkFailed { reason, .. } | Event::LinkDown { reason, .. } => {
            // The test may be over.
            let _ = seen.send(reason.clone());
        }
        _ => {}
    });
    let good = linked("good", &address);
    let echo = |message: &Message| message.args::<serde_json::Value>();
    good.export("echo", Methods::new().on("echo", echo))
        .unwrap()
        .keep();
    let other = linked("other", &address);
    assert!(other.wait_for("echo", PATIENCE));
    Scene {
        hub,
        address,
        _good: good,
        other,
        failures,
    }
}

impl Scene {
    fn failure(&self) -> LinkEnd {
        self.failures.recv_timeout(PATIENCE).unwrap()
    }

    /// The others have noticed nothing.
    fn is_fine(&self) {
        for n in 0..20 {
            assert_eq!(self.other.call("echo", "echo", &n, PATIENCE), Ok(n));
        }
        assert_eq!(self.hub.stats().nodes, 2);
    }
}

#[test]
fn nonsense_instead_of_a_hello() {
    let scene = scene(PATIENCE);
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x01{",
        b"\x00\x00\x00\x0c{\"hello\":{}}",
        b"\x00\x00\x00\x0a{\"ping\":1}",
        b"\x00\x00\x00\x01\x01",
        b"\x00\x00\x00\x05\x04\x12\x31\x32\x33",
    ] {
        let mut raw = Raw::connect(&scene.address);
        raw.stream.write_all(bytes).unwrap();
        assert!(raw.until_bye().is_some(), "{bytes:?}");
        assert!(matches!(scene.failure(), LinkEnd::Protocol(_)), "{bytes:?}");
    }
    scene.is_fine();
}

#[test]
fn a_wrong_key_and_a_recorded_proof() {
    let scene = scene(PATIENCE);
    let mut raw = Raw::connect(&scene.address);
    let proof = raw.greet("evil", b"not the secret of the tests");
    raw.send(&proof).unwrap();
    assert_eq!(raw.until_bye().unwrap(), "wrong key or name");
    assert_eq!(scene.failure(), LinkEnd::Denied);
    // One that is let in, recorded and played again.
    let mut good = Raw::connect(&scene.address);
    let proof = good.greet("evil", SECRET);
    good.send(&proof).unwrap();
    assert!(content("proof", &good.receive().unwrap()).is_some());
    drop(good);
    assert!(matches!(scene.failure(), LinkEnd::Connection(_)));
    let mut again = Raw::connect(&scene.address);
    again.receive().unwrap();
    let hello = again.hello("evil");
    again.send(&hello).unwrap();
    again.send(&proof).unwrap();
    assert_eq!(again.until_bye().unwrap(), "wrong key or name");
    assert_eq!(scene.failure(), LinkEnd::Denied);
    scene.is_fine();
}

#[test]
fn no_hello_and_half_a_hello() {
    let scene = scene(Duration::from_millis(200));
    let begun = Instant::now();
    let mut silent = TcpStream::connect(&scene.address).unwrap();
    let mut stutters = TcpStream::connect(&scene.address).unwrap();
    stutters.write_all(b"\x00\x00\x00\x20{").unwrap();
    let mut greets = Raw::connect(&scene.address);
    greets.greet("evil", SECRET);
    for _ in 0..3 {
        assert_eq!(scene.failure(), LinkEnd::NoHello);
    }
    assert!(begun.elapsed() >= Duration::from_millis(200));
    for stream in [&mut silent, &mut stutters] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    scene.is_fine();
}

#[test]
fn frames_cut_and_changed_at_every_byte() {
    let scene = scene(PATIENCE);
    let raw = Raw::connect(&scene.address);
    let news = json!({"news": {"origin": raw.id, "seq": 5, "name": "evil", "peers": [],
        "aliases": {}}});
    drop(raw);
    assert!(matches!(scene.failure(), LinkEnd::Connection(_)));
    let mut data = vec![1, 9];
    data.extend_from_slice(&[0xee; 32]);
    data.extend_from_slice(b"\0\0\0\x01\x04echo\0\0\0\0\0\0\0\x01");
    // A post.
    data.extend_from_slice(b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x04echonull");
    for whole in [data, news.to_string().into_bytes()] {
        for at in (0..whole.len()).step_by(7) {
            let mut raw = Raw::linked(&scene.address, "evil", &json!({}));
            raw.send(&whole[..at]).unwrap();
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            // The first may have cost the link.
            let _ = raw.send(&changed);
            drop(raw);
            scene.failure();
        }
    }
    scene.is_fine();
}

#[test]
fn announcing_the_alias_of_another() {
    let scene = scene(PATIENCE);
    let mut raw = Raw::linked(
        &scene.address,
        "evil",
        &json!({"echo": "sole", "own": "sole"}),
    );
    let mut frames = std::iter::repeat_with(|| raw.receive().unwrap());
    let refused = frames.find_map(|frame| content("refuse", &frame)).unwrap();
    assert_eq!(refused["alias"], "echo");
    assert!(scene.other.wait_for("own", PATIENCE));
    // In the name of the owner.
    let owner = scene
        .other
        .aliases()
        .into_iter()
        .find(|a| &*a.alias == "echo")
        .unwrap()
        .owner;
    let drop_it = json!({"origin": owner, "seq": 99, "aliases": {"echo": null}});
    raw.send_json("news", &drop_it).unwrap();
    for _ in 0..20 {
        assert_eq!(scene.other.call("echo", "echo", &1, PATIENCE), Ok(1));
    }
    // In the name of the hub.
    let hub = json!({"origin": scene.hub.id(), "seq": 999, "aliases": {"echo": null}});
    raw.send_json("news", &hub).unwrap();
    assert!(raw.until_bye().unwrap().starts_with("protocol: "));
    assert!(matches!(scene.failure(), LinkEnd::Protocol(_)));
    eventually("it is gone", || scene.other.aliases().len() == 1);
    scene.is_fine();
}

#[test]
fn in_the_place_of_another_node() {
    let scene = scene(PATIENCE);
    // Under its name, after another was proved.
    let mut raw = Raw::linked(&scene.address, "evil", &json!({}));
    let news = json!({"origin": raw.id, "seq": 9, "name": "good",
        "peers": [scene.hub.id()], "aliases": {}});
    raw.send_json("news", &news).unwrap();
    let said = raw.until_bye().unwrap();
    assert_eq!(said, "protocol: another name than in the hello");
    assert!(matches!(scene.failure(), LinkEnd::Protocol(_)));
    // With its id.
    let nodes = scene.hub.nodes();
    let good = nodes.iter().find(|(_, name)| &**name == "good").unwrap();
    let mut raw = Raw::connect(&scene.address);
    raw.id = good.0.to_string();
    let proof = raw.greet("evil", SECRET);
    raw.send(&proof).unwrap();
    assert_eq!(raw.until_bye().unwrap(), "wrong key or name");
    assert_eq!(scene.failure(), LinkEnd::Denied);
    scene.is_fine();
}

#[test]
fn a_flood_that_reads_nothing() {
    let scene = scene(PATIENCE);
    let mut raw = Raw::linked(&scene.address, "evil", &json!({}));
    let flood = b"\0\0\0\x0a{\"ping\":1}".repeat(10_000);
    raw.stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    while raw.stream.write_all(&flood).is_ok() && begun.elapsed() < PATIENCE {
        let call = Instant::now();
        assert_eq!(scene.other.call("echo", "echo", &1, PATIENCE), Ok(1));
        slowest = slowest.max(call.elapsed());
    }
    assert!(begun.elapsed() < PATIENCE, "it was stopped");
    assert!(slowest < PATIENCE / 3, "others went on: {slowest:?}");
    drop(raw);
    scene.failure();
    scene.is_fine();
}
