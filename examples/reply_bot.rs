//! The synopsis of the original: an embedded server with a bot in the chat room.
//!
//! Run it, open the printed address and join the chat; the bot answers people, not itself and other
//! bots.

use bayeux::{Server, protocol::Publisher};
use serde_json::{Value, json};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().start()?;
    let bot = Arc::new(server.local_client());
    let (speaker, own) = (Arc::downgrade(&bot), Publisher::Local(bot.id()));
    bot.subscribe("/chat/demo", move |message| {
        let said: Value = serde_json::from_str(message.data()).unwrap_or_default();
        if *message.publisher() == own || said["user"].is_null() || said["bot"] == true {
            return;
        }
        let text = format!(
            "I got your message, {}",
            said["user"].as_str().unwrap_or("anon")
        );
        if let Some(bot) = speaker.upgrade() {
            let _ = bot.publish(
                "/chat/demo",
                &json!({"user": "Autobot", "chat": text, "bot": true}),
            );
        }
    })?
    .keep();
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}
