//! The client of a shell, and what each command does with it.

use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use parking_lot::Mutex;
use serde_json::json;

use super::command::{Command, HELP};
use super::terminal::Output;
use crate::cli::arguments::JSON_OUTPUT;
use crate::cli::client::{self, first_match};
use crate::cli::output::Failure;
use crate::client::{Client, Error, Event, Listening, Message, State, Transport};
use crate::protocol::Pattern;

/// A command did not do what it should; with the reason.
pub(super) struct Failed(pub(super) String);

/// See the module.
pub(super) struct Session<'a> {
    matches: &'a ArgMatches,
    output: Output,
    timeout: Duration,
    client: Option<Client>,
    shown: Arc<Shown>,
    listening: Vec<(u64, Listening)>,
    /// Where `say` speaks: the channel that was named last.
    active: Option<String>,
    last_key: u64,
}

/// The patterns that are subscribed to, with the keys of their subscriptions.
#[derive(Default)]
struct Shown(Mutex<Vec<(u64, Pattern)>>);

impl Shown {
    /// Whether the subscription is the one that shows messages of that channel: each is shown
    /// once, however many patterns it matches.
    fn is_first(&self, key: u64, channel: &str) -> bool {
        let patterns = self.0.lock();
        let first = first_match(patterns.iter().map(|(_, pattern)| pattern), channel);
        first.is_some_and(|first| patterns[first].0 == key)
    }
}

impl<'a> Session<'a> {
    pub(super) fn new(matches: &'a ArgMatches, output: Output, timeout: Duration) -> Self {
        Self {
            matches,
            output,
            timeout,
            client: None,
            shown: Arc::default(),
            listening: Vec::new(),
            active: None,
            last_key: 0,
        }
    }

    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Begins a session with the server.
    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        let output = self.output.clone();
        let tell = move |event: &Event| match event {
            Event::SubscriptionLost { pattern, error } => {
                output.note(&format!("no longer subscribed to {pattern}: {error}"));
            }
            event => drop(client::notice(event).map(|notice| output.note(&notice))),
        };
        let client = client::quiet_client(self.matches)?.on_event(tell);
        let client = client.connect().map_err(client::failure)?;
        let transport = match client.transport() {
            Transport::WebSocket => "WebSocket",
            _ => "long-polling",
        };
        let id = client.client_id().unwrap_or_default();
        self.client = Some(client);
        self.output.note(&format!("connected over {transport}"));
        if self.matches.get_flag("autojoin") {
            for channel in ["/service/*", &format!("/private/{id}")] {
                self.subscribe(channel)
                    .map_err(|Failed(why)| Failure::Unable(why))?;
            }
        }
        Ok(())
    }

    /// Leaves the server, if that was not done before.
    pub(super) fn disconnect(&mut self) {
        // In this order: with the client gone, dropping the others sends nothing.
        drop(self.client.take());
        self.listening.clear();
        self.shown.0.lock().clear();
    }

    /// Does what the user wants. What the server has sent before is shown before.
    pub(super) fn execute(&mut self, command: Command<'_>) -> Result<(), Failed> {
        if let Some(client) = &self.client {
            client.catch_up(self.timeout);
        }
        match command {
            Command::Publish { channel, data } => {
                self.client()?.publish(channel, data)?;
                self.active = Some(channel.into());
                self.output.note(&format!("published on {channel}"));
            }
            Command::Say { text } => self.say(text)?,
            Command::Subscribe { channel } => self.subscribe(channel)?,
            Command::Unsubscribe { channel } => self.unsubscribe(channel)?,
            Command::Call { service, data } => {
                let answer = self.client()?.call(service, data, self.timeout)?;
                self.output.message(self.in_json(), &answer);
            }
            Command::Connect => {
                if self.client().is_ok() {
                    return Err(Failed("connected already".into()));
                }
                self.disconnect();
                self.connect().map_err(|failure| match failure {
                    Failure::Wrong(lines) => Failed(lines.join("; ")),
                    Failure::Unable(line) => Failed(line),
                })?;
            }
            Command::Disconnect => {
                self.client()?;
                self.disconnect();
                self.output.note("disconnected");
            }
            Command::Help => HELP.lines().for_each(|line| self.output.note(line)),
            // Up to the caller.
            Command::Quit => {}
        }
        Ok(())
    }

    fn client(&self) -> Result<&Client, Failed> {
        let open = |client: &&Client| client.state() != State::Closed;
        match self.client.as_ref() {
            Some(client) => Some(client).filter(open).ok_or_else(|| {
                let why = client.close_reason().unwrap_or(Error::Closed);
                Failed(format!("{why}; `connect` begins anew"))
            }),
            None => Err(Failed("not connected; `connect` begins anew".into())),
        }
    }

    fn in_json(&self) -> bool {
        self.matches.get_flag(JSON_OUTPUT)
    }

    fn say(&self, text: &str) -> Result<(), Failed> {
        let channel = self
            .active
            .as_deref()
            .ok_or_else(|| Failed("no active channel: publish or subscribe to one first".into()))?;
        let user = self.matches.get_one::<String>("user").cloned();
        let user = user.or_else(|| std::env::var("USER").ok());
        let user = user.unwrap_or_else(|| "somebody".into());
        self.client()?
            .publish(channel, &json!({"user": user, "chat": text}))?;
        Ok(())
    }

    fn subscribe(&mut self, channel: &str) -> Result<(), Failed> {
        let pattern = Pattern::try_from(channel).map_err(|_| Error::Channel(channel.into()))?;
        self.last_key += 1;
        let key = self.last_key;
        let (shown, output, json) = (Arc::clone(&self.shown), self.output.clone(), self.in_json());
        let listener = move |message: &Message| {
            if shown.is_first(key, message.channel()) {
                output.message(json, message);
            }
        };
        // Known before the first message can come, and forgotten if none ever will.
        let old = self.replace(channel, Some((key, pattern)));
        let listening = match self.client().map(|client| client.listen(channel, listener)) {
            Ok(Ok(listening)) => listening,
            failed => {
                self.replace(channel, None);
                failed??;
                return Ok(());
            }
        };
        self.listening.push((key, listening));
        self.listening.retain(|(key, _)| Some(*key) != old);
        self.active = Some(channel.into());
        self.output.note(&format!("subscribed to {channel}"));
        Ok(())
    }

    fn unsubscribe(&mut self, channel: &str) -> Result<(), Failed> {
        let client = self.client()?;
        let Some(key) = self.replace(channel, None) else {
            return Err(Failed(format!("not subscribed to {channel}")));
        };
        let done = client.unsubscribe(channel);
        self.listening.retain(|(other, _)| *other != key);
        done?;
        self.output.note(&format!("unsubscribed from {channel}"));
        Ok(())
    }

    /// Puts another subscription in the place of a channel's, or none; returns the old one's key.
    fn replace(&self, channel: &str, new: Option<(u64, Pattern)>) -> Option<u64> {
        let mut shown = self.shown.0.lock();
        let at = shown
            .iter()
            .position(|(_, pattern)| pattern.as_str() == channel);
        let old = at.map(|at| shown.remove(at).0);
        shown.extend(new);
        old
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}
