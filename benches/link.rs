//! Posts and calls a second through one link and through a hub, beside a raw echo over TCP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bayeux::link::{Config, Key, Message, Methods, Node};

mod common;

const LONG: Duration = Duration::from_secs(60);
/// What is posted and echoed, without any header.
const TEXT: &str = "What is said from one process to another, more or less.";

fn main() {
    let rounds = common::size(20_000, 50);
    let (trips, stream) = raw_echo(rounds);
    println!("raw TCP echo: {trips:.0} round trips/s; {stream:.0} messages/s in a stream");
    let hub = node("hub");
    let address = hub.listen("127.0.0.1:0").expect("a port")[0].to_string();
    let [near, far] = ["near", "far"].map(|name| {
        let node = node(name);
        node.connect(&address).expect("threads");
        node
    });
    export(&hub, "direct");
    export(&far, "behind");
    assert!(near.wait_for("behind", LONG) && near.wait_for("direct", LONG));
    for (name, alias, node) in [("one link", "direct", &hub), ("a hub", "behind", &far)] {
        let calls = calls(&near, alias, rounds);
        let posts = posts(&near, node, alias, 10 * rounds);
        println!(
            "through {name}: {calls:.0} calls/s ({:.0} % of raw), {posts:.0} posts/s ({:.0} %)",
            100.0 * calls / trips,
            100.0 * posts / stream
        );
    }
    assert_eq!(near.shutdown(LONG), 0);
}

fn node(name: &str) -> Node {
    let key = Key::new(b"the secret of the bench").expect("it is long enough");
    Node::start(Config::named(name, key)).expect("threads")
}

fn export(node: &Node, alias: &str) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let methods = Methods::new()
        .on("echo", |message: &Message| message.args::<String>())
        .on("count", move |_: &Message| {
            Ok(count.fetch_add(1, Ordering::Relaxed))
        })
        .on("counted", move |_: &Message| {
            Ok(counted.load(Ordering::Relaxed))
        });
    node.export(alias, methods).expect("it is free").keep();
}

fn calls(from: &Node, alias: &str, rounds: usize) -> f64 {
    let begun = Instant::now();
    for _ in 0..rounds {
        let echo: String = from.call(alias, "echo", TEXT, LONG).expect("an answer");
        assert_eq!(echo, TEXT);
    }
    rounds as f64 / begun.elapsed().as_secs_f64()
}

fn posts(from: &Node, to: &Node, alias: &str, rounds: usize) -> f64 {
    let begun = Instant::now();
    for _ in 0..rounds {
        from.post(alias, "count", TEXT).expect("it is taken");
    }
    assert!(from.flush(LONG));
    let rate = rounds as f64 / begun.elapsed().as_secs_f64();
    let counted: usize = to.call(alias, "counted", &(), LONG).expect("an answer");
    assert_eq!(counted, rounds, "none lost, none doubled");
    rate
}

/// Round trips a second, one after the other, and messages a second, as many as go.
fn raw_echo(rounds: usize) -> (f64, f64) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        peer.set_nodelay(true).expect("an option");
        let mut buffer = vec![0; 64 << 10];
        while let Ok(n @ 1..) = peer.read(&mut buffer) {
            peer.write_all(&buffer[..n]).expect("the client reads");
        }
    });
    let mut client = TcpStream::connect(address).expect("a connection");
    client.set_nodelay(true).expect("an option");
    let mut buffer = [0; TEXT.len()];
    let begun = Instant::now();
    for _ in 0..rounds {
        client.write_all(TEXT.as_bytes()).expect("the server reads");
        client.read_exact(&mut buffer).expect("the server answers");
    }
    let trips = rounds as f64 / begun.elapsed().as_secs_f64();
    let mut reader = client.try_clone().expect("a handle");
    let begun = Instant::now();
    let sent = 10 * rounds;
    let writer = thread::spawn(move || {
        for _ in 0..sent {
            client.write_all(TEXT.as_bytes()).expect("the server reads");
        }
        client
    });
    for _ in 0..sent {
        reader.read_exact(&mut buffer).expect("the server answers");
    }
    let stream = sent as f64 / begun.elapsed().as_secs_f64();
    drop((writer.join().expect("no panic"), reader));
    server.join().expect("no panic");
    (trips, stream)
}
