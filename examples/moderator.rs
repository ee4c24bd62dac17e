//! A chat server with a moderator: whoever publishes the word `spam` is told why, and is sent away.
//!
//!     cargo run --example moderator -- --listen 127.0.0.1:8080
//!
//! With the flags of `bayeux serve`. The reason goes to `/moderator`; then the client gets
//! `/meta/disconnect`, and does not come back by itself.

use std::process::ExitCode;

use bayeux::Principal;
use bayeux::Publication;
use bayeux::Publisher;
use bayeux::{AuthRequest, Broker, ServerBuilder, Verdict};

fn main() -> ExitCode {
    bayeux::cli::serve(|server: ServerBuilder| server.setup(moderate))
}

fn moderate(broker: &Broker) {
    // A listener belongs to the broker, and must not keep it.
    let weak = broker.downgrade();
    let judge = move |request: &AuthRequest<'_>| {
        let is_spam = request.data == Some("\"spam\"");
        let (true, Principal::Session(client)) = (is_spam, request.principal) else {
            return Verdict::Pass;
        };
        if let Some(broker) = weak.upgrade() {
            let channel = "/moderator".try_into().expect("because it is a channel");
            let reason = Publication::new(&channel, "\"no spam\"", Publisher::Nobody);
            if let Err(error) = broker.push(client, reason) {
                eprintln!("a client is not told why: {error}");
            }
            broker.disconnect(client);
        }
        Verdict::Veto
    };
    let pattern = "/**";
    broker
        .add_listener(pattern, judge)
        .expect("because it is a pattern");
}
