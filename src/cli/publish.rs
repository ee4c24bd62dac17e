//! `bayeux publish URL CHANNEL JSON`.

use clap::ArgMatches;

use super::failure::Failure;
use super::{input, remote};
use crate::client::Error;
use crate::protocol::ChannelName;

/// Publishes one message and waits until the server has acknowledged it.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let channel = remote::argument(matches, "channel");
    // Said before anybody is asked, so that a mistake costs no time.
    if ChannelName::try_from(channel).is_err() {
        return Err(remote::failure(Error::Channel(channel.to_owned())));
    }
    let data = input::json(remote::argument(matches, "json")).map_err(Failure::wrong)?;
    let client = remote::client(matches)?
        .connect()
        .map_err(remote::failure)?;
    client.publish(channel, data).map_err(remote::failure)?;
    Ok(())
}
