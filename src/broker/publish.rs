//! The messages between clients: what is published on broadcast channels, and calls of services.

use std::sync::Arc;

use super::flags::Flags;
use super::policy::{Action, Verdict};
use super::pool::guarded;
use super::request::{Run, Step, Wait};
use super::service::{Access, ServiceCall, ServiceEntry, ServiceError, ServiceReply};
use super::session::Session;
use crate::protocol::{ChannelName, Message, Publication, Publisher, Target, error, json};

impl Run {
    pub(super) fn publish(&mut self, message: Message<'_>, channel: &ChannelName) {
        let anonymous = self.core.config.anonymous_publish && message.client_id().is_none();
        let session = match self.find(message) {
            Ok(session) => Some(session),
            Err(_) if anonymous => None,
            Err(_) => return self.fail_unknown(message),
        };
        if message.data().is_none() {
            let error = error::missing_parameter("data");
            return self.fail(message, &error, None);
        }
        let sender = session.as_deref();
        if !self.allowed(message, Action::Publish, sender, channel) {
            return;
        }
        let id = sender.and_then(Session::remote_id);
        let publisher = id.map_or(Publisher::Nobody, |id| Publisher::Remote(*id));
        let shown = sender.and_then(|session| self.core.public_id(session));
        let shown = shown.as_deref();
        let publication = Publication::from_message(message, channel, publisher, shown);
        let source = self.source(session.as_ref());
        let item = Arc::new(publication);
        let reach = self.core.fan_out(&item, source, &mut self.wakes);
        self.work += reach.subscribed;
        message
            .reply_to()
            .success(&mut self.answer.replies)
            .finish();
    }

    pub(super) fn service(&mut self, message: Message<'_>, channel: &ChannelName) -> Step {
        let entry = self.core.hooks.services.get(channel);
        let open = entry
            .as_ref()
            .is_some_and(|entry| entry.access == Access::Anyone);
        let session = match self.find(message) {
            Ok(session) => Some(session),
            Err(_) if open => None,
            Err(_) => {
                self.fail_unknown(message);
                return Step::Done;
            }
        };
        let Some(entry) = entry else {
            let error = error::unknown_service(channel.as_str());
            self.fail(message, &error, None);
            return Step::Done;
        };
        if self.allowed(message, Action::Call, session.as_deref(), channel) {
            self.caller = session;
            Step::Await(Wait::Service(entry))
        } else {
            Step::Done
        }
    }

    /// Asks the policy and the listeners; replies if they refuse.
    fn allowed(
        &mut self,
        message: Message<'_>,
        action: Action,
        session: Option<&Session>,
        channel: &ChannelName,
    ) -> bool {
        if let Err(denied) = self.authorized(message, action, session, &[]) {
            self.fail_denied(message, session, error::publish_denied, &denied);
            return false;
        }
        if self.core.hooks.listeners.any() {
            let nobody = Flags::default();
            let flags = session.map_or(&nobody, |session| &session.flags);
            let request = self.auth_request(message, action, session, flags);
            if self.core.hooks.listeners.judge(channel, &request) == Verdict::Veto {
                self.fail(message, &error::message_deleted(), None);
                return false;
            }
        }
        true
    }

    /// Calls the handler; its messages go into the response before the reply.
    pub(super) fn call_service(&mut self, message: Message<'_>, entry: &ServiceEntry) {
        let Target::Service(channel) = message.target() else {
            unreachable!("only messages to services wait for one");
        };
        let caller = self.caller.take();
        // It may have ended while the call waited.
        let caller = caller.filter(|session| session.lock().gone().is_none());
        if caller.is_none() && entry.access == Access::Sessions {
            return self.fail_unknown(message);
        }
        let nobody = Flags::default();
        let call = ServiceCall {
            channel,
            flags: caller.as_ref().map_or(&nobody, |session| &session.flags),
            client: caller
                .as_ref()
                .and_then(|session| session.remote_id().copied()),
            peer: &self.peer,
            data: message.data().unwrap_or("null"),
            ext: message.ext(),
            id: message.id(),
        };
        let called = guarded(format_args!("service {channel}"), || {
            let replies = entry.handler.call(&call)?;
            replies.iter().try_for_each(ServiceReply::check)?;
            Ok::<_, ServiceError>(replies)
        });
        match called {
            Some(Ok(replies)) => {
                for reply in replies {
                    self.write_service_reply(message, &reply);
                }
                message
                    .reply_to()
                    .success(&mut self.answer.replies)
                    .finish();
            }
            failed => {
                if let Some(Err(error)) = failed {
                    log::warn!("service {channel} failed: {error}");
                }
                let error = error::service_failed(channel.as_str());
                self.fail(message, &error, None);
            }
        }
    }

    fn write_service_reply(&mut self, message: Message<'_>, reply: &ServiceReply) {
        let id = message.id();
        let fields = reply.complete(message.channel_raw(), id);
        self.answer.cuts.push(self.answer.replies.len());
        json::write_object(&mut self.answer.replies, fields);
        self.answer.cuts.push(self.answer.replies.len());
    }
}
