//! A bot in the chat room: it confirms what people say, and leaves itself and other bots alone.

use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};

use super::chat::ROOM;
use crate::broker::{Broker, LocalClient, LocalError};
use crate::protocol::{Publication, Publisher};

const NAME: &str = "Jerkbot";
const ANSWER: &str = "I got your message, ";
/// Longest name it repeats, in characters.
const LONGEST: usize = 64;

/// The running bot. It leaves when this is dropped.
pub(super) struct Bot {
    _client: Arc<LocalClient>,
}

/// What is said in the room.
#[derive(Deserialize)]
struct Line {
    user: Option<String>,
    chat: Option<String>,
    #[serde(default)]
    join: bool,
    #[serde(default)]
    leave: bool,
    #[serde(default)]
    bot: bool,
}

#[derive(Serialize)]
struct Reply {
    user: &'static str,
    chat: String,
    bot: bool,
}

impl Bot {
    pub(super) fn start(broker: &Broker) -> Result<Self, LocalError> {
        let client = Arc::new(broker.local_client());
        let speaker = Arc::downgrade(&client);
        client
            .subscribe(ROOM, move |message| receive(&speaker, message))?
            .keep();
        Ok(Self { _client: client })
    }
}

fn receive(speaker: &Weak<LocalClient>, message: &Publication) {
    // Clients in this process are bots, this one among them.
    if matches!(message.publisher(), Publisher::Local(_)) {
        return;
    }
    let line = serde_json::from_str::<Line>(message.data());
    let Some(chat) = line.ok().as_ref().and_then(answer) else {
        return;
    };
    let Some(speaker) = speaker.upgrade() else {
        return;
    };
    let reply = Reply {
        user: NAME,
        chat,
        bot: true,
    };
    if let Err(error) = speaker.publish(ROOM, &reply) {
        log::warn!("demo: {error}");
    }
}

/// What to answer to a line, if it wants an answer.
fn answer(line: &Line) -> Option<String> {
    let said = line.chat.as_deref()?;
    // A bot elsewhere may not say that it is one; but two that confirm would never end.
    if line.bot || line.join || line.leave || said.starts_with(ANSWER) {
        return None;
    }
    let user = line.user.as_deref().filter(|user| !user.is_empty());
    let user = user.unwrap_or("anon").chars().take(LONGEST);
    Some(ANSWER.chars().chain(user).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_answered() {
        let table = [
            (
                r#"{"user":"Ann","chat":"Hello"}"#,
                Some("I got your message, Ann"),
            ),
            (r#"{"chat":"Hello"}"#, Some("I got your message, anon")),
            (r#"{"user":"","chat":""}"#, Some("I got your message, anon")),
            (r#"{"user":"Ann"}"#, None),
            (r#"{"user":"Ann","chat":"hi","join":true}"#, None),
            (r#"{"user":"Ann","chat":"bye","leave":true}"#, None),
            (r#"{"user":"Bot","chat":"Hello","bot":true}"#, None),
            (
                r#"{"user":"Autobot","chat":"I got your message, Ann"}"#,
                None,
            ),
        ];
        for (line, expected) in table {
            let parsed: Line = serde_json::from_str(line).unwrap();
            assert_eq!(answer(&parsed).as_deref(), expected, "{line}");
        }
    }
}
