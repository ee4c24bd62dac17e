//! Connects: whether one is held, and how it is answered, at once or when there is something to
//! say.
//!
//! Every reply is composed in one place and one step under its session's lock: what the reply says
//! and which messages go with it must agree.

use std::sync::Arc;

use super::answer::{Answer, AnswerStatus};
use super::config::millis;
use super::core::{Core, Unknown};
use super::failures::Lines;
use super::held_limits::{Full, Place};
use super::in_flight::InFlight;
use super::policy::Action;
use super::receiver::{Attachment, Kind};
use super::request::Run;
use super::session::{Gone, Look, Session, State};
use crate::extensions::Heard;
use crate::protocol::{Advice, ClientId, ErrorText, Message, ReplyTo, add_ext, error};
use crate::refusals::Reason;
use crate::transport::{ConnectionHandle, Transport};

/// A connect that is to be answered, with what its reply needs besides the session's state.
struct Connect {
    core: Arc<Core>,
    session: Arc<Session>,
    connection: ConnectionHandle,
    /// The raw JSON of the request's id.
    id: Option<Box<str>>,
    /// The interval the client asked for, for this one connect.
    interval_ms: Option<u64>,
    /// The request carried advice, or it was the first connect: the reply carries it too.
    advise: bool,
    /// The session has a stream of events: nothing comes with connects, which need not come often.
    heartbeat: bool,
    /// What extensions keep of the request.
    heard: Option<Box<Heard>>,
}

/// A connect that is not held: its reply is written when all messages of its request are executed,
/// so that what they bring goes with it.
pub(super) struct DueConnect {
    connect: Connect,
    /// Why it could not be held.
    refused: Option<Full>,
    /// Where in the replies its own belongs, and how many [`Answer::cuts`] are before it.
    at: (usize, usize),
}

/// A connect that waits for something to say.
pub(crate) struct HeldConnect {
    connect: Connect,
    number: u64,
    /// The tie that the connect has made, until the connection takes it.
    pub(crate) attached: Option<Box<Attachment>>,
    answered: bool,
}

/// What a connect is told.
#[derive(Clone, Copy)]
enum Told {
    /// What there is for it, if anything.
    Served,
    /// That it would have to be held, and too many are.
    Full(Full),
    /// That a newer one took its place.
    Superseded,
    /// That its session is gone.
    Gone(Gone),
}

impl Connect {
    /// Writes the reply, and takes the messages that go with it, if any may.
    fn compose(
        &self,
        state: &mut State,
        outcome: Told,
        carries: bool,
        answer: &mut Answer,
        failures: &mut Lines,
    ) {
        let (core, config) = (&self.core, &self.core.config);
        let budget = if carries { RESPONSE_BYTES } else { 0 };
        let tells_all = state.tells_all(budget);
        let served = matches!(outcome, Told::Served | Told::Full(_));
        if served && carries && state.may_carry() {
            let number = state.begin_write(&self.connection, budget, &mut answer.messages);
            debug_assert!(answer.in_flight.is_none(), "dropping one locks its session");
            let in_flight = answer.in_flight.insert(InFlight::new(core, &self.session));
            in_flight.begin(number);
        }
        let mut lifetime = config.lifetime(self.interval_ms);
        let (error, advice) = match outcome {
            Told::Served if tells_all => (None, Some(Advice::none())),
            Told::Served if core.is_draining() => (None, None),
            Told::Served => (None, self.new_advice(state)),
            Told::Full(Full::Browser) => {
                let slowly = config.multiple_clients_interval;
                lifetime = slowly + config.max_interval;
                let advice = Advice::multiple_clients(millis(slowly));
                state.advised = Some(advice);
                (None, Some(advice))
            }
            Told::Full(Full::Address) => {
                let error = error::held_limit();
                failures.refuse(Reason::MaxHeldPerIp, &self.reply_to(), &error);
                (Some(error), None)
            }
            Told::Superseded => {
                let advice = Advice::retry_after(SLOW_RETRY_MS);
                state.advised = Some(advice);
                (Some(error::connect_superseded()), Some(advice))
            }
            Told::Gone(Gone::Disconnected | Gone::Dismissed) => (None, Some(Advice::none())),
            Told::Gone(Gone::Expired | Gone::Overflowed | Gone::Evicted | Gone::Stopped) => {
                (Some(error::session_unknown()), Some(Advice::handshake(0)))
            }
        };
        self.write(error.as_ref(), advice.as_ref(), answer, failures);
        answer.close |= core.is_draining();
        if served {
            state.lives_for(lifetime, core.clock.now());
            core.ticker.schedule(&self.session, state);
        }
    }

