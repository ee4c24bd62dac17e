//! One request or frame on its way through the broker: its messages in order, its replies, and
//! where it has to wait for user code.
//!
//! A request begins on the I/O thread that read it. When a message needs user code, the rest of the
//! request moves to a worker thread, and its result comes back through a completion.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{Answer, AnswerStatus, Exchange, Executed};
use super::connect::{DueConnect, HeldConnect, piggyback};
use super::core::Core;
use super::deliver::Source;
use super::failures::Lines;
use super::in_flight::InFlight;
use super::pool::Turn;
use super::registry::Reservation;
use super::service::ServiceEntry;
use super::session::Session;
use super::wakes::Wakes;
use crate::extensions::{Heard, Moment};
use crate::protocol::{Batch, ErrorText, Message, Parsed, Shown, ShownId, Target, add_ext, error};
use crate::refusals::Reason;
use crate::transport::{ConnectionHandle, Peer, Transport};
use crate::util::{Booking, Completion, OneOrMany, Owner, Promise};

/// A request or frame to be executed.
pub struct Call {
    /// Who sent it.
    pub peer: Peer,
    /// Its messages.
    pub batch: Batch,
    /// The connection that will be woken if the answer comes later.
    pub connection: ConnectionHandle,
}

/// What a message waits for.
pub(super) enum Wait {
    /// Its connection's next turn: others of the thread come first.
    Connection,
    /// The policy and the listeners.
    Policy,
    /// Its service.
    Service(Arc<ServiceEntry>),
    /// Others, who have waited for the policy.
    Turn,
}

/// What became of one message.
pub(super) enum Step {
    /// It is answered, or will be with the request.
    Done,
    Await(Wait),
}

/// The messages of a request, and how far they are executed.
pub(crate) struct Request {
    batch: Batch,
    /// The next message.
    at: usize,
    /// That message has been taken up, and waits.
    begun: bool,
    run: Run,
    promise: Option<Promise<Executed, ConnectionHandle>>,
    /// What it takes of the input of all, once it had to wait.
    booking: Option<Booking<Owner>>,
}

/// What the messages of a request share: who sent them, and what becomes of them.
pub(crate) struct Run {
    pub(super) core: Arc<Core>,
    pub(super) peer: Peer,
    pub(super) connection: ConnectionHandle,
    /// The request has one message only.
    pub(super) alone: bool,
    /// When the request came, if there are extensions that want to know.
    arrived: Option<Moment>,
    pub(super) reservation: Option<Reservation>,
    /// The current message is the first.
    first: bool,
    /// The session that the current message comes from, where that was looked up before user code
    /// got it: for a call of a service, or a connect, whose session may end meanwhile.
    pub(super) caller: Option<Arc<Session>>,
    /// What extensions keep of the current message.
    pub(super) heard: Option<Box<Heard>>,
    /// Members for the `ext` of the reply to the current message.
    pub(super) ext: Vec<u8>,
    /// What is to be sent, so far.
    pub(super) answer: Answer,
    /// Connects whose replies are written last, with the messages that go with them.
    pub(super) due: OneOrMany<DueConnect>,
    /// The connect that the answer waits for.
    pub(super) held: Option<HeldConnect>,
    /// The session whose messages the response carries: the first one that is known.
    pub(super) carried: Option<Arc<Session>>,
    pub(super) wakes: Wakes,
    pub(super) failures: Lines,
    /// How long the answer has to wait.
    pub(super) wait: Duration,
    /// What was done in this turn: messages, and sessions that they were for.
    pub(super) work: usize,
}

/// Executes a request, as far as this thread may.
pub(crate) fn execute(core: &Arc<Core>, call: Call) -> Executed {
    let mut request = Request::new(core, call);
    if let Some(refusal) = request.admit() {
        return Executed::Now(refusal);
    }
    request.go_on()
}

