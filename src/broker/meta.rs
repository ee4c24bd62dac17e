//! The messages about sessions: handshake, connect, subscribe, unsubscribe, disconnect.

use std::sync::Arc;

use super::answer::AnswerStatus;
use super::asking::Denied;
use super::config::millis;
use super::core::client_of;
use super::events::{Event, EventKind};
use super::flags::Flags;
use super::held::{Full, HeldLimits, Place};
use super::hold::{ConnectTerms, HeldConnect, RESPONSE_BYTES, SLOW_RETRY_MS};
use super::policy::Action;
use super::run::{Run, Step, echo};
use super::session::{Gone, Identity, Session, SessionSettings, State};
use super::stream::{Attachment, Kind};
use super::subscriptions::subscriptions;
use crate::protocol::{Advice, ClientId, ErrorText, Message, ReplyTo, Target, error, json};
use crate::refusals::Reason;
use crate::transport::{BrowserId, Transport};

/// A client id that finds no session.
pub(crate) struct Unknown {
    /// The session exists, but the cookie is not the one of its handshake.
    pub(crate) wrong_cookie: bool,
}

impl Run<'_> {
    /// Executes one message.
    pub(super) fn step(&mut self, body: &str, message: &Message) -> Step {
        match &message.channel {
            Target::Handshake => self.handshake(body, message),
            Target::Connect => self.connect(body, message),
            Target::Subscribe => self.subscribe(body, message),
            Target::Unsubscribe => self.unsubscribe(body, message),
            Target::Disconnect => self.disconnect(body, message),
            Target::UnknownMeta(_) => self.unknown_meta(body, message),
            Target::Service(channel) => return self.service(body, message, channel),
            Target::Broadcast(channel) => self.publish(body, message, channel),
        }
        Step::Replied
    }

    /// The session a message comes from. It is alive, and stays so a while longer for it.
    pub(super) fn find(&mut self, message: &Message) -> Result<Arc<Session>, Unknown> {
        let session = match self.caller.take() {
            Some(session) => session,
            None => self.session_of(message)?,
        };
        let config = &self.core.config;
        if message.channel != Target::Connect {
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
        self.known = true;
        if self.rider.is_none() {
            self.rider = Some(Arc::clone(&session));
        }
        Ok(session)
    }

    /// The session whose id the message carries.
    pub(super) fn session_of(&self, message: &Message) -> Result<Arc<Session>, Unknown> {
        let id = message.client_id.as_ref().and_then(|sent| sent.id());
        self.core.known(id.as_ref(), self.peer.browser)
    }

    /// Replies that the message failed.
    pub(super) fn fail(
        &mut self,
        body: &str,
        message: &Message,
        error: &ErrorText,
        advice: Option<&Advice>,
    ) {
        self.fail_to(&echo(body, message), error, advice);
    }

    /// Replies that something failed.
    pub(super) fn fail_to(&mut self, to: &ReplyTo<'_>, error: &ErrorText, advice: Option<&Advice>) {
        self.core.counters.failed.count(error);
        self.failures.add(to, error);
        to.failure(&mut self.replies, error, advice).finish();
    }

    /// Replies that the policy refused the message of this session, which remembers what it has
    /// been advised.
    pub(super) fn fail_denied(
        &mut self,
        body: &str,
        message: &Message,
        session: Option<&Session>,
        error: fn(&str) -> ErrorText,
        denied: &Denied,
    ) {
        if let (Some(session), Some(advice)) = (session, denied.advice) {
            session.lock().advised = Some(advice);
        }
        let error = error(&denied.reason);
        let to = echo(body, message);
        self.failures.refuse(Reason::Policy, &to, &error);
        self.fail_to(&to, &error, denied.advice.as_ref());
    }

    /// Replies that the session is not known.
    pub(super) fn fail_unknown(&mut self, body: &str, message: &Message) {
        self.fail(body, message, &error::session_unknown(), None);
    }

    fn handshake(&mut self, body: &str, message: &Message) {
        let id = message.id.map(|span| span.of(body));
        let channel_raw = message.channel_raw.of(body);
        let reply_to = ReplyTo {
            channel_raw,
            id,
            client_id: None,
            subscription: None,
        };
        let offered = &self.core.config.connection_types;
        let none = Advice::none();
        if let Some(asked) = message
            .supported
            .as_ref()
            .filter(|asked| !common(asked, offered))
        {
            let error = error::connection_types_unsupported(&asked.join(","));
            return self.fail_handshake(&reply_to, &error, &none);
        }
        let flags = Flags::default();
        let judged = self.judged_with(&flags, body, message, Action::Handshake, None, &[]);
        if let Err(denied) = judged {
            let error = error::handshake_denied(&denied.reason);
            let advice = denied.advice.unwrap_or(none);
            self.failures.refuse(Reason::Policy, &reply_to, &error);
            return self.fail_handshake(&reply_to, &error, &advice);
        }
        let ext = message.ext.map_or("{}", |span| span.of(body));
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
        self.known = true;
        let (client, peer) = (client_of(&session), Some(self.peer));
        let (ip, transport) = (self.peer.ip, self.peer.transport.name());
        log::debug!("session {client}: begins, from {ip} by {transport}");
        core.observers
            .tell(&core.servants, EventKind::Connected, || Event::Connected {
                client,
                peer,
            });
        session
    }

    /// A browser id for a client that has none, where the response can carry it.
    fn issue_cookie(&mut self) -> Option<BrowserId> {
        if self.peer.transport == Transport::WebSocket {
            return None;
        }
        Some(*self.cookie.get_or_insert_with(BrowserId::random))
    }

    fn connect(&mut self, body: &str, message: &Message) {
        let session = match self.find(message) {
            Ok(session) => session,
            Err(Unknown { wrong_cookie }) => {
                self.may_have_to_wait(message);
                let advice = Advice::handshake(if wrong_cookie { SLOW_RETRY_MS } else { 0 });
                return self.fail(body, message, &error::session_unknown(), Some(&advice));
            }
        };
        let allowed = self.permitted(body, message, Action::Connect, Some(&session), &[]);
        if let Err(denied) = allowed {
            let error = error::connect_denied;
            return self.fail_denied(body, message, Some(&session), error, &denied);
        }
        if !self.is_offered(message) {
            let asked = message.connection_type.as_deref();
            let asked = asked.unwrap_or(Transport::LongPolling.name());
            let error = error::connection_types_unsupported(asked);
            return self.fail(body, message, &error, Some(&Advice::none()));
        }
        let mut state = session.lock();
        if let Some(gone) = state.gone().filter(|_| !state.is_parting()) {
            drop(state);
            return self.connect_too_late(body, message, gone);
        }
        if let Some(older) = state.supersede() {
            self.wakes.add(&older);
        }
        let streams = is_heartbeat(message)
            && (state.has_events() || !self.core.config.long_polling())
            && !state.is_parting();
        let heartbeat = streams && !session.deliver_only;
        if !streams {
            self.bind(&session, &mut state);
        }
        let terms = ConnectTerms {
            id: message.id.map(|span| span.of(body).into()),
            interval_ms: message.advice.and_then(|advice| advice.interval),
            advise: !state.is_connected() || message.advice.is_some(),
            heartbeat,
            heard: None,
        };
        let timeout = self
            .core
            .config
            .timeout(message.advice.and_then(|advice| advice.timeout));
        let wanted = self.alone && state.is_connected() && !timeout.is_zero() && !heartbeat;
        let messages = state.may_ride() || state.has_nothing_left();
        let holds = wanted && !self.core.is_draining();
        let place = if holds && !messages {
            self.place()
        } else if holds && self.link.outlet.is_behind() {
            self.place().map_err(|_| None)
        } else {
            Err(None)
        };
        match place {
            Ok(place) => {
                let until = self.core.clock.now() + timeout;
                let number = state.hold(&self.link, until, place);
                self.core.ticker.schedule(&session, &mut state);
                if let Some(link) = state.next_wake() {
                    self.wakes.add(link);
                }
                drop(state);
                self.hold = Some(HeldConnect {
                    core: Arc::clone(&self.core),
                    session,
                    number,
                    link: self.link.clone(),
                    terms,
                    attached: self.attached.pop().map(Box::new),
                    answered: false,
                });
            }
            Err(refused) => {
                self.connected_now(body, message, &session, &mut state, &terms, refused);
                let over = state.is_over();
                drop(state);
                if over {
                    self.core.let_go(&session);
                }
            }
        }
    }

    /// Whether a connect may come like that. By POST they come also where there is no long-polling:
    /// from clients that have a stream of events.
    fn is_offered(&self, message: &Message) -> bool {
        self.peer.transport != Transport::LongPolling
            || self.core.config.long_polling()
            || is_heartbeat(message)
    }

    /// From now on the session's messages go to the connection of this connect.
    fn bind(&mut self, session: &Arc<Session>, state: &mut State) {
        if let Some(unfinished) = state.cut(&self.link) {
            self.wakes.add(&unfinished);
        }
        // What a session leaves behind goes with the answer to the connect.
        let older = if self.peer.transport != Transport::WebSocket || state.is_parting() {
            state.take_back()
        } else if state.is_attached_to(&self.link) {
            None
        } else {
            let (number, older) = state.attach(&self.link, Kind::Socket, !session.deliver_only);
            self.attached
                .push(Attachment::new(&self.core, session, number));
            older
        };
        let waiting = state.next_wake().cloned();
        for link in [older, waiting].into_iter().flatten() {
            self.wakes.add(&link);
        }
    }

    /// A place among the connects that are held, if the bounds allow one more. They spare the
    /// connections of HTTP clients; a socket or a stream has its one connection anyway.
    fn place(&self) -> Result<Place, Option<Full>> {
        let config = &self.core.config;
        let polling = matches!(
            self.peer.transport,
            Transport::LongPolling | Transport::CallbackPolling
        );
        let limits = HeldLimits {
            per_browser: config.max_sessions_per_browser.filter(|_| polling),
            per_address: config.max_held_per_ip.filter(|_| polling),
        };
        self.core
            .held
            .take(self.peer.browser, self.peer.ip, limits)
            .map_err(Some)
    }

    /// Answers a connect that is not held.
    fn connected_now(
        &mut self,
        body: &str,
        message: &Message,
        session: &Arc<Session>,
        state: &mut State,
        terms: &ConnectTerms,
        refused: Option<Full>,
    ) {
        let core = Arc::clone(&self.core);
        let rider = self.rider.as_ref();
        let rides = rider.is_some_and(|rider| Arc::ptr_eq(rider, session));
        let budget = if rides { RESPONSE_BYTES } else { 0 };
        let mut lifetime = core.config.lifetime(terms.interval_ms);
        match refused {
            None if state.tells_all(budget) => {
                let reply = echo(body, message).success(&mut self.replies);
                reply.advice(&Advice::none()).finish();
            }
            None if core.is_draining() => {
                echo(body, message).success(&mut self.replies).finish();
            }
            None => terms.write_success(&core, session, state, &mut self.replies),
            Some(Full::Browser) => {
                let slowly = core.config.multiple_clients_interval;
                let advice = Advice::multiple_clients(millis(slowly));
                echo(body, message)
                    .success(&mut self.replies)
                    .advice(&advice)
                    .finish();
                state.advised = Some(advice);
                lifetime = slowly + core.config.max_interval;
            }
            Some(Full::Address) => {
                let (to, error) = (echo(body, message), error::held_limit());
                self.failures.refuse(Reason::MaxHeldPerIp, &to, &error);
                self.fail_to(&to, &error, None);
                self.status = AnswerStatus::Unavailable;
            }
        }
        self.connected |= rides;
        state.lives_for(lifetime, core.clock.now());
        core.ticker.schedule(session, state);
    }

    fn subscribe(&mut self, body: &str, message: &Message) {
        let Ok(session) = self.find(message) else {
            return self.fail_unknown(body, message);
        };
        let patterns = match subscriptions(body, message) {
            Ok(patterns) => patterns,
            Err(error) => return self.fail(body, message, &error, None),
        };
        let allowed = self.permitted(body, message, Action::Subscribe, Some(&session), &patterns);
        if let Err(denied) = allowed {
            let error = error::subscribe_denied;
            return self.fail_denied(body, message, Some(&session), error, &denied);
        }
        match self.core.subscribe(&session, &patterns) {
            Ok(()) => echo(body, message).success(&mut self.replies).finish(),
            Err(error) => {
                let to = echo(body, message);
                // Else the session has just ended.
                if error.code() == 403 {
                    self.failures.refuse(Reason::MaxSubscriptions, &to, &error);
                }
                self.fail_to(&to, &error, None);
            }
        }
    }

    fn unsubscribe(&mut self, body: &str, message: &Message) {
        let Ok(session) = self.find(message) else {
            return self.fail_unknown(body, message);
        };
        let patterns = match subscriptions(body, message) {
            Ok(patterns) => patterns,
            Err(error) => return self.fail(body, message, &error, None),
        };
        let allowed = self.permitted(
            body,
            message,
            Action::Unsubscribe,
            Some(&session),
            &patterns,
        );
        if let Err(denied) = allowed {
            let error = error::unsubscribe_denied;
            return self.fail_denied(body, message, Some(&session), error, &denied);
        }
        self.core.unsubscribe(&session, &patterns);
        echo(body, message).success(&mut self.replies).finish();
    }

    fn disconnect(&mut self, body: &str, message: &Message) {
        let Ok(session) = self.find(message) else {
            return self.fail_unknown(body, message);
        };
        let allowed = self.permitted(body, message, Action::Disconnect, Some(&session), &[]);
        if let Err(denied) = allowed {
            let error = error::disconnect_denied;
            return self.fail_denied(body, message, Some(&session), error, &denied);
        }
        match self.core.part(&session, Gone::Disconnected) {
            Some(mut last) => {
                self.last.append(&mut last);
                echo(body, message).success(&mut self.replies).finish();
            }
            None => self.fail_unknown(body, message),
        }
    }

    fn unknown_meta(&mut self, body: &str, message: &Message) {
        let Ok(session) = self.find(message) else {
            return self.fail_unknown(body, message);
        };
        if self.core.config.extensions.knows(message.channel.as_str()) {
            self.remember(&session.flags);
            return echo(body, message).success(&mut self.replies).finish();
        }
        let error = error::channel_create_denied(DENIED);
        self.fail(body, message, &error, None);
    }
}

fn common(asked: &[Box<str>], offered: &[&str]) -> bool {
    asked.iter().any(|kind| offered.contains(&&**kind))
}

/// Whether a connect is of a client that has a stream of events, and wants no answer but that.
fn is_heartbeat(message: &Message) -> bool {
    message.connection_type.as_deref() == Some(Transport::EventSource.name())
}

const COMMENT_FILTERED: &str = "json-comment-filtered";
pub(super) const DENIED: &str = "denied_by_security_policy";
