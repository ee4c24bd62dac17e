//! `bayeux publish URL CHANNEL JSON`.

use clap::ArgMatches;

use super::failure::Failure;
use super::{input, remote};
use crate::client::{Outgoing, Pending};

/// Publishes one message and waits until the server has acknowledged it.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let channel = remote::argument(matches, "channel");
    let data = input::json(remote::argument(matches, "json")).map_err(Failure::wrong)?;
    // Said before anybody is asked, so that a mistake costs no time.
    let message = Outgoing::new(channel, data).map_err(remote::failure)?;
    let client = remote::client(matches)?
        .connect()
        .map_err(remote::failure)?;
    let acknowledged = client.send(message).and_then(Pending::wait);
    acknowledged.map(drop).map_err(remote::failure)
}