impl Request {
    fn new(core: &Arc<Core>, call: Call) -> Self {
        let Call {
            peer,
            batch,
            connection,
        } = call;
        core.counters.mine().received.add(batch.len() as u64);
        let run = Run {
            core: Arc::clone(core),
            peer,
            connection,
            alone: batch.len() == 1,
            arrived: arrival(core, &batch),
            reservation: None,
            first: true,
            caller: None,
            heard: None,
            ext: Vec::new(),
            answer: Answer::new(Vec::with_capacity(128)),
            due: OneOrMany::default(),
            held: None,
            carried: None,
            wakes: Wakes::default(),
            failures: Lines::default(),
            wait: Duration::ZERO,
            work: 0,
        };
        Self {
            batch,
            at: 0,
            begun: false,
            run,
            promise: None,
            booking: None,
        }
    }

    /// Refuses the whole request, before anything of it is executed, when there is no room.
    fn admit(&mut self) -> Option<Answer> {
        let core = &self.run.core;
        if core.is_draining() {
            return Some(self.refuse(Reason::Draining, &error::draining()));
        }
        let handshakes = self.batch.iter().filter(is_handshake).count();
        if handshakes > 0 {
            let owner = self.run.peer.ip.into();
            self.run.reservation = core.reserve(owner, handshakes);
            if self.run.reservation.is_none() {
                return Some(self.refuse(Reason::MaxSessions, &error::session_limit()));
            }
        }
        None
    }

    /// An answer in which every message fails.
    fn refuse(&mut self, reason: Reason, error: &ErrorText) -> Answer {
        let run = &mut self.run;
        let seen = format_args!("a request from {}", run.peer.ip);
        run.core.refusals.count(reason, seen);
        for parsed in self.batch.iter() {
            run.fail_to(&parsed.reply_to().brief(), error, None);
        }
        run.failures.write_failed();
        let mut answer = std::mem::replace(&mut run.answer, Answer::new(Vec::new()));
        answer.status = AnswerStatus::Unavailable;
        answer.close = run.core.is_draining();
        answer
    }

    /// Executes messages on the connection's thread, for a turn.
    pub(super) fn go_on(mut self) -> Executed {
        match self.advance(None) {
            None => self.run.finish(),
            Some(Wait::Connection) => Executed::Later(Exchange::paused(self)),
            Some(wait) => {
                let connection = self.run.connection.clone();
                let (result, promise) = Completion::new(connection, Executed::lost);
                self.promise = Some(promise);
                self.dispatch(wait);
                Executed::Later(Exchange::working(result))
            }
        }
    }

    /// Executes messages until the end, or until one has to wait: for what must not run here, or
    /// because much was done. The policy may be asked on threads of its pool only, where a request
    /// has its turn.
    fn advance(&mut self, turn: Option<&Turn>) -> Option<Wait> {
        let wait = self.execute(turn)?;
        if self.booking.is_none() {
            let run = &self.run;
            let mut booking = Booking::new(&run.core.traffic.input, run.peer.ip);
            if booking.set(self.batch.memory()).is_err() {
                self.fail_rest(Reason::MaxInputTotal);
                return None;
            }
            self.booking = Some(booking);
        }
        Some(wait)
    }

    fn execute(&mut self, turn: Option<&Turn>) -> Option<Wait> {
        self.run.work = 0;
        while let Some(parsed) = self.batch.get(self.at) {
            if turn.is_some_and(Turn::is_over) {
                return Some(Wait::Turn);
            }
            if !self.begun {
                if let Some(reason) = self.run.is_over() {
                    self.fail_rest(reason);
                    return None;
                }
                if self.run.work >= WORK_PER_TURN {
                    return Some(turn.map_or(Wait::Connection, |_| Wait::Turn));
                }
                self.run.work += 1;
            }
            let run = &mut self.run;
            run.first = self.at == 0;
            match parsed {
                Parsed::Message(message) => {
                    if !std::mem::replace(&mut self.begun, true) {
                        run.begin(message);
                    }
                    let target = message.target();
                    if turn.is_none() && run.core.hooks.come_before(target) {
                        run.look_up(message);
                        return Some(Wait::Policy);
                    }
                    if let Step::Await(wait) = run.step(message) {
                        return Some(wait);
                    }
                    run.extend_reply(target);
                }
                Parsed::Rejected(rejected) => {
                    run.fail_to(&rejected.reply_to(), rejected.error(), None);
                }
            }
            self.next();
        }
        None
    }

