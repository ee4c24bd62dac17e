//! What a request brings back: an [`Answer`] now, or an [`Exchange`] to ask again when woken.

use std::mem;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::connect::HeldConnect;
use super::core::Core;
use super::in_flight::InFlight;
use super::receiver::Attachment;
use super::request::Request;
use super::session::Session;
use super::ticker::Alarm;
use super::traffic::Traffic;
use crate::protocol::ClientId;
use crate::protocol::Publication;
use crate::transport::{BrowserId, ConnectionHandle};
use crate::util::{Booking, Completion, Owner};

/// The outcome of a request or a frame.
pub enum Executed {
    /// Answer at once.
    Now(Answer),
    /// The answer comes later: ask the exchange whenever the connection's key is woken.
    Later(Exchange),
}

impl Executed {
    /// What stands for the outcome of a request that was lost on its way, or whose broker is being
    /// dropped: an empty answer, so that nobody waits for ever.
    pub(crate) fn lost() -> Self {
        let mut answer = Answer::new(Vec::new());
        answer.status = AnswerStatus::Unavailable;
        Self::Now(answer)
    }
}

/// How the answer is to be marked, where the transport has a way to do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerStatus {
    /// HTTP 200.
    Ok,
    /// HTTP 503 with `Retry-After`: a limit was reached, and nothing was executed.
    Unavailable,
}

impl AnswerStatus {
    /// The status of HTTP.
    pub fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Unavailable => 503,
        }
    }
}

/// Everything one response or frame says.
pub struct Answer {
    /// How it went as a whole.
    pub status: AnswerStatus,
    /// A handshake reply that goes before the messages: a JSON object, or nothing.
    pub handshake: Vec<u8>,
    /// Messages that were waiting for the session.
    pub messages: Vec<Arc<Publication>>,
    /// Replies in the order of the request: JSON objects, separated by commas.
    pub replies: Vec<u8>,
    /// Where in `replies` a message of a service begins or ends: for transports on which each
    /// message stands alone.
    pub cuts: Vec<usize>,
    /// The session asked for its responses inside a comment (json-comment-filtered).
    pub filtered: bool,
    /// A browser id that was issued with a handshake, to be set as a cookie.
    pub cookie: Option<BrowserId>,
    /// The server is stopping: the connection is to be closed after this.
    pub close: bool,
    /// To be committed when all this was written; present whenever there are messages, and when the
    /// answer is for a session that lives longer for it.
    pub in_flight: Option<InFlight>,
    /// Sessions that this socket is now tied to.
    pub attached: Vec<Attachment>,
    /// The request came from a session that exists, or made one.
    pub known: bool,
    /// What it takes of the output of all, once that is much.
    booking: Option<Booking<Owner>>,
}

impl Answer {
    pub(crate) fn new(replies: Vec<u8>) -> Self {
        Self {
            status: AnswerStatus::Ok,
            handshake: Vec::new(),
            messages: Vec::new(),
            replies,
            cuts: Vec::new(),
            filtered: false,
            cookie: None,
            close: false,
            in_flight: None,
            attached: Vec::new(),
            known: false,
            booking: None,
        }
    }

    /// Books what it takes, if that is much.
    pub(super) fn book(&mut self, traffic: &Traffic, ip: IpAddr) {
        let bytes = self.handshake.capacity() + self.replies.capacity();
        if bytes >= MUCH {
            let new = || Booking::new(&traffic.output, ip);
            self.booking.get_or_insert_with(new).set_anyway(bytes);
        }
    }

    /// The length of what [`write_array`](Self::write_array) writes, in bytes.
    pub fn array_len(&self) -> usize {
        let texts = [&self.handshake, &self.replies];
        let parts = self.messages.len() + texts.iter().filter(|text| !text.is_empty()).count();
        let bytes = self
            .messages
            .iter()
            .map(|message| message.json().len())
            .sum::<usize>()
            + texts.iter().map(|text| text.len()).sum::<usize>();
        bytes + 2 + parts.saturating_sub(1)
    }

    /// Appends the JSON array of everything in its order.
    pub fn write_array(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        let messages = self.messages.iter().map(|message| message.json());
        let parts = [&self.handshake[..]]
            .into_iter()
            .chain(messages)
            .chain([&self.replies[..]]);
        for (n, part) in parts.filter(|part| !part.is_empty()).enumerate() {
            if n > 0 {
                out.push(b',');
            }
            out.extend_from_slice(part);
        }
        out.push(b']');
    }
}

/// From so many bytes on an answer counts: most never do.
const MUCH: usize = 16 << 10;

/// A request whose answer is not there yet: a held connect, or work of user code.
///
/// Dropping it says that the peer has gone: the poll is dropped and the session goes into its
/// grace period.
pub struct Exchange(Pending);

enum Pending {
    /// It goes on in this turn.
    Paused(Paused),
    Working(Completion<Executed, ConnectionHandle>),
    Held(HeldConnect),
    Waiting(Box<WaitingAnswer>),
    Done,
}

