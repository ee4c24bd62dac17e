//! One request on its way through the broker: its messages in order, its replies, and where it
//! has to wait for user code.
//!
//! A run begins on the I/O thread that read it. When a message needs user code, the rest of the run
//! moves to a worker thread, and its result comes back through a [`Slot`].

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::answer::{Answer, AnswerStatus, Exchange, Executed, Flight};
use super::core::{Core, Sender};
use super::ending::Last;
use super::extend::arrival;
use super::failures::Lines;
use super::hold::{HeldConnect, RESPONSE_BYTES};
use super::registry::Reservation;
use super::service::ServiceEntry;
use super::session::Session;
use super::stream::Attachment;
use super::wakes::Wakes;
use super::work::{Slot, Ticket, guarded};
use crate::extensions::{Heard, Moment};
use crate::protocol::{Batch, ErrorText, Message, Parsed, ReplyTo, Shown, ShownId, Target, error};
use crate::refusals::Reason;
use crate::transport::{BrowserId, Link, Peer, Transport};

/// A request or frame to be executed.
pub struct Call<'b> {
    /// Who sent it.
    pub peer: Peer,
    /// The JSON text that the batch was parsed from.
    pub body: Cow<'b, str>,
    /// Its messages.
    pub batch: Batch,
    /// The connection that will be woken if the answer comes later.
    pub link: Link,
}

/// Which thread a run is on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// An I/O thread: no user code here.
    Io,
    /// The pool of policy and listeners.
    Judge,
    /// The pool of services.
    Serve,
}

/// What a run needs next.
pub(crate) enum Next {
    Done,
    Judge,
    Serve(Arc<ServiceEntry>),
}

/// What became of one message.
pub(super) enum Step {
    Replied,
    Judge,
    Serve(Arc<ServiceEntry>),
}

pub(crate) struct Run<'b> {
    pub(super) core: Arc<Core>,
    pub(super) peer: Peer,
    pub(super) link: Link,
    body: Cow<'b, str>,
    messages: std::vec::IntoIter<Parsed>,
    /// A message that waits for user code.
    current: Option<Message>,
    /// The session that the current message comes from, where that was looked up before user code
    /// got it: for a call of a service, or a connect, whose session may end meanwhile.
    pub(super) caller: Option<Arc<Session>>,
    /// The request has one message only.
    pub(super) alone: bool,
    executed: usize,
    pub(super) reservation: Option<Reservation>,
    handshake: Vec<u8>,
    /// When the request came, if there are extensions that want to know.
    pub(super) arrived: Option<Moment>,
    /// What extensions keep of the current message.
    pub(super) heard: Option<Box<Heard>>,
    /// Members for the `ext` of the reply to the current message.
    pub(super) ext: Vec<u8>,
    pub(super) replies: Vec<u8>,
    /// See [`Answer::cuts`].
    pub(super) cuts: Vec<usize>,
    /// The session whose queue rides along with the response: the first one that is known.
    pub(super) rider: Option<Arc<Session>>,
    /// The rider gets a connect reply in this response.
    pub(super) connected: bool,
    /// What waited for sessions whose client has said goodbye.
    pub(super) last: Last,
    pub(super) wakes: Wakes,
    pub(super) failures: Lines,
    pub(super) cookie: Option<BrowserId>,
    pub(super) hold: Option<HeldConnect>,
    /// Ties between sessions and the socket that this run made.
    pub(super) attached: Vec<Attachment>,
    /// The request came from a session that exists, or made one.
    pub(super) known: bool,
    pub(super) status: AnswerStatus,
    /// How long the answer has to wait.
    pub(super) wait: Duration,
    ticket: Option<Ticket>,
}

/// Executes a request, as far as this thread may.
pub(crate) fn execute(core: &Arc<Core>, call: Call<'_>) -> Executed {
    let mut run = Run::new(core, call);
    if let Some(refusal) = run.admit() {
        return Executed::Now(refusal);
    }
    match run.advance(Place::Io) {
        Next::Done => run.finish(),
        next => {
            let (slot, ticket) = Slot::new(run.link.clone());
            let mut run = run.into_owned();
            run.ticket = Some(ticket);
            run.dispatch(next);
            Executed::Later(Exchange::working(slot))
        }
    }
}

impl<'b> Run<'b> {
    fn new(core: &Arc<Core>, call: Call<'b>) -> Self {
        let messages = call.batch.messages;
        core.counters.mine().received.add(messages.len() as u64);
        Self {
            core: Arc::clone(core),
            peer: call.peer,
            link: call.link,
            body: call.body,
            alone: messages.len() == 1,
            arrived: arrival(core, &messages),
            messages: messages.into_iter(),
            current: None,
            caller: None,
            executed: 0,
            reservation: None,
            handshake: Vec::new(),
            heard: None,
            ext: Vec::new(),
            replies: Vec::with_capacity(128),
            cuts: Vec::new(),
            rider: None,
            connected: false,
            last: Last::new(),
            wakes: Wakes::default(),
            failures: Lines::default(),
            cookie: None,
            hold: None,
            attached: Vec::new(),
            known: false,
            status: AnswerStatus::Ok,
            wait: Duration::ZERO,
            ticket: None,
        }
    }