    /// The advice to go on connecting, when it is due, or is not what the client was last told.
    fn new_advice(&self, state: &mut State) -> Option<Advice> {
        let config = &self.core.config;
        let advice = if self.heartbeat {
            Advice::retry(config.timeout_ms(), 0)
        } else {
            Advice::retry(config.interval_ms(self.interval_ms), config.timeout_ms())
        };
        let is_new = self.advise || state.advised != Some(advice);
        state.advised = Some(advice);
        is_new.then_some(advice)
    }

    fn write(
        &self,
        error: Option<&ErrorText>,
        advice: Option<&Advice>,
        answer: &mut Answer,
        failures: &mut Lines,
    ) {
        let to = self.reply_to();
        match (error, advice) {
            (Some(error), _) => {
                self.core.counters.failed.count(error);
                failures.add(&to, error);
                to.failure(&mut answer.replies, error, advice).finish();
            }
            (None, Some(advice)) => to.success(&mut answer.replies).advice(advice).finish(),
            (None, None) => to.success(&mut answer.replies).finish(),
        }
        let mut members = Vec::new();
        if let Some(heard) = &self.heard {
            heard.write(self.core.clock.now(), &mut members);
        }
        if !members.is_empty() {
            add_ext(&mut answer.replies, &members);
        }
    }

    fn reply_to(&self) -> ReplyTo<'_> {
        ReplyTo {
            channel_raw: "\"/meta/connect\"",
            id: self.id.as_deref(),
            client_id: self.session.remote_id().map(ClientId::as_str),
            subscription: None,
        }
    }
}

impl DueConnect {
    /// Appends the reply. `carries` says whether messages may go with it.
    fn answer(&self, carries: bool, answer: &mut Answer, failures: &mut Lines) {
        let Connect { core, session, .. } = &self.connect;
        let mut state = session.lock();
        let gone = state.gone().filter(|_| !state.is_parting());
        let told = match (gone, self.refused) {
            (Some(gone), _) => Told::Gone(gone),
            (None, Some(full)) => Told::Full(full),
            (None, None) => Told::Served,
        };
        self.connect
            .compose(&mut state, told, carries, answer, failures);
        let over = state.is_over();
        drop(state);
        if over {
            core.let_go(session);
        }
    }
}

/// Appends replies that were written before and began at `start`, with the cuts in them.
fn append(answer: &mut Answer, replies: &[u8], cuts: &[usize], start: usize) {
    let begin = answer.replies.len();
    if begin > 0 && replies.first().is_some_and(|byte| *byte != b',') {
        answer.replies.push(b',');
    }
    let moved = answer.replies.len();
    // A comma goes with what is behind it.
    let at = |cut: &usize| {
        if *cut == start {
            begin
        } else {
            moved + cut - start
        }
    };
    answer.cuts.extend(cuts.iter().map(at));
    answer.replies.extend_from_slice(replies);
}

impl HeldConnect {
    /// By which handle its connection is woken.
    pub(crate) fn connection(&self) -> &ConnectionHandle {
        &self.connect.connection
    }

    pub(crate) fn is_of(&self, session: &Arc<Session>) -> bool {
        Arc::ptr_eq(&self.connect.session, session)
    }

    /// The client whose connect it is.
    pub(crate) fn client_id(&self) -> Option<ClientId> {
        self.connect.session.remote_id().copied()
    }

