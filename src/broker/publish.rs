//! The messages between clients: what is published on broadcast channels, and calls of services.

use std::sync::Arc;

use super::flags::Flags;
use super::policy::{Action, Verdict};
use super::run::{Run, Step, echo};
use super::service::{Access, ServiceCall, ServiceEntry, ServiceError, ServiceReply};
use super::session::Session;
use super::work::guarded;
use crate::protocol::{ChannelName, Message, Publication, Publisher, error, json};

impl Run<'_> {
    pub(super) fn publish(&mut self, body: &str, message: &Message, channel: &ChannelName) {
        let anonymous = self.core.config.anonymous_publish && message.client_id.is_none();
        let session = match self.find(message) {
            Ok(session) => Some(session),
            Err(_) if anonymous => None,
            Err(_) => return self.fail_unknown(body, message),
        };
        if message.data.is_none() {
            let error = error::missing_parameter("data");
            return self.fail(body, message, &error, None);
        }
        let sender = session.as_deref();
        if !self.allowed(body, message, Action::Publish, sender, channel) {
            return;
        }
        let id = sender.and_then(Session::remote_id);
        let publisher = id.map_or(Publisher::Nobody, |id| Publisher::Remote(*id));
        let shown = sender.and_then(|session| self.core.public_id(session));
        let shown = shown.as_deref();
        let publication = Publication::from_message(body, message, channel, publisher, shown);
        let sender = self.sender(session.as_ref());
        self.core
            .fan_out(&Arc::new(publication), sender, &mut self.wakes);
        echo(body, message).success(&mut self.replies).finish();
    }

    pub(super) fn service(&mut self, body: &str, message: &Message, channel: &ChannelName) -> Step {
        let entry = self.core.services.get(channel);
        let open = entry
            .as_ref()
            .is_some_and(|entry| entry.access == Access::Anyone);
        let session = match self.find(message) {
            Ok(session) => Some(session),
            Err(_) if open => None,
            Err(_) => {
                self.fail_unknown(body, message);
                return Step::Replied;
            }
        };
        let Some(entry) = entry else {
            let error = error::unknown_service(channel.as_str());
            self.fail(body, message, &error, None);
            return Step::Replied;
        };
        if self.allowed(body, message, Action::Call, session.as_deref(), channel) {
            self.caller = session;
            Step::Serve(entry)
        } else {
            Step::Replied
        }
    }

    /// Asks the policy and the listeners; replies if they refuse.
    fn allowed(
        &mut self,
        body: &str,
        message: &Message,
        action: Action,
        session: Option<&Session>,
        channel: &ChannelName,
    ) -> bool {
        if let Err(denied) = self.permitted(body, message, action, session, &[]) {
            self.fail_denied(body, message, session, error::publish_denied, &denied);
            return false;
        }
        if self.core.listeners.any() {
            let nobody = Flags::default();
            let flags = session.map_or(&nobody, |session| &session.flags);
            let question = self.question(body, message, action, session, flags);
            if self.core.listeners.judge(channel, &question) == Verdict::Veto {
                self.fail(body, message, &error::message_deleted(), None);
                return false;
            }
        }
        true
    }

    /// Calls the handler; its messages go into the response before the reply.
    pub(super) fn call_service(&mut self, body: &str, message: &Message, entry: &ServiceEntry) {
        let crate::protocol::Target::Service(channel) = &message.channel else {
            unreachable!("only messages to services wait for one");
        };
        let caller = self.caller.take();
        // It may have ended while the call waited.
        let caller = caller.filter(|session| session.lock().gone().is_none());
        if caller.is_none() && entry.access == Access::Sessions {
            return self.fail_unknown(body, message);
        }
        let nobody = Flags::default();
        let call = ServiceCall {
            channel,
            flags: caller.as_ref().map_or(&nobody, |session| &session.flags),
            client: caller
                .as_ref()
                .and_then(|session| session.remote_id().copied()),
            peer: &self.peer,
            data: message.data.map_or("null", |span| span.of(body)),
            ext: message.ext.map(|span| span.of(body)),
            id: message.id.map(|span| span.of(body)),
        };
        let called = guarded(format_args!("service {channel}"), || {
            let replies = entry.handler.call(&call)?;
            replies.iter().try_for_each(ServiceReply::check)?;
            Ok::<_, ServiceError>(replies)
        });
        match called {
            Some(Ok(replies)) => {
                for reply in replies {
                    self.write_service_reply(body, message, &reply);
                }
                echo(body, message).success(&mut self.replies).finish();
            }
            failed => {
                if let Some(Err(error)) = failed {
                    log::warn!("service {channel} failed: {error}");
                }
                let error = error::service_failed(channel.as_str());
                self.fail(body, message, &error, None);
            }
        }
    }

    fn write_service_reply(&mut self, body: &str, message: &Message, reply: &ServiceReply) {
        let id = message.id.map(|span| span.of(body));
        let fields = reply.complete(message.channel_raw.of(body), id);
        self.cuts.push(self.replies.len());
        json::write_object(&mut self.replies, fields);
        self.cuts.push(self.replies.len());
    }
}
