//! The chat room: who is in it, and what was said lately.
//!
//! `/service/chat/members` is answered with `{"members": ["Ann", "Bob"]}`, and
//! `/service/chat/history` with `{"lines": [{"user": "Ann", "chat": "Hello"}, ...]}`, the oldest
//! first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::serve;
use crate::broker::{
    Broker, Client, Event, EventKind, LocalClient, LocalError, ServiceCall, ServiceReply,
};
use crate::protocol::{ClientId, Publication, Publisher};

/// The chat room of the demo.
pub(super) const ROOM: &str = "/chat/demo";
/// Most names in the member list; a demo needs no more. All of them are one answer.
const MEMBERS: usize = 1000;
/// Longest name, in characters.
const NAME: usize = 64;
/// Most lines that are remembered.
const LINES: usize = 50;
/// Longest line that is remembered whole, in characters.
const LINE: usize = 2000;
/// Most bytes of lines that are remembered, as the JSON that they are answered as.
const SAID: usize = 64 << 10;

/// What is said in the room.
#[derive(Deserialize)]
struct Line {
    user: Option<String>,
    chat: Option<String>,
    #[serde(default)]
    join: bool,
    #[serde(default)]
    leave: bool,
}

#[derive(Serialize)]
struct Said {
    user: String,
    chat: String,
}

/// What the server knows of the room.
#[derive(Default)]
struct Room {
    /// Names by session. A client that joins twice has the newer name.
    names: BTreeMap<ClientId, String>,
    /// Lines as JSON, and the bytes of all of them.
    said: VecDeque<String>,
    bytes: usize,
}

/// Adds the services, and a client that listens; the room is remembered for as long as it lives.
pub(super) fn install(broker: &Broker) -> Result<LocalClient, LocalError> {
    let room = Arc::new(Mutex::new(Room::default()));
    let asked = Arc::clone(&room);
    serve(
        broker,
        "/service/chat/members",
        move |_: &ServiceCall<'_>| {
            let members = asked.lock().members();
            Ok(vec![ServiceReply::data(&json!({"members": members}))?])
        },
    )?;
    let asked = Arc::clone(&room);
    serve(
        broker,
        "/service/chat/history",
        move |_: &ServiceCall<'_>| Ok(vec![ServiceReply::raw_data(&asked.lock().history())]),
    )?;
    let listener = broker.local_client();
    let (listening, weak) = (Arc::clone(&room), broker.downgrade());
    let listening = listener.subscribe(ROOM, move |message| {
        if let Some(broker) = weak.upgrade() {
            let is_here = |id: &ClientId| broker.with_flags(id, |_| ()).is_some();
            listening.lock().receive(message, is_here);
        }
    });
    listening?.keep();
    say_goodbye_for_the_lost(broker, room);
    Ok(listener)
}

impl Room {
    fn members(&self) -> Vec<String> {
        let mut members: Vec<String> = self.names.values().cloned().collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    fn history(&self) -> String {
        let lines: Vec<&str> = self.said.iter().map(String::as_str).collect();
        format!(r#"{{"lines":[{}]}}"#, lines.join(","))
    }

    /// Remembers a line, and forgets the oldest that are too many.
    fn say(&mut self, line: &Said) {
        let line = serde_json::to_string(line).expect("because texts are JSON");
        self.bytes += line.len();
        self.said.push_back(line);
        while self.said.len() > LINES || self.bytes > SAID {
            let oldest = self.said.pop_front();
            self.bytes -= oldest.map_or(0, |line| line.len());
        }
    }

    /// Whoever is gone by now may have been said to be gone before, and nobody would take the name
    /// away.
    fn enter(&mut self, client: ClientId, user: String, is_here: impl Fn(&ClientId) -> bool) {
        if self.names.len() >= MEMBERS {
            self.names.retain(|other, _| is_here(other));
        }
        if self.names.len() < MEMBERS {
            self.names.insert(client, user);
        }
        if !is_here(&client) {
            self.names.remove(&client);
        }
    }

    fn receive(&mut self, message: &Publication, is_here: impl Fn(&ClientId) -> bool) {
        let Publisher::Remote(client) = message.publisher() else {
            return;
        };
        let Ok(line) = serde_json::from_str::<Line>(message.data()) else {
            return;
        };
        let user: Option<String> = line.user.map(|user| user.chars().take(NAME).collect());
        match (user, line.chat) {
            (Some(user), _) if line.join => self.enter(*client, user, is_here),
            _ if line.leave => {
                self.names.remove(client);
            }
            (Some(user), Some(chat)) => {
                let chat = chat.chars().take(LINE).collect();
                self.say(&Said { user, chat });
            }
            _ => {}
        }
    }
}

/// Whose session ends without a word is said to have left.
fn say_goodbye_for_the_lost(broker: &Broker, room: Arc<Mutex<Room>>) {
    let weak = broker.downgrade();
    broker.add_observer_of([EventKind::Disconnected], move |event| {
        let Event::Disconnected {
            client: Client::Remote(client),
            ..
        } = event
        else {
            return;
        };
        let Some(user) = room.lock().names.remove(client) else {
            return;
        };
        let Some(broker) = weak.upgrade() else { return };
        let chat = format!("{user} has left");
        let farewell = json!({"user": user, "leave": true, "chat": chat});
        if let Err(error) = broker.publish(ROOM, &farewell) {
            log::warn!("demo: {error}");
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::protocol::ChannelName;

    fn joins(client: ClientId) -> Publication {
        let room = ChannelName::try_from(ROOM).unwrap();
        let data = r#"{"user":"Ann","join":true}"#;
        Publication::new(&room, data, Publisher::Remote(client))
    }

    #[test]
    fn a_client_that_is_gone_already_is_not_listed() {
        let (mut room, client) = (Room::default(), ClientId::random());
        room.receive(&joins(client), |_| true);
        assert_eq!(room.members(), ["Ann"]);
        room.receive(&joins(ClientId::random()), |id| *id == client);
        assert_eq!(room.names.len(), 1);
    }

    #[test]
    fn the_history_has_an_end_in_lines_and_in_bytes() {
        let mut room = Room::default();
        let said = |chat: String| Said {
            user: "Ann".to_owned(),
            chat,
        };
        (0..60).for_each(|n| room.say(&said(n.to_string())));
        let lines = |room: &Room| -> Vec<Value> {
            let history: Value = serde_json::from_str(&room.history()).unwrap();
            history["lines"].as_array().unwrap().clone()
        };
        assert_eq!(lines(&room).len(), LINES);
        assert_eq!(lines(&room)[0], json!({"user": "Ann", "chat": "10"}));
        // A character may become six.
        (0..60).for_each(|_| room.say(&said("\u{1}".repeat(LINE))));
        assert!(room.history().len() <= SAID + 100 && lines(&room).len() == 5);
        assert_eq!(room.bytes, room.said.iter().map(String::len).sum::<usize>());
    }

    #[test]
    fn a_full_list_takes_somebody_when_others_are_gone() {
        let mut room = Room::default();
        while room.names.len() < MEMBERS {
            room.names.insert(ClientId::random(), "Bob".to_owned());
        }
        let client = ClientId::random();
        room.receive(&joins(client), |_| true);
        assert!(!room.names.contains_key(&client), "all are here");
        room.receive(&joins(client), |id| *id == client);
        assert_eq!(room.members(), ["Ann"]);
    }
}