    /// The answer, if it is time for it, with what waits if it `carries` messages.
    pub(crate) fn look(&mut self, carries: bool) -> Option<Answer> {
        let Connect { core, session, .. } = &self.connect;
        let mut state = session.lock();
        let outcome = match state.look(self.number) {
            Look::Wait => return None,
            Look::Due => Told::Served,
            Look::Superseded => Told::Superseded,
            Look::Gone(gone) => Told::Gone(gone),
        };
        state.release(self.number);
        self.answered = true;
        let mut answer = Answer::new(Vec::with_capacity(96));
        let mut failures = Lines::default();
        let served = matches!(outcome, Told::Served);
        answer.close = matches!(outcome, Told::Gone(Gone::Stopped));
        self.connect
            .compose(&mut state, outcome, carries, &mut answer, &mut failures);
        let over = state.is_over();
        drop(state);
        failures.write_failed();
        if over {
            core.let_go(session);
        }
        if served && answer.in_flight.is_none() {
            answer.in_flight = Some(InFlight::new(core, session));
        }
        answer.attached.extend(self.attached.take().map(|tie| *tie));
        answer.filtered = session.filtered;
        Some(answer)
    }
}

impl Drop for HeldConnect {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let Connect { core, session, .. } = &self.connect;
        core.change(session, |state| {
            if state.release(self.number) {
                let lifetime = core.config.lifetime(self.connect.interval_ms);
                state.lives_for(lifetime, core.clock.now());
                core.ticker.schedule(session, state);
            }
        });
    }
}

impl Run {
    /// Writes the replies to connects that are due, each where its message stands among the others.
    /// Whether one is of the session whose messages the response carries, if it may carry any.
    pub(super) fn answer_due(&mut self, carries: bool) -> bool {
        let Some(first) = self.due.first() else {
            return false;
        };
        let answer = &mut self.answer;
        let (mut at, mut cut) = first.at;
        // Most of the time the connect is alone, or the last.
        let behind = match at == answer.replies.len() {
            true => Vec::new(),
            false => answer.replies.split_off(at),
        };
        let cuts = answer.cuts.split_off(cut);
        let (start, first_cut) = first.at;
        let mut carried = false;
        for due in self.due.iter() {
            let (next, next_cut) = due.at;
            let between = &behind[at - start..next - start];
            append(
                answer,
                between,
                &cuts[cut - first_cut..next_cut - first_cut],
                at,
            );
            (at, cut) = due.at;
            let session = &due.connect.session;
            let is_its = self
                .carried
                .as_ref()
                .is_some_and(|carried| Arc::ptr_eq(carried, session));
            carried |= is_its;
            due.answer(carries && is_its, answer, &mut self.failures);
        }
        append(answer, &behind[at - start..], &cuts[cut - first_cut..], at);
        carried
    }

    pub(super) fn connect(&mut self, message: Message<'_>) {
        let session = match self.find(message) {
            Ok(session) => session,
            Err(Unknown { wrong_cookie }) => {
                self.may_have_to_wait(message);
                let advice = Advice::handshake(if wrong_cookie { SLOW_RETRY_MS } else { 0 });
                return self.fail(message, &error::session_unknown(), Some(&advice));
            }
        };
        let allowed = self.authorized(message, Action::Connect, Some(&session), &[]);
        if let Err(denied) = allowed {
            return self.fail_denied(message, Some(&session), error::connect_denied, &denied);
        }
        if !self.is_offered(message) {
            let asked = message.connection_type();
            let asked = asked.unwrap_or(Transport::LongPolling.name());
            let error = error::connection_types_unsupported(asked);
            return self.fail(message, &error, Some(&Advice::none()));
        }
        let core = Arc::clone(&self.core);
        let mut state = session.lock();
        if let Some(older) = state.supersede() {
            self.wakes.add(&older);
        }
        let streams = is_heartbeat(message)
            && (state.has_events() || !core.config.long_polling())
            && !state.is_parting();
        let mut connect = Connect {
            core: Arc::clone(&core),
            session: Arc::clone(&session),
            connection: self.connection.clone(),
            id: message.id().map(Box::from),
            interval_ms: message.advice().and_then(|advice| advice.interval),
            advise: !state.is_connected() || message.advice().is_some(),
            heartbeat: streams && !session.deliver_only,
            heard: None,
        };
        let gone = state.gone().is_some_and(|_| !state.is_parting());
        if !gone && !streams {
            self.bind(&session, &mut state);
        }
        let asked = message.advice().and_then(|advice| advice.timeout);
        let timeout = core.config.timeout(asked);
        let waits = self.alone && state.is_connected() && !connect.heartbeat;
        let refused = if gone || !waits || timeout.is_zero() || core.is_draining() {
            None
        } else {
            match self.place(&state) {
                Ok(place) => {
                    let until = core.clock.now() + timeout;
                    connect.connection = state.handle_of(&self.connection);
                    let number = state.hold(&connect.connection, until, place);
                    core.ticker.schedule(&session, &mut state);
                    if let Some(connection) = state.next_wake() {
                        self.wakes.add(connection);
                    }
                    drop(state);
                    connect.heard = self.heard.take();
                    self.held = Some(HeldConnect {
                        connect,
                        number,
                        attached: self.answer.attached.pop().map(Box::new),
                        answered: false,
                    });
                    return;
                }
                Err(refused) => refused,
            }
        };
        if !gone {
            // Its life begins again with the answer; until then other messages may take long.
            let lifetime = core.config.lifetime(connect.interval_ms);
            state.lives_for(lifetime, core.clock.now());
            core.ticker.schedule(&session, &mut state);
        }
        drop(state);
        if refused == Some(Full::Address) {
            self.answer.status = AnswerStatus::Unavailable;
        }
        connect.heard = self.heard.take();
        self.due.push(DueConnect {
            connect,
            refused,
            at: (self.answer.replies.len(), self.answer.cuts.len()),
        });
    }

