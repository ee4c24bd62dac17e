//! Where extensions come in: when a message is taken up, and when its reply has been written.

use super::core::Core;
use super::flags::Flags;
use super::run::Run;
use crate::extensions::Moment;
use crate::protocol::{Message, Parsed, Target, add_ext};

impl Run<'_> {
    /// Lets extensions read a message that is about to be executed.
    pub(super) fn hear(&mut self, body: &str, message: &Message) {
        self.heard = self.arrived.and_then(|arrived| {
            let heard = self.core.config.extensions.hear(body, message, arrived);
            heard.map(Box::new)
        });
    }

    /// Keeps with the client what the current message, which is allowed, tells extensions of it.
    pub(super) fn remember(&self, flags: &Flags) {
        let told = self.heard.as_ref().and_then(|heard| heard.reckoning());
        if let Some(reckoning) = told {
            flags.set(reckoning);
        }
    }

    /// Adds what extensions say to the reply that was written last, or keeps it for the one that
    /// is to come.
    pub(super) fn extend_reply(&mut self, message: &Message) {
        let heard = self.heard.take();
        if let Some(hold) = &mut self.hold {
            hold.terms.heard = heard;
            return;
        }
        let mut members = std::mem::take(&mut self.ext);
        if let Some(heard) = heard {
            heard.write(self.core.clock.now(), &mut members);
        }
        if members.is_empty() {
            return;
        }
        match message.channel {
            Target::Handshake => add_ext(self.handshake_out(), &members),
            _ => add_ext(&mut self.replies, &members),
        }
    }
}

/// When the request came, if an extension may want to know.
pub(super) fn arrival(core: &Core, messages: &[Parsed]) -> Option<Moment> {
    let has_ext = |parsed: &Parsed| matches!(parsed, Parsed::Message(one) if one.ext.is_some());
    let wanted = core.config.extensions.any() && messages.iter().any(has_ext);
    wanted.then(|| Moment {
        instant: core.clock.now(),
        wall: core.clock.wall(),
    })
}