    /// Refuses the whole request, before anything of it is executed, when there is no room.
    fn admit(&mut self) -> Option<Answer> {
        if self.core.is_draining() {
            return Some(self.refuse(Reason::Draining, &error::draining()));
        }
        let handshakes = self
            .messages
            .as_slice()
            .iter()
            .filter(|parsed| is_handshake(parsed));
        let places = handshakes.count();
        if places > 0 {
            self.reservation = self.core.registry.reserve(places);
            if self.reservation.is_none() {
                return Some(self.refuse(Reason::MaxSessions, &error::session_limit()));
            }
        }
        None
    }

    /// An answer in which every message that is left fails.
    fn refuse(&mut self, reason: Reason, error: &ErrorText) -> Answer {
        let seen = format_args!("a request from {}", self.peer.ip);
        self.core.refusals.count(reason, seen);
        let body = std::mem::take(&mut self.body);
        for parsed in self.messages.by_ref() {
            let echo = match &parsed {
                Parsed::Message(message) => echo(&body, message),
                Parsed::Rejected(rejected) => ReplyTo::rejected(&body, rejected),
            };
            self.core.counters.failed.count(error);
            self.failures.add(&echo, error);
            echo.failure(&mut self.replies, error, None).finish();
        }
        self.failures.write();
        let mut answer = Answer::new(std::mem::take(&mut self.replies));
        answer.status = AnswerStatus::Unavailable;
        answer.close = self.core.is_draining();
        answer
    }

    /// Executes messages until the end, or until one needs user code that must not run here.
    pub(crate) fn advance(&mut self, place: Place) -> Next {
        let body = std::mem::take(&mut self.body);
        let next = loop {
            let Some(message) = self.current.take().or_else(|| self.next_message(&body)) else {
                break Next::Done;
            };
            let step = if place != Place::Judge && self.core.judging(&message.channel) {
                Step::Judge
            } else {
                self.step(&body, &message)
            };
            match step {
                Step::Replied => {
                    self.extend_reply(&message);
                    self.executed += 1;
                    continue;
                }
                Step::Judge => {
                    self.look_up(&message);
                    self.current = Some(message);
                    break Next::Judge;
                }
                Step::Serve(entry) => {
                    self.current = Some(message);
                    break Next::Serve(entry);
                }
            }
        };
        self.body = body;
        next
    }

    /// The next message that can be executed; those that cannot are answered on the way.
    fn next_message(&mut self, body: &str) -> Option<Message> {
        loop {
            match self.messages.next()? {
                Parsed::Message(message) => {
                    let (channel, from) = (message.channel.as_str(), message.client_id.as_deref());
                    log::trace!("received: {} from {}", Shown(channel), ShownId(from));
                    self.hear(body, &message);
                    return Some(message);
                }
                Parsed::Rejected(rejected) => {
                    let echo = ReplyTo::rejected(body, &rejected);
                    self.fail_to(&echo, &rejected.error, None);
                    self.executed += 1;
                }
            }
        }
    }

    /// Where the reply of the current message goes: a handshake that comes first is answered
    /// before the messages that are delivered.
    pub(super) fn handshake_out(&mut self) -> &mut Vec<u8> {
        if self.executed == 0 {
            &mut self.handshake
        } else {
            &mut self.replies
        }
    }

    /// Moves the run to where it has to go on, or completes it.
    fn dispatch(self, next: Next)
    where
        'b: 'static,
    {
        let mut run: Run<'static> = self;
        let mut next = next;
        loop {
            if !matches!(next, Next::Done) {
                // User code may take long; nobody but the caller is to wait for it.
                run.wakes.send();
            }
            match next {
                Next::Done => return run.complete(),
                Next::Judge => {
                    let core = Arc::clone(&run.core);
                    match core.judges.submit(Box::new(run)) {
                        Ok(()) => return,
                        Err(refused) => run = *refused,
                    }
                    run.fail_rest();
                    next = Next::Done;
                }
                Next::Serve(entry) => {
                    let core = Arc::clone(&run.core);
                    match entry.inbox.push(run) {
                        Ok(false) => return,
                        Ok(true) => return serve(&core, entry),
                        Err(refused) => run = refused,
                    }
                    run.fail_current();
                    next = run.advance(Place::Io);
                }
            }
        }
    }

    fn complete(mut self) {
        let ticket = self.ticket.take().expect("a run on a worker has one");
        ticket.complete(self.finish());
    }

    /// Too much work waits already: the current message fails.
    fn fail_current(&mut self) {
        let body = std::mem::take(&mut self.body);
        // It was looked up for this message, and is not the caller of the next one.
        self.caller = None;
        if let Some(message) = self.current.take() {
            let (to, error) = (echo(&body, &message), error::busy(message.channel.as_str()));
            self.failures.refuse(Reason::Busy, &to, &error);
            self.fail_to(&to, &error, None);
            self.executed += 1;
        }
        self.body = body;
    }

