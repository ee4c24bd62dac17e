//! What becomes of the messages of a request: each goes to the function for its kind, which finds
//! its session and replies.

use std::sync::Arc;

use super::core::Unknown;
use super::flags::Flags;
use super::permission::Denied;
use super::request::{Run, Step};
use super::session::Session;
use crate::protocol::{Advice, ErrorText, Message, ReplyTo, SentId, Target, error};
use crate::refusals::Reason;

impl Run {
    /// Why nothing more of the request may be executed, if that is so: what it has brought is
    /// enough, or more waits for its client than may.
    pub(super) fn is_over(&mut self) -> Option<Reason> {
        let (core, ip) = (&self.core, self.peer.ip);
        self.answer.book(&core.traffic, ip);
        if self.answer.replies.len() > core.config.traffic.max_reply_bytes {
            Some(Reason::MaxReplyBytes)
        } else if !core.traffic.output.has_room(ip) {
            Some(Reason::MaxOutputTotal)
        } else {
            None
        }
    }

    /// Executes one message.
    pub(super) fn step(&mut self, message: Message<'_>) -> Step {
        match message.target() {
            Target::Handshake => self.handshake(message),
            Target::Connect => self.connect(message),
            Target::Subscribe => self.subscribe(message),
            Target::Unsubscribe => self.unsubscribe(message),
            Target::Disconnect => self.disconnect(message),
            Target::UnknownMeta(channel) => self.unknown_meta(message, channel),
            Target::Service(channel) => return self.service(message, channel),
            Target::Broadcast(channel) => self.publish(message, channel),
        }
        Step::Done
    }

    /// The session a message comes from. It is alive, and stays so a while longer for it.
    pub(super) fn find(&mut self, message: Message<'_>) -> Result<Arc<Session>, Unknown> {
        let session = match self.caller.take() {
            Some(session) => session,
            None => self.session_of(message)?,
        };
        let config = &self.core.config;
        if *message.target() != Target::Connect {
            let mut state = session.lock();
            if state.gone().is_some() {
                return Err(Unknown {
                    wrong_cookie: false,
                });
            }
            let grace = if state.is_connected() {
                config.max_interval
            } else {
                config.first_lifetime()
            };
            state.extend(self.core.clock.now() + grace);
        }
        self.answer.known = true;
        if self.carried.is_none() {
            self.carried = Some(Arc::clone(&session));
        }
        Ok(session)
    }

    /// The session whose id the message carries.
    pub(super) fn session_of(&self, message: Message<'_>) -> Result<Arc<Session>, Unknown> {
        let id = message.client_id().and_then(SentId::id);
        self.core.known(id.as_ref(), self.peer.browser)
    }

    /// Replies that the message failed.
    pub(super) fn fail(
        &mut self,
        message: Message<'_>,
        error: &ErrorText,
        advice: Option<&Advice>,
    ) {
        self.fail_to(&message.reply_to(), error, advice);
    }

    /// Replies that something failed.
    pub(super) fn fail_to(&mut self, to: &ReplyTo<'_>, error: &ErrorText, advice: Option<&Advice>) {
        self.core.counters.failed.count(error);
        self.failures.add(to, error);
        to.failure(&mut self.answer.replies, error, advice).finish();
    }

    /// Replies that the policy refused the message of this session, which remembers what it has
    /// been advised.
    pub(super) fn fail_denied(
        &mut self,
        message: Message<'_>,
        session: Option<&Session>,
        error: fn(&str) -> ErrorText,
        denied: &Denied,
    ) {
        if let (Some(session), Some(advice)) = (session, denied.advice) {
            session.lock().advised = Some(advice);
        }
        let error = error(&denied.reason);
        let to = message.reply_to();
        self.failures.refuse(Reason::Policy, &to, &error);
        self.fail_to(&to, &error, denied.advice.as_ref());
    }

    /// Replies that the session is not known.
    pub(super) fn fail_unknown(&mut self, message: Message<'_>) {
        self.fail(message, &error::session_unknown(), None);
    }

    /// Keeps with the client what the current message, which is allowed, tells extensions of it.
    pub(super) fn remember(&self, flags: &Flags) {
        let told = self.heard.as_ref().and_then(|heard| heard.clock_estimate());
        if let Some(clock_estimate) = told {
            flags.set(clock_estimate);
        }
    }
}
