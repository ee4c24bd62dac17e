//! The commands that talk to a server once, `publish` and `call`, and what they share with
//! `subscribe` and `shell`: a client of the server at a URL.

use std::time::Duration;

use clap::ArgMatches;

use super::arguments::{self, JSON_OUTPUT, value};
use super::logging;
use super::output::{Failure, print, printable_json, say};
use crate::client::{Client, ClientBuilder, Error, Event, Outgoing, Pending, Transport};
use crate::protocol::{ChannelKind, ChannelName, Pattern};

/// How long a server may be away at the start: somebody is waiting at a terminal.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one exchange with the server may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failure, and the longest one after many.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// `bayeux publish URL CHANNEL JSON`: waits until the server has acknowledged the message.
pub(super) fn publish(matches: &ArgMatches) -> Result<(), Failure> {
    let data = arguments::json(value(matches, "json")).map_err(Failure::wrong)?;
    // Said before anybody is asked, so that a mistake costs no time.
    let message = Outgoing::new(value(matches, "channel"), data).map_err(failure)?;
    let client = client(matches)?.connect().map_err(failure)?;
    let acknowledged = client.send(message).and_then(Pending::wait);
    acknowledged.map(drop).map_err(failure)
}

/// `bayeux call URL SERVICE JSON`: asks a service, and prints the data of its answer.
pub(super) fn call(matches: &ArgMatches) -> Result<(), Failure> {
    let service = value(matches, "service");
    // Said before anybody is asked, so that a mistake costs no time.
    let name = ChannelName::try_from(service).ok();
    if name.is_none_or(|name| name.kind() != ChannelKind::Service) {
        let why = format!("`{service}` is no service channel, such as /service/echo");
        return Err(Failure::wrong(why));
    }
    let data = arguments::json(value(matches, "json")).map_err(Failure::wrong)?;
    let timeout = arguments::timeout(matches)?;
    let client = client(matches)?.connect().map_err(failure)?;
    let answer = client.call(service, data, timeout).map_err(failure)?;
    let line = match matches.get_flag(JSON_OUTPUT) {
        true => answer.json(),
        false => answer.data_json(),
    };
    print(&printable_json(line)).map_err(|error| Failure::unable("standard output", error))?;
    match answer.successful() {
        // With data; without any it is an error of the call.
        Some(false) => Err(Failure::unable(service, answer.error().unwrap_or_default())),
        _ => Ok(()),
    }
}

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
    let mut builder = Client::builder(value(matches, "url"))
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
        let ext = arguments::json(ext).map_err(|why| Failure::wrong(format!("--ext: {why}")))?;
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

/// The first of the patterns that a channel matches: each message is shown once, however many of
/// them it matches.
pub(super) fn first_match<'a>(
    mut patterns: impl Iterator<Item = &'a Pattern>,
    channel: &str,
) -> Option<usize> {
    let channel = ChannelName::try_from(channel).ok()?;
    patterns.position(|pattern| pattern.matches(&channel))
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