    /// Whether a connect may come like that. By POST they come also where there is no long-polling:
    /// from clients that have a stream of events.
    fn is_offered(&self, message: Message<'_>) -> bool {
        self.peer.transport != Transport::LongPolling
            || self.core.config.long_polling()
            || is_heartbeat(message)
    }

    /// From now on the session's messages go to the connection of this connect.
    fn bind(&mut self, session: &Arc<Session>, state: &mut State) {
        if let Some(unfinished) = state.cut(&self.connection) {
            self.wakes.add(&unfinished);
        }
        // What a session leaves behind goes with the answer to the connect.
        let older = if self.peer.transport != Transport::WebSocket || state.is_parting() {
            state.take_back()
        } else if state.is_attached_to(&self.connection) {
            None
        } else {
            let (number, older) =
                state.attach(&self.connection, Kind::Socket, !session.deliver_only);
            let attached = Attachment::new(&self.core, session, number);
            self.answer.attached.push(attached);
            older
        };
        let waiting = state.next_wake().cloned();
        for connection in [older, waiting].into_iter().flatten() {
            self.wakes.add(&connection);
        }
    }

    /// A place among the connects that are held, if there is nothing to say and the bounds allow
    /// one more. They spare the connections of HTTP clients; a socket or a stream has its one
    /// connection anyway.
    fn place(&self, state: &State) -> Result<Place, Option<Full>> {
        let has_messages = state.may_carry() || state.has_nothing_left();
        // A connect that finds messages lines up behind others that wait for their turn: until it
        // comes more may have arrived.
        if has_messages && !self.connection.sink.is_behind() {
            return Err(None);
        }
        let (held, peer) = (&self.core.held, &self.peer);
        let taken = match peer.transport {
            Transport::LongPolling | Transport::CallbackPolling => held.take(peer.browser, peer.ip),
            _ => Ok(held.take_free()),
        };
        taken.map_err(|full| Some(full).filter(|_| !has_messages))
    }
}

/// Lets a session's messages go with a response that has no reply to a connect of it. Else wakes
/// whoever may take them.
pub(super) fn piggyback(
    core: &Arc<Core>,
    session: &Arc<Session>,
    connection: &ConnectionHandle,
    carries: bool,
    answer: &mut Answer,
) {
    let mut in_flight = InFlight::new(core, session);
    let number = core.change(session, |state| {
        // What a session leaves behind goes with the word of its end, which is for connects to say.
        let may = carries && !state.is_parting() && state.may_carry();
        may.then(|| state.begin_write(connection, RESPONSE_BYTES, &mut answer.messages))
    });
    if let Some(number) = number {
        in_flight.begin(number);
    }
    answer.in_flight = Some(in_flight);
}

/// Whether a connect is of a client that has a stream of events, and wants no answer but that.
fn is_heartbeat(message: Message<'_>) -> bool {
    message.connection_type() == Some(Transport::EventSource.name())
}

/// The most bytes of messages in one response; one message always fits. Stock clients give up
/// above 1 MiB.
pub(crate) const RESPONSE_BYTES: usize = 512 << 10;

/// The wait advised to clients that are too many or too eager.
const SLOW_RETRY_MS: u64 = 2000;
