//! What the built-in demo pages need of the server: the echo service, and who is in the chat room.
//!
//! In scope: services on the public API of the broker. Out of scope: the pages themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::broker::{
    Access, Broker, Client, Event, LocalClient, LocalError, ServiceCall, ServiceReply,
};
use crate::protocol::{ClientId, Publication, Publisher};

/// The chat room of the demo.
const ROOM: &str = "/chat/demo";
/// Most names in the member list; a demo needs no more.
const MEMBERS: usize = 10_000;
/// Longest name, in characters.
const NAME: usize = 64;

/// The running demo. Dropping it takes its local client away.
pub struct Demo {
    _room: LocalClient,
}

/// What is said in the room.
#[derive(Deserialize)]
struct Line {
    user: Option<String>,
    #[serde(default)]
    join: bool,
    #[serde(default)]
    leave: bool,
}

#[derive(Serialize)]
struct Members {
    members: Vec<String>,
}

#[derive(Serialize)]
struct Farewell<'a> {
    user: &'a str,
    leave: bool,
    chat: String,
}

/// Names by session. A client that joins twice has the newer name.
type Names = Arc<Mutex<BTreeMap<ClientId, String>>>;

impl Demo {
    /// Installs the demo services.
    ///
    /// # Errors
    /// Only if the names above are no valid channels.
    pub fn install(broker: &Broker) -> Result<Self, LocalError> {
        let invalid = |_| LocalError::InvalidChannel(ROOM.to_owned());
        broker
            .add_service("/service/echo", Access::Sessions, echo)
            .map_err(invalid)?;
        let names = Names::default();
        let listed = Arc::clone(&names);
        let members = move |_: &ServiceCall<'_>| {
            let mut members: Vec<String> = listed.lock().values().cloned().collect();
            members.sort_unstable();
            members.dedup();
            Ok(vec![ServiceReply::data(&Members { members })?])
        };
        broker
            .add_service("/service/chat/members", Access::Sessions, members)
            .map_err(invalid)?;
        let room = broker.local_client();
        let heard = Arc::clone(&names);
        room.subscribe(ROOM, move |message| note(&heard, message))?
            .keep();
        say_goodbye_for_the_lost(broker, names);
        Ok(Self { _room: room })
    }
}

/// Sends the caller's `data` back.
fn echo(call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, crate::broker::ServiceError> {
    Ok(vec![ServiceReply::raw_data(call.data)])
}

fn note(names: &Names, message: &Publication) {
    let Publisher::Remote(client) = message.publisher() else {
        return;
    };
    let Ok(line) = serde_json::from_str::<Line>(message.data()) else {
        return;
    };
    let mut names = names.lock();
    match line.user {
        Some(user) if line.join && names.len() < MEMBERS => {
            names.insert(*client, user.chars().take(NAME).collect());
        }
        _ if line.leave => {
            names.remove(client);
        }
        _ => {}
    }
}

/// Whose session ends without a word is said to have left.
fn say_goodbye_for_the_lost(broker: &Broker, names: Names) {
    let weak = broker.downgrade();
    broker.add_observer(move |event| {
        let Event::Disconnected {
            client: Client::Remote(client),
            ..
        } = event
        else {
            return;
        };
        let Some(user) = names.lock().remove(client) else {
            return;
        };
        let Some(broker) = weak.upgrade() else { return };
        let chat = format!("{user} has left");
        let said = broker.publish(
            ROOM,
            &Farewell {
                user: &user,
                leave: true,
                chat,
            },
        );
        if let Err(error) = said {
            log::warn!("demo: {error}");
        }
    });
}
