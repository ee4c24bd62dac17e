//! A chat at the command line: what comes is printed, what is typed is sent.
//!
//! `cargo run --example client -- http://127.0.0.1:8080/cometd /chat/demo me`

use std::env;
use std::error::Error;
use std::io::{self, BufRead};

use bayeux::client::{Client, Event};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let url = next("http://127.0.0.1:8080/cometd");
    let channel = next("/chat/demo");
    let user = next("rust");

    let client = Client::builder(&url)
        .on_event(|event| match event {
            Event::State { to, .. } => eprintln!("-- {to:?}"),
            Event::Trouble { error, retry_in } => eprintln!("-- {error}; again in {retry_in:?}"),
            other => eprintln!("-- {other:?}"),
        })
        .connect()?;
    let _chat = client.listen(&channel, |message| match message.data::<Value>() {
        Ok(data) => println!("{}: {}", data["user"], data["chat"]),
        Err(error) => eprintln!("-- {error}"),
    })?;

    for line in io::stdin().lock().lines() {
        if let Err(error) = client.publish(&channel, &json!({"user": user, "chat": line?})) {
            eprintln!("-- {error}");
        }
    }
    Ok(())
}
