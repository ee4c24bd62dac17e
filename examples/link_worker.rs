//! A worker process of a Bayeux server: handles `/service/echo`, counts what is said in the chat,
//! and, if asked to, decides who may do what. It may be stopped and started again at any moment.
//!
//! `head -c 32 /dev/urandom | base64 > key`
//! `cargo run -- serve --link 127.0.0.1:2021 --link-key-file key --link-authoriser judge`
//! `cargo run --example link_worker -- 127.0.0.1:2021 key judge`

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bayeux::bridge::{Asked, Judgement, Remote, Request};
use bayeux::link::{Config, Event, Key, Node};
use serde_json::json;

/// Works until it is killed.
pub(crate) fn run(address: &str, key: Key, authoriser: Option<&str>) -> Result<(), Box<dyn Error>> {
    let node = Node::start(Config::named("worker", key))?;
    node.observe(|event| {
        if let Event::LinkUp { .. } | Event::LinkDown { .. } | Event::LinkFailed { .. } = event {
            println!("{event:?}");
        }
    });
    let remote = Remote::new(&node, "worker")?;
    let calls = AtomicU64::new(0);
    let echo = move |request: &Request| {
        let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(json!({"echo": request.data, "process": std::process::id(), "call": call}))
    };
    remote.serve("echo", echo)?.keep();
    remote.subscribe("/chat/**", |channel, data| println!("{channel}: {data}"));
    if let Some(alias) = authoriser {
        remote.authorise(alias, judge)?.keep();
    }
    node.connect(address)?;
    loop {
        std::thread::park();
    }
}

/// Everything but what is below `/private`.
fn judge(asked: &Asked) -> Judgement {
    let is_private = |channel: &String| channel.starts_with("/private/");
    if is_private(&asked.channel) || asked.subscriptions.iter().any(is_private) {
        return Judgement::deny("private");
    }
    Judgement::allow()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().ok_or("missing: address")?;
    let key = Key::from_file(Path::new(&args.next().ok_or("missing: key file")?))?;
    run(&address, key, args.next().as_deref())
}