/// An answer that is there, and is not to be given before its time.
struct WaitingAnswer {
    alarm: Alarm,
    answer: Answer,
    until: Instant,
}

/// A request that goes on in its connection's next turn.
struct Paused(Option<Box<Request>>);

impl Drop for Paused {
    fn drop(&mut self) {
        if let Some(request) = self.0.take() {
            request.finish_unheard();
        }
    }
}

impl Exchange {
    /// Wakes its connection, by which it goes on.
    pub(super) fn paused(request: Request) -> Self {
        let mut request = Box::new(request);
        request.make_way();
        Self(Pending::Paused(Paused(Some(request))))
    }

    pub(crate) fn working(result: Completion<Executed, ConnectionHandle>) -> Self {
        Self(Pending::Working(result))
    }

    pub(crate) fn held(connect: HeldConnect) -> Self {
        Self(Pending::Held(connect))
    }

    /// An answer that waits so long.
    pub(crate) fn waiting(
        core: &Arc<Core>,
        answer: Answer,
        connection: &ConnectionHandle,
        wait: Duration,
    ) -> Self {
        let until = core.clock.now() + wait;
        Self(Pending::Waiting(Box::new(WaitingAnswer {
            alarm: Alarm::set(core, connection, until),
            answer,
            until,
        })))
    }

    /// The answer, once it is there. Cheap; to be called after each wake of the connection, and not
    /// again after it has answered.
    pub fn poll(&mut self) -> Option<Answer> {
        self.poll_for(true)
    }

    /// The same; unless it `carries` messages, those that wait for a held connect go on waiting.
    pub fn poll_for(&mut self, carries: bool) -> Option<Answer> {
        loop {
            match &mut self.0 {
                Pending::Paused(paused) => match paused.0.take()?.go_on() {
                    Executed::Now(answer) => {
                        self.0 = Pending::Done;
                        return Some(answer);
                    }
                    Executed::Later(next) => {
                        *self = next;
                        if matches!(self.0, Pending::Paused(_)) {
                            return None;
                        }
                    }
                },
                Pending::Working(result) => match result.take()? {
                    Executed::Now(answer) => {
                        self.0 = Pending::Done;
                        return Some(answer);
                    }
                    Executed::Later(next) => *self = next,
                },
                Pending::Held(connect) => {
                    let answer = connect.look(carries)?;
                    self.0 = Pending::Done;
                    return Some(answer);
                }
                Pending::Waiting(waiting) => {
                    let core = waiting.alarm.core();
                    let draining = core.is_draining();
                    if core.clock.now() < waiting.until && !draining {
                        return None;
                    }
                    let Pending::Waiting(waiting) = mem::replace(&mut self.0, Pending::Done) else {
                        return None;
                    };
                    let mut answer = waiting.answer;
                    answer.close |= draining;
                    return Some(answer);
                }
                Pending::Done => return None,
            }
        }
    }

    /// A session that this socket is now tied to. To be asked for until there is none, when there
    /// is no answer yet.
    pub fn attached(&mut self) -> Option<Attachment> {
        match &mut self.0 {
            Pending::Held(connect) => connect.attached.take().map(|tie| *tie),
            Pending::Waiting(waiting) => waiting.answer.attached.pop(),
            Pending::Paused(_) | Pending::Working(_) | Pending::Done => None,
        }
    }

    /// The client whose connect is being held; `None` for everything else.
    pub fn client_id(&self) -> Option<ClientId> {
        match &self.0 {
            Pending::Held(connect) => connect.client_id(),
            _ => None,
        }
    }

    /// By which handle the session of a held connect wakes its connection.
    pub fn held_by(&self) -> Option<&ConnectionHandle> {
        match &self.0 {
            Pending::Held(connect) => Some(connect.connection()),
            _ => None,
        }
    }

    /// Whether it is a held connect of that session.
    pub(super) fn is_held_for(&self, session: &Arc<Session>) -> bool {
        matches!(&self.0, Pending::Held(connect) if connect.is_of(session))
    }

    /// Whether nothing is done for it meanwhile: a connect that is held, or an answer that waits.
    /// If its peer seems to have gone it can be dropped.
    pub fn is_parked(&self) -> bool {
        matches!(self.0, Pending::Held(_) | Pending::Waiting(_))
    }

    /// Whether this is a connect that is being held (and not work in progress).
    pub fn is_held(&self) -> bool {
        matches!(self.0, Pending::Held(_))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::transport::WakeSink;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl WakeSink for Bell {
        fn wake(&self, keys: &[u64]) {
            self.0.fetch_add(keys.len(), Ordering::Relaxed);
        }
    }

    #[test]
    fn a_lost_request_is_answered_too() {
        let bell = Arc::new(Bell::default());
        let connection = ConnectionHandle {
            sink: Arc::clone(&bell) as _,
            key: 1,
        };
        let (result, promise) = Completion::new(connection, Executed::lost);
        assert!(result.take().is_none());
        drop(promise);
        let Some(Executed::Now(answer)) = result.take() else {
            panic!("an answer")
        };
        assert_eq!(answer.status, AnswerStatus::Unavailable);
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    }
}