    fn fail_rest(&mut self) {
        while self.current.is_some() {
            self.fail_current();
            let body = std::mem::take(&mut self.body);
            self.current = self.next_message(&body);
            self.body = body;
        }
    }

    fn into_owned(self) -> Run<'static> {
        Run {
            body: Cow::Owned(self.body.into_owned()),
            core: self.core,
            peer: self.peer,
            link: self.link,
            messages: self.messages,
            current: self.current,
            caller: self.caller,
            alone: self.alone,
            executed: self.executed,
            reservation: self.reservation,
            handshake: self.handshake,
            arrived: self.arrived,
            heard: self.heard,
            ext: self.ext,
            replies: self.replies,
            cuts: self.cuts,
            rider: self.rider,
            connected: self.connected,
            last: self.last,
            wakes: self.wakes,
            failures: self.failures,
            cookie: self.cookie,
            hold: self.hold,
            attached: self.attached,
            known: self.known,
            status: self.status,
            wait: self.wait,
            ticket: self.ticket,
        }
    }

    /// Wakes whoever got something, and makes the answer.
    fn finish(mut self) -> Executed {
        self.wakes.send();
        self.failures.write_all(&self.core.refusals, self.peer.ip);
        if let Some(connect) = self.hold {
            return Executed::Later(Exchange::held(connect));
        }
        let mut answer = Answer::new(self.replies);
        answer.handshake = self.handshake;
        answer.cuts = self.cuts;
        answer.cookie = self.cookie;
        answer.status = self.status;
        answer.close = self.core.is_draining();
        answer.attached = self.attached;
        answer.known = self.known;
        answer.messages = self.last;
        if let Some(rider) = &self.rider {
            answer.filtered = rider.filtered;
            let bound = rider.deliver_only || self.peer.transport == Transport::CallbackPolling;
            let waits = !self.wait.is_zero();
            ride(
                &self.core,
                rider,
                &self.link,
                // An answer that waits would keep its messages waiting.
                (bound || waits, self.connected && !waits),
                &mut answer,
            );
        }
        if self.wait.is_zero() {
            Executed::Now(answer)
        } else {
            let waiting = Exchange::waiting(&self.core, answer, &self.link, self.wait);
            Executed::Later(waiting)
        }
    }

    /// Who publishes, for the fan-out.
    pub(super) fn sender(&self, publisher: Option<&Arc<Session>>) -> Sender {
        Sender::new(publisher, self.rider.as_ref())
    }
}

/// Lets the session's queue ride along, if it may: where that is bound to connects, only if there
/// was one. Else wakes whoever may take it.
fn ride(
    core: &Arc<Core>,
    rider: &Arc<Session>,
    link: &Link,
    (bound, connected): (bool, bool),
    answer: &mut Answer,
) {
    let mut state = rider.lock();
    let may = !bound || connected;
    // What a session leaves behind goes with the word of its end, which is for connects to say.
    let may = may && (connected || !state.is_parting());
    let messages = (may && answer.status == AnswerStatus::Ok && state.may_ride())
        .then(|| state.take_off(link, RESPONSE_BYTES, &mut answer.messages));
    let wake = state.next_wake().cloned();
    drop(state);
    answer.flight = Some(Flight::new(Arc::clone(core), Arc::clone(rider), messages));
    if let Some(link) = wake {
        link.outlet.wake(&[link.key]);
    }
}

/// What the worker of the first pool does with a run.
pub(crate) fn judge(mut run: Run<'static>) {
    let next = run.advance(Place::Judge);
    run.dispatch(next);
}

/// Submits the job that empties a service's inbox.
fn serve(core: &Arc<Core>, entry: Arc<ServiceEntry>) {
    let again = Arc::clone(core);
    let job = Box::new(move || {
        for _ in 0..SERVICE_TURN {
            let Some(mut run) = entry.inbox.next() else {
                return;
            };
            // User code is guarded where it is called. This is for the service's sake, which must
            // not stop if one of our own steps fails.
            guarded("a run", || {
                run.call(&entry);
                let next = run.advance(Place::Serve);
                run.dispatch(next);
            });
        }
        serve(&again, entry);
    });
    // The pool for inboxes has no bound, and refuses only when it is being dropped.
    drop(core.servants.submit(job));
}

impl Run<'static> {
    /// Calls the service the current message is for.
    fn call(&mut self, entry: &ServiceEntry) {
        let body = std::mem::take(&mut self.body);
        if let Some(message) = self.current.take() {
            self.call_service(&body, &message, entry);
            self.executed += 1;
        }
        self.body = body;
    }
}

fn is_handshake(parsed: &Parsed) -> bool {
    matches!(
        parsed,
        Parsed::Message(Message {
            channel: Target::Handshake,
            ..
        })
    )
}

/// What a reply repeats of its message.
pub(super) fn echo<'a>(body: &'a str, message: &'a Message) -> ReplyTo<'a> {
    let subscribing = matches!(message.channel, Target::Subscribe | Target::Unsubscribe);
    let mut echo = ReplyTo::message(body, message);
    echo.subscription = echo.subscription.filter(|_| subscribing);
    echo
}

/// Calls a service handles before others may use the thread.
const SERVICE_TURN: usize = 16;
