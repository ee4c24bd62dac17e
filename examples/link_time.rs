//! Two linked processes that need each other: one asks for the time every so often, the other has
//! numbers added. Either may be stopped and started again at any moment; the other goes on.
//!
//! `head -c 32 /dev/urandom | base64 > key`
//! `cargo run --example link_time -- listen 127.0.0.1:2021 key`
//! `cargo run --example link_time -- connect 127.0.0.1:2021 key`

use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bayeux::link::{Config, Event, Fault, Key, Message, Methods, Node};

/// Runs one of the two until it is killed.
pub(crate) fn run(
    role: &str,
    address: &str,
    key: Key,
    every: Duration,
) -> Result<(), Box<dyn Error>> {
    let node = Node::start(Config::named(role, key))?;
    node.observe(|event| match event {
        Event::LinkUp { peer, .. } => println!("linked with {}", peer.name),
        Event::LinkDown { peer, reason, .. } => println!("lost {}: {reason}", peer.name),
        _ => {}
    });
    if role == "listen" {
        println!("listening on {}", node.listen(address)?[0]);
        ask_for_the_time(&node, every)
    } else {
        node.connect(address)?;
        have_numbers_added(&node, every)
    }
}

fn ask_for_the_time(node: &Node, every: Duration) -> Result<(), Box<dyn Error>> {
    let add = |message: &Message| {
        let numbers: Vec<i64> = message.args()?;
        post_back(message, "sum", numbers.iter().sum())
    };
    node.export("adder", Methods::new().on("add", add))?.keep();
    let told = |message: &Message| {
        println!("it is {}", message.args::<u64>()?);
        Ok::<_, Fault>(())
    };
    let clerk = node.export("clerk", Methods::new().on("time", told))?;
    loop {
        // Only while there is somebody to ask, as it is a question of now.
        if node.wait_for("clock", every) {
            clerk.node().post("clock", "tell", &())?;
        }
        thread::sleep(every);
    }
}

fn have_numbers_added(node: &Node, every: Duration) -> Result<(), Box<dyn Error>> {
    let tell = |message: &Message| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(Fault::failed)?;
        post_back(
            message,
            "time",
            i64::try_from(now.as_secs()).map_err(Fault::failed)?,
        )
    };
    node.export("clock", Methods::new().on("tell", tell))?
        .keep();
    let told = |message: &Message| {
        println!("the sum is {}", message.args::<i64>()?);
        Ok::<_, Fault>(())
    };
    let pupil = node.export("pupil", Methods::new().on("sum", told))?;
    for n in 1.. {
        if node.wait_for("adder", every) {
            pupil.node().post("adder", "add", &[n, n + 1])?;
        }
        thread::sleep(every);
    }
    Ok(())
}

/// The answer goes back as a post of its own.
fn post_back(message: &Message, event: &str, value: i64) -> Result<(), Fault> {
    message.post_back(event, &value).map_err(Fault::failed)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut argument = |name: &str| args.next().ok_or(format!("missing: {name}"));
    let (role, address) = (argument("listen or connect")?, argument("address")?);
    let key = Key::from_file(Path::new(&argument("key file")?))?;
    run(&role, &address, key, Duration::from_secs(5))
}
