//! What `publish` and `subscribe` share: a client of the server at a URL.

use std::time::Duration;

use clap::ArgMatches;

use super::failure::{Failure, say};
use crate::client::{Client, ClientBuilder, Error, Event, Transport};

/// How long a server may be away at the start: somebody is waiting at a terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one exchange with the server may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failure, and the longest one after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A client to be, that tells on standard error what goes wrong.
pub(super) fn client(matches: &ArgMatches) -> ClientBuilder {
    let builder = Client::builder(argument(matches, "url"));
    let builder = match transport(matches) {
        Some(transport) => builder.transport(transport),
        None => builder,
    };
    builder
        .connect_timeout(CONNECT_TIMEOUT)
        .reply_timeout(REPLY_TIMEOUT)
        .backoff(BACKOFF.0, BACKOFF.1)
        .on_event(tell)
}

fn transport(matches: &ArgMatches) -> Option<Transport> {
    Some(match matches.get_one::<String>("transport")?.as_str() {
        "long-polling" => Transport::LongPolling,
        "websocket" => Transport::WebSocket,
        _ => Transport::Auto,
    })
}

fn tell(event: &Event) {
    match event {
        Event::Trouble { error, retry_in } => {
            say(format_args!(
                "{error}; trying again in {:.1} s",
                retry_in.as_secs_f64()
            ));
        }
        Event::SessionReplaced { gap, .. } => {
            let gap = gap.as_secs_f64();
            say(format_args!(
                "subscribed again; what was published in {gap:.1} s may be lost"
            ));
        }
        _ => {}
    }
}

/// An argument that the parser has made sure is there.
pub(super) fn argument<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches
        .get_one::<String>(name)
        .expect("because the argument is required")
}

/// Whether the caller or the network is to blame.
pub(super) fn failure(error: Error) -> Failure {
    match error {
        Error::Config(_) | Error::Channel(_) | Error::Json(_) => {
            Failure::Wrong(vec![error.to_string()])
        }
        error => Failure::Unable(error.to_string()),
    }
}