    fn next(&mut self) {
        self.at += 1;
        self.begun = false;
    }

    /// Moves the request to where its message can go on.
    fn dispatch(self, wait: Wait) {
        let (mut request, mut wait) = (self, wait);
        loop {
            // User code may take long; nobody but the caller is to wait for it.
            request.run.wakes.send();
            let core = Arc::clone(&request.run.core);
            let hooks = &core.hooks;
            let owner = Some(Owner::from(request.run.peer.ip));
            request = match wait {
                Wait::Connection => return request.pause(),
                Wait::Policy => {
                    let policy = &hooks.policy_inbox;
                    match hooks
                        .policy_pool
                        .submit(policy, owner, request, Self::resume)
                    {
                        Ok(()) => return,
                        Err(mut refused) => {
                            refused.fail_rest(Reason::Busy);
                            return refused.complete();
                        }
                    }
                }
                Wait::Turn => {
                    // It has been admitted already.
                    let resume = move || request.resume();
                    return hooks.policy_pool.run(&hooks.policy_inbox, owner, resume);
                }
                Wait::Service(entry) => {
                    let inbox = Arc::clone(&entry.inbox);
                    let call = move |request: Self| request.call_service(&entry);
                    match hooks.callback_pool.submit(&inbox, owner, request, call) {
                        Ok(()) => return,
                        Err(refused) => refused,
                    }
                }
            };
            request.fail_current();
            match request.advance(None) {
                Some(next) => wait = next,
                None => return request.complete(),
            }
        }
    }

    /// Goes on where the policy may be asked.
    fn resume(mut self) {
        let turn = self.run.core.hooks.policy_pool.turn();
        match self.advance(Some(&turn)) {
            Some(wait) => self.dispatch(wait),
            None => self.complete(),
        }
    }

    /// Calls the service that the message waits for, and goes on.
    fn call_service(mut self, entry: &ServiceEntry) {
        if let Some(Parsed::Message(message)) = self.batch.get(self.at) {
            self.run.call_service(message, entry);
        }
        self.next();
        match self.advance(None) {
            Some(wait) => self.dispatch(wait),
            None => self.complete(),
        }
    }

    /// Lets others have their turn: those who got something, and then its own connection.
    pub(super) fn make_way(&mut self) {
        let run = &mut self.run;
        run.wakes.send();
        run.connection.sink.wake(&[run.connection.key]);
    }

    /// Goes back to its connection, whose thread goes on with it in another turn. If that has gone
    /// a worker does.
    fn pause(mut self) {
        match self.promise.take() {
            Some(promise) => promise.complete(Executed::Later(Exchange::paused(self))),
            None => self.finish_unheard(),
        }
    }

    /// Its connection has gone, and what was accepted is still done.
    pub(super) fn finish_unheard(mut self) {
        self.run.wakes.send();
        let core = Arc::clone(&self.run.core);
        let (hooks, owner) = (&core.hooks, Some(Owner::from(self.run.peer.ip)));
        let resume = move || self.resume();
        hooks.policy_pool.run(&hooks.policy_inbox, owner, resume);
    }

    fn complete(self) {
        let executed = self.run.finish();
        if let Some(promise) = self.promise {
            promise.complete(executed);
        }
    }

    /// Too much work waits already: the current message fails.
    fn fail_current(&mut self) {
        self.fail(Some(Reason::Busy));
        // They were looked up for this message, and are not of the next one.
        (self.run.caller, self.run.heard) = (None, None);
        self.next();
    }

    /// The messages from here on fail: there is no room for them, or for what they bring.
    fn fail_rest(&mut self, reason: Reason) {
        let mut counted = Some(reason);
        while self.at < self.batch.len() {
            self.fail(counted.take());
            self.next();
        }
        (self.run.caller, self.run.heard) = (None, None);
    }

