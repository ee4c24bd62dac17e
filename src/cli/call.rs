//! `bayeux call URL SERVICE JSON`.

use std::io::{self, Write as _};
use std::time::Duration;

use clap::ArgMatches;

use super::failure::Failure;
use super::{input, printable, remote};
use crate::config::duration;
use crate::protocol::{ChannelKind, ChannelName};

/// Asks a service, and prints the data of its answer.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let service = remote::argument(matches, "service");
    // Said before anybody is asked, so that a mistake costs no time.
    let name = ChannelName::try_from(service).ok();
    if name.is_none_or(|name| name.kind() != ChannelKind::Service) {
        let why = format!("`{service}` is no service channel, such as /service/echo");
        return Err(Failure::wrong(why));
    }
    let data = input::json(remote::argument(matches, "json")).map_err(Failure::wrong)?;
    let timeout = timeout(remote::argument(matches, "timeout"))?;
    let client = remote::client(matches)?
        .connect()
        .map_err(remote::failure)?;
    let answer = client
        .call(service, data, timeout)
        .map_err(remote::failure)?;
    let line = match matches.get_flag("json-output") {
        true => answer.json(),
        false => answer.data_json(),
    };
    print(line).map_err(|error| Failure::unable("standard output", error))?;
    match answer.successful() {
        // With data; without any it is an error of the call.
        Some(false) => Err(Failure::unable(service, answer.error().unwrap_or_default())),
        _ => Ok(()),
    }
}

/// The value of `--timeout`.
pub(super) fn timeout(text: &str) -> Result<Duration, Failure> {
    duration(text).map_err(|why| Failure::wrong(format!("--timeout: {why}")))
}

fn print(json: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", printable::json(json))?;
    out.flush()
}
