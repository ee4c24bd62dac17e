//! What the commands that talk to a server share: a client of the server at a URL.

use std::time::Duration;

use clap::ArgMatches;

use super::failure::{Failure, say};
use super::{input, logging};
use crate::client::{Client, ClientBuilder, Error, Event, Transport};

/// How long a server may be away at the start: somebody is waiting at a terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one exchange with the server may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failure, and the longest one after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A client to be, that tells on standard error what goes wrong.
pub(super) fn client(matches: &ArgMatches) -> Result<ClientBuilder, Failure> {
    let tell = |event: &Event| {
        if let Some(notice) = notice(event) {
            say(notice);
        }
    };
    Ok(quiet_client(matches)?.on_event(tell))
}

/// A client to be.
pub(super) fn quiet_client(matches: &ArgMatches) -> Result<ClientBuilder, Failure> {
    if matches.get_flag("debug") {
        logging::show_everything()?;
    }
    let mut builder = Client::builder(argument(matches, "url"))
        .connect_timeout(CONNECT_TIMEOUT)
        .reply_timeout(REPLY_TIMEOUT)
        .backoff(BACKOFF.0, BACKOFF.1);
    if let Some(transport) = transport(matches) {
        builder = builder.transport(transport);
    }
    for header in matches.get_many::<String>("header").into_iter().flatten() {
        let (name, value) = header.split_once(':').ok_or_else(|| {
            let why = "such as `Authorization: Bearer ...`";
            Failure::wrong(format!("--header: `{header}` is no header, {why}"))
        })?;
        builder = builder.header(name.trim(), value.trim());
    }
    #[cfg(feature = "client-tls")]
    if let Some(file) = matches.get_one::<String>("ca") {
        builder = builder.root_certificates(file.as_ref());
    }
    if let Some(ext) = matches.get_one::<String>("ext") {
        let ext = input::json(ext).map_err(|why| Failure::wrong(format!("--ext: {why}")))?;
        builder = builder.ext(ext);
    }
    Ok(builder)
}

fn transport(matches: &ArgMatches) -> Option<Transport> {
    Some(match matches.get_one::<String>("transport")?.as_str() {
        "long-polling" => Transport::LongPolling,
        "websocket" => Transport::WebSocket,
        _ => Transport::Auto,
    })
}

/// What users are told of an event, if it is of interest to them.
pub(super) fn notice(event: &Event) -> Option<String> {
    match event {
        Event::Trouble { error, retry_in } => {
            let seconds = retry_in.as_secs_f64();
            Some(format!("{error}; trying again in {seconds:.1} s"))
        }
        Event::SessionReplaced { gap, .. } => {
            let gap = gap.as_secs_f64();
            Some(format!(
                "subscribed again; what was published in {gap:.1} s may be lost"
            ))
        }
        _ => None,
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
