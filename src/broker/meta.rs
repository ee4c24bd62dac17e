//! The messages about sessions but connects: handshake, subscribe, unsubscribe, disconnect.

use std::sync::Arc;

use super::core::client_of;
use super::events::{Event, EventKind};
use super::flags::Flags;
use super::policy::Action;
use super::request::Run;
use super::session::{Gone, Identity, Session, SessionSettings};
use super::subscriptions::{DENIED, subscriptions};
use crate::protocol::{Advice, ChannelName, ClientId, ErrorText, Message, ReplyTo, error, json};
use crate::refusals::Reason;
use crate::transport::{BrowserId, Transport};

impl Run {
    pub(super) fn handshake(&mut self, message: Message<'_>) {
        let reply_to = message.reply_to();
        let offered = &self.core.config.connection_types;
        let none = Advice::none();
        if let Some(asked) = message.supported().filter(|asked| !common(asked, offered)) {
            let error = error::connection_types_unsupported(&asked.join(","));
            return self.fail_handshake(&reply_to, &error, &none);
        }
        let flags = Flags::default();
        let judged = self.authorized_with(&flags, message, Action::Handshake, None, &[]);
        if let Err(denied) = judged {
            let error = error::handshake_denied(&denied.reason);
            let advice = denied.advice.unwrap_or(none);
            self.failures.refuse(Reason::Policy, &reply_to, &error);
            return self.fail_handshake(&reply_to, &error, &advice);
        }
        let ext = message.ext().unwrap_or("{}");
        let filtered = json::flag(ext, COMMENT_FILTERED);
        let session = self.open_session(filtered, flags);
        let offered: Vec<&str> = self.core.config.connection_types.clone();
        let timeout_ms = self.core.config.timeout_ms();
        let advice = Advice::retry(self.core.config.interval_ms(None), timeout_ms);
        let client_id = session.remote_id().map(ClientId::as_str);
        let reply = ReplyTo {
            client_id,
            ..reply_to
        }
        .success(self.handshake_out())
        .string("version", "1.0")
        .string("minimumVersion", "1.0")
        .strings("supportedConnectionTypes", &offered)
        .advice(&advice);
        reply.finish();
        if filtered {
            self.ext
                .extend_from_slice(b"\"json-comment-filtered\":true");
        }
    }

    fn fail_handshake(&mut self, to: &ReplyTo<'_>, error: &ErrorText, advice: &Advice) {
        self.core.counters.failed.count(error);
        self.failures.add(to, error);
        to.failure(self.handshake_out(), error, Some(advice))
            .finish();
    }

    fn open_session(&mut self, filtered: bool, flags: Flags) -> Arc<Session> {
        let core = Arc::clone(&self.core);
        let browser = self.peer.browser.or_else(|| self.issue_cookie());
        let settings = SessionSettings {
            browser,
            filtered,
            deliver_only: core.config.meta_connect_deliver_only,
            created: core.clock.wall().into(),
            address: Some(self.peer.ip),
        };
        let id = ClientId::random();
        let (now, lifetime) = (core.clock.now(), core.config.first_lifetime());
        let number = core.registry.next_number();
        let mut session = Session::new(number, Identity::Remote(id), &settings);
        session.flags = flags;
        let session = Arc::new(session);
        {
            let mut state = session.lock();
            let config = &core.config;
            state.advised = Some(Advice::retry(config.interval_ms(None), config.timeout_ms()));
            state.begins(lifetime, now);
            core.ticker.schedule(&session, &mut state);
        }
        let places = self.reservation.as_mut();
        places
            .expect("admission reserves a place for each handshake")
            .fill();
        core.registry.insert(id, Arc::clone(&session));
        core.counters.handshakes.one();
        self.answer.known = true;
        let (client, peer) = (client_of(&session), Some(self.peer));
        let (ip, transport) = (self.peer.ip, self.peer.transport.name());
        log::debug!("session {client}: begins, from {ip} by {transport}");
        core.hooks
            .tell(EventKind::Connected, || Event::Connected { client, peer });
        session
    }

    /// A browser id for a client that has none, where the response can carry it.
    fn issue_cookie(&mut self) -> Option<BrowserId> {
        if self.peer.transport == Transport::WebSocket {
            return None;
        }
        Some(*self.answer.cookie.get_or_insert_with(BrowserId::random))
    }

    pub(super) fn subscribe(&mut self, message: Message<'_>) {
        let Ok(session) = self.find(message) else {
            return self.fail_unknown(message);
        };
        let patterns = match subscriptions(message) {
            Ok(patterns) => patterns,
            Err(error) => return self.fail(message, &error, None),
        };
        let allowed = self.authorized(message, Action::Subscribe, Some(&session), &patterns);
        if let Err(denied) = allowed {
            let error = error::subscribe_denied;
            return self.fail_denied(message, Some(&session), error, &denied);
        }
        match self.core.subscribe(&session, &patterns) {
            Ok(()) => message
                .reply_to()
                .success(&mut self.answer.replies)
                .finish(),
            Err(why) => {
                let (to, error) = (message.reply_to(), why.error());
                if let Some(limit) = why.limit() {
                    self.failures.refuse(limit, &to, &error);
                }
                self.fail_to(&to, &error, None);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, message: Message<'_>) {
        let Ok(session) = self.find(message) else {
            return self.fail_unknown(message);
        };
        let patterns = match subscriptions(message) {
            Ok(patterns) => patterns,
            Err(error) => return self.fail(message, &error, None),
        };
        let allowed = self.authorized(message, Action::Unsubscribe, Some(&session), &patterns);
        if let Err(denied) = allowed {
            let error = error::unsubscribe_denied;
            return self.fail_denied(message, Some(&session), error, &denied);
        }
        self.core.unsubscribe(&session, &patterns);
        message
            .reply_to()
            .success(&mut self.answer.replies)
            .finish();
    }

    pub(super) fn disconnect(&mut self, message: Message<'_>) {
        let Ok(session) = self.find(message) else {
            return self.fail_unknown(message);
        };
        let allowed = self.authorized(message, Action::Disconnect, Some(&session), &[]);
        if let Err(denied) = allowed {
            let error = error::disconnect_denied;
            return self.fail_denied(message, Some(&session), error, &denied);
        }
        match self.core.part(&session, Gone::Disconnected) {
            Some(mut last) => {
                self.answer.messages.append(&mut last);
                message
                    .reply_to()
                    .success(&mut self.answer.replies)
                    .finish();
            }
            None => self.fail_unknown(message),
        }
    }

    pub(super) fn unknown_meta(&mut self, message: Message<'_>, channel: &ChannelName) {
        let Ok(session) = self.find(message) else {
            return self.fail_unknown(message);
        };
        if self.core.config.extensions.knows(channel.as_str()) {
            self.remember(&session.flags);
            return message
                .reply_to()
                .success(&mut self.answer.replies)
                .finish();
        }
        let error = error::channel_create_denied(DENIED);
        self.fail(message, &error, None);
    }
}

fn common(asked: &[Box<str>], offered: &[&str]) -> bool {
    asked.iter().any(|kind| offered.contains(&&**kind))
}

const COMMENT_FILTERED: &str = "json-comment-filtered";
