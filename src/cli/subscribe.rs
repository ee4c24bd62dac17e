//! `bayeux subscribe URL CHANNEL...`

use std::sync::Arc;
use std::thread;

use clap::ArgMatches;
use crossbeam_channel::{Sender, unbounded};

use super::client::{self, first_match};
use super::output::{Failure, print, printable_json, say};
use super::signals::Signals;
use crate::client::{Client, Error, Event, Message, State};
use crate::protocol::Pattern;

/// Why it ends.
enum End {
    Interrupted,
    /// Nobody reads standard output any more.
    OutputClosed,
    /// A channel was refused on a new session.
    Refused(String),
    /// The server does not want the client any more.
    Closed,
}

/// Prints a line for each message, until a signal comes.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let channels: Vec<&str> = matches
        .get_many::<String>("channel")
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let patterns = patterns(&channels)?;
    let (ends, ended) = unbounded();
    let losses = ends.clone();
    let client = client::client(matches)?
        .on_event(move |event| report_loss(event, &losses))
        .connect()
        .map_err(client::failure)?;
    let mut listening = Vec::new();
    for (index, channel) in channels.iter().enumerate() {
        let (patterns, ends) = (Arc::clone(&patterns), ends.clone());
        let print = move |message: &Message| {
            let is_first = first_match(patterns.iter(), message.channel()) == Some(index);
            if is_first && print(&printable_json(message.json())).is_err() {
                let _ = ends.send(End::OutputClosed);
            }
        };
        listening.push(client.listen(channel, print).map_err(client::failure)?);
    }
    // Until here a signal ends the process as usual; from here on the server is told.
    wait_for_signal(ends)?;
    say(format_args!("subscribed to {}", channels.join(", ")));
    let end = ended.recv().unwrap_or(End::Interrupted);
    tell_what_was_dropped(&client);
    match end {
        End::Interrupted | End::OutputClosed => Ok(()),
        End::Refused(why) => Err(Failure::Unable(why)),
        End::Closed => Err(client::failure(
            client.close_reason().unwrap_or(Error::Closed),
        )),
    }
}

fn patterns(channels: &[&str]) -> Result<Arc<[Pattern]>, Failure> {
    let pattern = |text: &&str| {
        Pattern::try_from(*text).map_err(|_| client::failure(Error::Channel((*text).to_owned())))
    };
    channels.iter().map(pattern).collect()
}

fn wait_for_signal(ends: Sender<End>) -> Result<(), Failure> {
    let unable = |error| Failure::unable("signals", error);
    let mut signals = Signals::catch(false).map_err(unable)?;
    let wait = move || {
        let _ = signals.wait();
        let _ = ends.send(End::Interrupted);
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .map_err(unable)?;
    Ok(())
}

fn report_loss(event: &Event, ends: &Sender<End>) {
    let end = match event {
        Event::SubscriptionLost { pattern, error } => End::Refused(format!("{pattern}: {error}")),
        Event::State {
            to: State::Closed, ..
        } => End::Closed,
        _ => return,
    };
    // Nobody listens once the program is about to end, which closes the client, too.
    let _ = ends.send(end);
}

fn tell_what_was_dropped(client: &Client) {
    let dropped = client.stats().callbacks_dropped;
    if dropped > 0 {
        say(format_args!(
            "{dropped} messages were dropped: standard output was too slow"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_belongs_to_the_first_pattern_that_it_matches() {
        let all = patterns(&["/a/b", "/a/*", "/a/**"]).unwrap();
        for (channel, first) in [
            ("/a/b", Some(0)),
            ("/a/c", Some(1)),
            ("/a/b/c", Some(2)),
            ("/b", None),
            ("x", None),
        ] {
            assert_eq!(first_match(all.iter(), channel), first, "{channel}");
        }
    }

    #[test]
    fn bad_channels_are_the_callers_fault() {
        for bad in ["chat", "/a/*/b", "/a//b"] {
            assert!(matches!(patterns(&[bad]), Err(Failure::Wrong(_))), "{bad}");
        }
    }
}
