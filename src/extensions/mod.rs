//! Protocol extensions: what rides in the `ext` of messages beside the protocol proper.
//!
//! In scope: reading a request's `ext`, and what the reply's `ext` says about it; one file for each
//! extension. Out of scope: when a reply is written (the broker), clocks (moments are arguments).
//!
//! - [`timesync`]: what a client needs to know the server's time.
//!
//! A message passes here twice: [`Extensions::hear`] when it arrives, [`Heard::write`] when its
//! reply is written, which may be much later. Nothing here blocks, calls user code, or is called at
//! all for a server without extensions and for messages without `ext`.

pub(crate) mod timesync;

use std::time::{Instant, SystemTime};

use timesync::{ClockEstimate, Timesync};

use crate::protocol::{Message, Target};
use crate::settings::{Switch, settings};

settings! {
    /// Which extensions are on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct Extensions {}
    "Bayeux" {
        /// Tells clients the time: the extension `timesync`, with `/meta/ping`.
        ///
        /// In the forms of CometD and of Dojo. Always on with the demo, one page of which needs it.
        timesync: bool = Switch, default "false";
    }
}

/// A moment on both clocks: one for dates, the other for durations.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Monotonic.
    pub instant: Instant,
    /// Of the wall.
    pub wall: SystemTime,
}

/// What extensions keep of a message until its reply is written.
#[derive(Clone, Debug)]
pub struct Heard {
    timesync: Timesync,
}

impl Extensions {
    /// Whether any is on.
    pub fn any(&self) -> bool {
        self.timesync
    }

    /// Whether a channel below `/meta` exists because of an extension. A message to it only wants
    /// its reply.
    pub fn knows(&self, channel: &str) -> bool {
        self.timesync && channel == timesync::PING
    }

    /// Reads a message. `None`: it does not concern any extension.
    pub fn hear(&self, message: Message<'_>, arrived: Moment) -> Option<Heard> {
        let ext = message.ext()?;
        let plain = matches!(message.target(), Target::Service(_) | Target::Broadcast(_));
        if plain || !self.timesync {
            return None;
        }
        Timesync::read(ext, arrived).map(|timesync| Heard { timesync })
    }
}

impl Heard {
    /// What the client told of its own clock.
    pub fn clock_estimate(&self) -> Option<ClockEstimate> {
        self.timesync.clock_estimate
    }

    /// Appends what the reply's `ext` says: the members of an object, without its braces. Nothing
    /// is said where the client has no use for it.
    pub fn write(&self, now: Instant, members: &mut Vec<u8>) {
        self.timesync.write(now, members);
    }
}