    /// The current message fails for want of room; why, if that is to be counted.
    fn fail(&mut self, reason: Option<Reason>) {
        let Some(parsed) = self.batch.get(self.at) else {
            return;
        };
        let to = parsed.reply_to().brief();
        let error = match parsed {
            Parsed::Message(message) => error::busy(message.target().as_str()),
            Parsed::Rejected(rejected) => rejected.error().clone(),
        };
        if let Some(reason) = reason {
            self.run.failures.refuse(reason, &to, &error);
        }
        self.run.fail_to(&to, &error, None);
    }
}

impl Run {
    /// A message is taken up: extensions may read it.
    fn begin(&mut self, message: Message<'_>) {
        let from = message.client_id().map(|id| &**id);
        let channel = message.target().as_str();
        log::trace!("received: {} from {}", Shown(channel), ShownId(from));
        self.heard = self.arrived.and_then(|arrived| {
            let heard = self.core.config.extensions.hear(message, arrived);
            heard.map(Box::new)
        });
    }

    /// Looks the session of a connect up before user code judges it: if it ends meanwhile, its
    /// client is to hear that.
    fn look_up(&mut self, message: Message<'_>) {
        if *message.target() == Target::Connect {
            self.caller = self.session_of(message).ok();
        }
    }

    /// Where the reply of a handshake goes: of one that comes first, before the messages that are
    /// delivered.
    pub(super) fn handshake_out(&mut self) -> &mut Vec<u8> {
        if self.first {
            &mut self.answer.handshake
        } else {
            &mut self.answer.replies
        }
    }

    /// Adds what extensions say to the reply that was written last.
    fn extend_reply(&mut self, target: &Target) {
        let mut members = std::mem::take(&mut self.ext);
        if let Some(heard) = self.heard.take() {
            heard.write(self.core.clock.now(), &mut members);
        }
        if members.is_empty() {
            return;
        }
        match target {
            Target::Handshake => add_ext(self.handshake_out(), &members),
            _ => add_ext(&mut self.answer.replies, &members),
        }
    }

    /// Wakes whoever got something, and completes the answer.
    fn finish(mut self) -> Executed {
        self.wakes.send();
        if let Some(connect) = self.held {
            self.failures.write_all(&self.core.refusals, self.peer.ip);
            return Executed::Later(Exchange::held(connect));
        }
        // An answer that waits would keep its messages waiting.
        let carries = self.answer.status == AnswerStatus::Ok && self.wait.is_zero();
        let connected = self.answer_due(carries);
        self.failures.write_all(&self.core.refusals, self.peer.ip);
        let answer = &mut self.answer;
        answer.book(&self.core.traffic, self.peer.ip);
        answer.close |= self.core.is_draining();
        if let Some(session) = &self.carried {
            answer.filtered = session.filtered;
            let bound = session.deliver_only || self.peer.transport == Transport::CallbackPolling;
            if !connected {
                piggyback(
                    &self.core,
                    session,
                    &self.connection,
                    carries && !bound,
                    answer,
                );
            } else if answer.in_flight.is_none() {
                answer.in_flight = Some(InFlight::new(&self.core, session));
            }
        }
        if self.wait.is_zero() {
            Executed::Now(self.answer)
        } else {
            let waiting = Exchange::waiting(&self.core, self.answer, &self.connection, self.wait);
            Executed::Later(waiting)
        }
    }

    /// Who publishes, for the fan-out.
    pub(super) fn source(&self, publisher: Option<&Arc<Session>>) -> Source {
        Source::new(publisher, self.carried.as_ref())
    }
}

/// What is done for one request in a turn of its connection's thread, or a little more: messages,
/// and sessions that they were for. Some milliseconds.
const WORK_PER_TURN: usize = 16_384;

fn is_handshake(parsed: &Parsed<'_>) -> bool {
    matches!(parsed, Parsed::Message(message) if *message.target() == Target::Handshake)
}

/// When the request came, if an extension may want to know.
fn arrival(core: &Core, batch: &Batch) -> Option<Moment> {
    let has_ext = |parsed| matches!(parsed, Parsed::Message(message) if message.ext().is_some());
    let wanted = core.config.extensions.any() && batch.iter().any(has_ext);
    wanted.then(|| Moment {
        instant: core.clock.now(),
        wall: core.clock.wall(),
    })
}
