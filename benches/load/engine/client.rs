//! One Bayeux client: what it says next to what it is told. No socket, no clock.

use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{Incoming, Transport, Wire};

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Subscribes, and connects without end.
    Subscriber,
    /// Publishes, without a session.
    Publisher,
    /// Makes a session, subscribes, connects and ends it.
    Visitor,
}

/// What a client has heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// A subscriber has a connect waiting.
    Ready,
    /// A message has come.
    Message(Stamp),
    /// A message of its own has been published.
    Acknowledged,
    /// Its session is over.
    Visited,
}

/// What a message says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Stamp {
    #[serde(rename = "p")]
    pub(super) publisher: usize,
    #[serde(rename = "n")]
    pub(super) message: u64,
    /// Since the beginning, in nanoseconds.
    #[serde(rename = "t", deserialize_with = "nanoseconds")]
    pub(super) sent: Duration,
}

fn nanoseconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    u64::deserialize(from).map(Duration::from_nanos)
}

/// The members of a message from the server that matter here.
#[derive(Deserialize)]
struct Message<'a> {
    channel: &'a str,
    #[serde(rename = "clientId")]
    client_id: Option<&'a str>,
    successful: Option<bool>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

pub(super) struct Client {
    role: Role,
    wire: Wire,
    id: String,
    ready: bool,
}

const CHANNEL: &str = "/load";

impl Client {
    pub(super) fn new(role: Role, transport: Transport, host: &str, path: &str) -> Self {
        Self {
            role,
            wire: Wire::new(transport, host, path),
            id: String::new(),
            ready: false,
        }
    }

    /// What is sent first.
    pub(super) fn begin(&mut self) -> Vec<u8> {
        match self.wire.upgrade() {
            Some(upgrade) => upgrade,
            None => self.greet(),
        }
    }

    /// Whether messages can be sent.
    pub(super) fn is_open(&self) -> bool {
        self.wire.is_open()
    }

    fn greet(&self) -> Vec<u8> {
        match self.role {
            Role::Publisher => Vec::new(),
            Role::Subscriber | Role::Visitor => self.handshake(),
        }
    }

    pub(super) fn handshake(&self) -> Vec<u8> {
        let kind = self.wire.connection_type();
        let known = format!(r#""version":"1.0","supportedConnectionTypes":["{kind}"]"#);
        self.wire
            .carry(&format!(r#"[{{"channel":"/meta/handshake",{known}}}]"#))
    }

    fn meta(&self, channel: &str, more: &str) -> Vec<u8> {
        let id = &self.id;
        self.wire.carry(&format!(
            r#"[{{"channel":"/meta/{channel}","clientId":"{id}"{more}}}]"#
        ))
    }

    fn connect(&self) -> Vec<u8> {
        let more = format!(r#","connectionType":"{}""#, self.wire.connection_type());
        self.meta("connect", &more)
    }

    /// One request, or frame, with these messages.
    pub(super) fn publish(
        &self,
        publisher: usize,
        messages: Range<u64>,
        sent: Duration,
    ) -> Vec<u8> {
        let sent = sent.as_nanos();
        let messages: Vec<String> = messages
            .map(|message| {
                let data = format!(r#"{{"p":{publisher},"n":{message},"t":{sent}}}"#);
                format!(r#"{{"channel":"{CHANNEL}","id":"{message}","data":{data}}}"#)
            })
            .collect();
        self.wire.carry(&format!("[{}]", messages.join(",")))
    }

    /// Takes the first response or frame of the input; `None` if it is not whole. Tells what it
    /// says, and appends what is to be sent.
    pub(super) fn input(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<Option<usize>, String> {
        let Some((taken, incoming)) = self.wire.take(input)? else {
            return Ok(None);
        };
        match incoming {
            Incoming::Opened => out.extend_from_slice(&self.greet()),
            Incoming::Ping(pong) => out.extend_from_slice(&pong),
            Incoming::Messages(text) => {
                let wrong = |error| format!("{error}: {}", String::from_utf8_lossy(text));
                let messages: Vec<Message<'_>> = serde_json::from_slice(text).map_err(wrong)?;
                for message in &messages {
                    self.hear(message, out, heard)?;
                }
            }
        }
        Ok(Some(taken))
    }

    fn hear(
        &mut self,
        message: &Message<'_>,
        out: &mut Vec<u8>,
        heard: &mut Vec<Heard>,
    ) -> Result<(), String> {
        if let Some(data) = message.data {
            let stamp = serde_json::from_str(data.get()).map_err(|error| error.to_string())?;
            heard.push(Heard::Message(stamp));
            return Ok(());
        }
        if message.successful != Some(true) {
            return Err(format!("{} failed", message.channel));
        }
        match (message.channel, self.role) {
            ("/meta/handshake", _) => {
                message
                    .client_id
                    .unwrap_or_default()
                    .clone_into(&mut self.id);
                let more = format!(r#","subscription":"{CHANNEL}""#);
                out.extend_from_slice(&self.meta("subscribe", &more));
            }
            ("/meta/connect", Role::Visitor) => {
                out.extend_from_slice(&self.meta("disconnect", ""));
            }
            ("/meta/subscribe", _) => out.extend_from_slice(&self.connect()),
            ("/meta/connect", _) => {
                if !std::mem::replace(&mut self.ready, true) {
                    heard.push(Heard::Ready);
                }
                out.extend_from_slice(&self.connect());
            }
            ("/meta/disconnect", _) => heard.push(Heard::Visited),
            _ => heard.push(Heard::Acknowledged),
        }
        Ok(())
    }
}
