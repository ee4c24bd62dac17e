//! The synopsis of the original: an embedded server with a bot in the chat room.
//!
//! Run it, open the printed address and join the chat; the bot answers everybody, with or without a
//! name, but neither itself nor other bots.

use bayeux::LocalClient;
use bayeux::Publisher;
use bayeux::Server;
use serde_json::{Value, json};
use std::sync::Arc;

#[allow(dead_code, reason = "tests call what it calls")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::builder().start()?;
    let _bot = autobot(&server)?;
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}

/// A bot that answers as long as it is kept.
pub(crate) fn autobot(server: &Server) -> Result<Arc<LocalClient>, Box<dyn std::error::Error>> {
    let bot = Arc::new(server.local_client());
    let (speaker, own) = (Arc::downgrade(&bot), Publisher::Local(bot.id()));
    bot.subscribe("/chat/demo", move |message| {
        let said: Value = serde_json::from_str(message.data()).unwrap_or_default();
        if *message.publisher() == own || said["bot"] == true {
            return;
        }
        let user = said["user"].as_str().unwrap_or("anon");
        let text = format!("I got your message, {user}");
        if let Some(bot) = speaker.upgrade() {
            let answer = json!({"user": "Autobot", "chat": text, "bot": true});
            let _ = bot.publish("/chat/demo", &answer);
        }
    })?
    .keep();
    Ok(bot)
}
