//! What the built-in demo pages need of the server, and what else a demo server shows.
//!
//! In scope: services and local clients on the public API of the broker, and a policy.
//! Out of scope: the pages themselves (`htdocs`), the extension timesync (`extensions`).
//!
//! - `/service/echo`: sends the caller's `data` back.
//! - `math`: `/service/math`, a calculator.
//! - `chat`: `/chat/demo`, who is in the room and what was said; `bot` answers there.
//! - `magnets`: `/service/magnets`, words on a board.
//! - `privacy`: `/private/<own client id>` is for that client alone.

mod bot;
mod chat;
mod magnets;
mod math;
mod privacy;

pub(crate) use privacy::OwnPrivateChannel;

use std::time::Duration;

use crate::broker::{
    Access, Broker, LocalClient, LocalError, Service, ServiceCall, ServiceError, ServiceReply,
};

/// How long browsers may keep the demo's files, by media type: an hour for pictures, two for what
/// makes the pages work.
pub(crate) const EXPIRES: [(&str, Duration); 7] = [
    ("image/png", HOUR),
    ("image/jpeg", HOUR),
    ("image/gif", HOUR),
    ("image/svg+xml", HOUR),
    ("text/css", Duration::from_secs(2 * 3600)),
    ("text/javascript", Duration::from_secs(2 * 3600)),
    ("application/javascript", Duration::from_secs(2 * 3600)),
];
const HOUR: Duration = Duration::from_secs(3600);

/// The running demo. Dropping it takes its local clients away.
pub(crate) struct Demo {
    _room: LocalClient,
    _bot: bot::Bot,
}

impl Demo {
    /// Installs the demo services.
    ///
    /// # Errors
    /// Only if the names of its channels are not valid.
    pub(crate) fn install(broker: &Broker) -> Result<Self, LocalError> {
        serve(broker, "/service/echo", echo)?;
        serve(broker, "/service/math", math::calculate)?;
        magnets::install(broker)?;
        Ok(Self {
            _room: chat::install(broker)?,
            _bot: bot::Bot::start(broker)?,
        })
    }
}

/// Adds a service for whoever has a session.
fn serve(broker: &Broker, channel: &str, service: impl Service) -> Result<(), LocalError> {
    let added = broker.add_service(channel, Access::Sessions, service);
    added.map_err(|_| LocalError::InvalidChannel(channel.to_owned()))
}

/// Sends the caller's `data` back.
fn echo(call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> {
    Ok(vec![ServiceReply::raw_data(call.data)])
}
