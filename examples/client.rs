//! Somebody who joins a chat, says something a while later, then what is typed, and leaves.
//!
//! `cargo run --example client -- http://127.0.0.1:8080/cometd /chat/demo me`

use std::env;
use std::error::Error;
use std::io::{self, BufRead};
use std::thread;
use std::time::Duration;

use bayeux::client::{Client, Event};
use serde_json::{Value, json};

#[allow(dead_code, reason = "tests call what it calls")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let url = next("http://127.0.0.1:8080/cometd");
    let channel = next("/chat/demo");
    let user = next("rust");
    chat(
        &url,
        &channel,
        &user,
        Duration::from_secs(5),
        io::stdin().lock(),
    )
}

/// One visit, until the end of the input.
pub(crate) fn chat(
    url: &str,
    channel: &str,
    user: &str,
    pause: Duration,
    input: impl BufRead,
) -> Result<(), Box<dyn Error>> {
    let client = Client::builder(url)
        .on_event(|event| match event {
            Event::State { to, .. } => eprintln!("-- {to:?}"),
            Event::Trouble { error, retry_in } => eprintln!("-- {error}; again in {retry_in:?}"),
            other => eprintln!("-- {other:?}"),
        })
        .connect()?;
    let _chat = client.listen(channel, |message| match message.data::<Value>() {
        Ok(data) => println!("{}: {}", data["user"], data["chat"]),
        Err(error) => eprintln!("-- {error}"),
    })?;
    let say = |line: Value| {
        if let Err(error) = client.publish(channel, &line) {
            eprintln!("-- {error}");
        }
    };

    say(json!({"user": user, "join": true, "chat": format!("{user} has joined")}));
    thread::sleep(pause);
    say(json!({"user": user, "chat": "Is anybody there?"}));
    for line in input.lines() {
        say(json!({"user": user, "chat": line?}));
    }
    say(json!({"user": user, "leave": true, "chat": format!("{user} has left")}));
    Ok(())
}
