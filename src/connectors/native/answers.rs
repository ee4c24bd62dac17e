//! Answers that a connection owes, in the order of their requests.
//!
//! HTTP/1.1 knows no other order, so what is behind a held connect waits for it. Those requests are
//! executed all the same: one of them may be what the connect waits for. Two rules keep that safe:
//!
//! - Nothing is executed behind work in progress, whose effects must come first; and no more than
//!   [`MAX_OWED`] requests, or [`MAX_OWED_BYTES`] of their answers, behind anything.
//! - An answer that has to wait gives the messages it carries back to their session, whose held
//!   connect brings them, earlier than this answer could and in the right order.

use crate::broker::{Answer, Exchange, Flight};
use crate::http::{Asked, Finished, Format, Response, Site, Work};
use crate::util::OneOrMany;

/// Most requests of one connection that are executed and not answered yet.
const MAX_OWED: usize = 8;

/// Most bytes of answers that wait behind another, before nothing more is executed.
const MAX_OWED_BYTES: usize = 64 << 10;

/// What a request is to be answered with, and whether its client speaks HTTP/1.0.
pub(super) struct Due {
    pub(super) content: Content,
    pub(super) http10: bool,
    /// For the access log.
    pub(super) asked: Option<Box<Asked>>,
}

/// What an answer says.
pub(super) enum Content {
    /// What the broker has said, and in what form.
    Answer(Answer, Format),
    /// A response that is complete.
    Response(Response),
    /// A response that user code has made or changed.
    Finished(Finished),
}

impl Content {
    /// The status of the response.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Answer(answer, _) => answer.status.code(),
            Self::Response(response) => response.status,
            Self::Finished(finished) => finished.response.status,
        }
    }
}

/// An answer that is not sent yet.
struct Entry {
    owed: Owed,
    rare: Option<Box<Rare>>,
}

/// What most answers have nothing of, so that parked connections do not pay for it.
struct Rare {
    http10: bool,
    asked: Option<Box<Asked>>,
}

impl Entry {
    fn new(owed: Owed, http10: bool, asked: Option<Box<Asked>>) -> Self {
        let rare = http10 || asked.is_some();
        Self {
            owed,
            rare: rare.then(|| Box::new(Rare { http10, asked })),
        }
    }
}

enum Owed {
    /// The broker will say.
    Later(Exchange, Format),
    /// The broker has said.
    Now(Box<Answer>, Format),
    /// A response that is complete.
    Done(Response),
    /// User code is making it.
    Work(Box<Work>),
}

/// The answers that one connection owes. Without memory of its own while it owes at most one.
#[derive(Default)]
pub(super) struct Answers {
    owed: OneOrMany<Entry>,
    /// Of those that wait behind another.
    bytes: usize,
}

impl Answers {
    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Whether one more request may be executed.
    pub(super) fn has_room(&self) -> bool {
        let Some(last) = self.owed.last() else {
            return true;
        };
        !last.is_working() && self.owed.len() < MAX_OWED && self.bytes < MAX_OWED_BYTES
    }

    /// Whether one of the answers is a held connect's, or has to wait.
    pub(super) fn has_parked(&self) -> bool {
        self.owed.iter().any(|entry| match &entry.owed {
            Owed::Later(exchange, _) => exchange.is_parked(),
            Owed::Work(work) => work.is_parked(),
            Owed::Now(..) | Owed::Done(_) => false,
        })
    }

    /// Adds an answer that the broker will give later.
    pub(super) fn expect(
        &mut self,
        exchange: Exchange,
        format: Format,
        http10: bool,
        asked: Option<Box<Asked>>,
    ) {
        self.push(Entry::new(Owed::Later(exchange, format), http10, asked));
    }

    /// Adds a response that user code will make.
    pub(super) fn expect_work(&mut self, work: Work, http10: bool, asked: Option<Box<Asked>>) {
        self.push(Entry::new(Owed::Work(Box::new(work)), http10, asked));
    }

    /// Adds an answer that is there but not due yet.
    pub(super) fn keep(&mut self, due: Due) {
        let owed = match due.content {
            Content::Answer(answer, format) => Owed::Now(Box::new(yielding(answer)), format),
            Content::Response(response) => Owed::Done(response),
            // Nothing is executed behind anything while there is user code for responses.
            Content::Finished(finished) => Owed::Done(finished.response),
        };
        self.push(Entry::new(owed, due.http10, due.asked));
    }

    fn push(&mut self, entry: Entry) {
        if !self.owed.is_empty() {
            self.bytes += entry.len();
        }
        self.owed.push(entry);
    }

    /// Takes the answer that is due, if it is there.
    pub(super) fn next(&mut self, site: &Site) -> Option<Due> {
        let mut answered = None;
        let mut finished = None;
        match &mut self.owed.get_mut(0)?.owed {
            Owed::Later(exchange, _) => answered = Some(exchange.poll()?),
            Owed::Work(work) => finished = Some(work.poll(site)?),
            Owed::Now(..) | Owed::Done(_) => {}
        }
        let Entry { owed, rare } = self.owed.remove(0)?;
        let content = match owed {
            Owed::Later(_, format) => Content::Answer(answered?, format),
            Owed::Work(_) => Content::Finished(finished?),
            Owed::Now(answer, format) => Content::Answer(*answer, format),
            Owed::Done(response) => Content::Response(response),
        };
        self.bytes -= self.owed.first().map_or(0, Entry::len);
        let (http10, asked) = rare.map_or((false, None), |rare| (rare.http10, rare.asked));
        Some(Due {
            content,
            http10,
            asked,
        })
    }

    /// Sees whether work that waits behind another answer is done, so that the connection can go
    /// on. Held connects are left alone: their messages are safer in the session's queue.
    pub(super) fn collect(&mut self) {
        for entry in self.owed.iter_mut().skip(1) {
            let Owed::Later(exchange, format) = &mut entry.owed else {
                continue;
            };
            if exchange.is_held() {
                continue;
            }
            if let Some(answer) = exchange.poll() {
                entry.owed = Owed::Now(Box::new(yielding(answer)), format.clone());
                self.bytes += entry.len();
            }
        }
    }

    /// Drops everything: the peer has gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Entry {
    fn is_working(&self) -> bool {
        match &self.owed {
            Owed::Later(exchange, _) => !exchange.is_held(),
            // Held or not: what is made for the next request could not wait behind it.
            Owed::Work(_) => true,
            Owed::Now(..) | Owed::Done(_) => false,
        }
    }

    fn len(&self) -> usize {
        match &self.owed {
            Owed::Later(..) | Owed::Work(_) => 0,
            Owed::Now(answer, _) => answer.array_len(),
            Owed::Done(response) => response.body.in_memory().map_or(0, <[u8]>::len),
        }
    }
}

/// The answer without the messages it carries: dropping their flight puts them back. The last ones
/// of a session have nowhere to go.
fn yielding(mut answer: Answer) -> Answer {
    if answer.flight.as_ref().is_none_or(Flight::is_last) {
        return answer;
    }
    answer.messages.clear();
    answer.flight = None;
    answer
}
