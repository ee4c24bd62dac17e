//! Responses: in the order of their requests, and written as soon as they are due.
//!
//! HTTP/1.1 knows no other order, so what is behind a held connect waits for it. Those requests are
//! executed all the same: one of them may be what the connect waits for. Two rules keep that safe:
//!
//! - Nothing is executed behind work in progress, whose effects must come first; and no more than
//!   [`MAX_PENDING`] requests, or [`MAX_PENDING_BYTES`] of their responses, behind anything.
//! - A response that has to wait gives the messages it carries back to their session, whose held
//!   connect brings them, earlier than this response could and in the right order.

use super::HttpConnection;
use crate::broker::{Answer, Exchange};
use crate::connectors::native::outbound::Rest;
use crate::connectors::native::thread::Thread;
use crate::http::{Body, Finished, Format, LogEntry, PendingResponse, Site};
use crate::tcp::reactor::Io;
use crate::util::OneOrMany;

/// Most requests of one connection that are executed and not answered yet.
const MAX_PENDING: usize = 8;

/// Most bytes of responses that wait behind another, before nothing more is executed.
const MAX_PENDING_BYTES: usize = 64 << 10;

/// Long files are read in pieces of so many bytes: thousands of connections may each have one.
const FILE_PIECE: usize = 16 << 10;

/// A response that is due.
pub(super) struct Response {
    pub(super) content: Content,
    /// Whether its client speaks HTTP/1.0.
    pub(super) http10: bool,
    /// For the access log.
    pub(super) entry: Option<Box<LogEntry>>,
}

/// What a response says.
pub(super) enum Content {
    /// What the broker has said, and in what form.
    Answer(Answer, Format),
    Finished(Finished),
}

impl Content {
    fn status(&self) -> u16 {
        match self {
            Self::Answer(answer, _) => answer.status.code(),
            Self::Finished(finished) => finished.response.status,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Answer(answer, _) => answer.array_len(),
            Self::Finished(finished) => {
                let bytes = finished.response.body.in_memory();
                bytes.map_or(0, <[u8]>::len)
            }
        }
    }

    /// Gives its messages back to their session. The last ones of a session have nowhere to go.
    fn give_messages_back(&mut self) {
        let Self::Answer(answer, _) = self else {
            return;
        };
        let messages = &mut answer.in_flight;
        if let Some(mut messages) = messages.take_if(|messages| !messages.is_last()) {
            messages.abort();
            answer.messages.clear();
        }
    }
}

/// A response that is not due yet, or not there.
struct Entry {
    state: State,
    extra: Option<Box<Extra>>,
}

/// What most responses have nothing of, so that parked connections do not pay for it.
struct Extra {
    http10: bool,
    entry: Option<Box<LogEntry>>,
}

enum State {
    /// The broker will say.
    Exchange(Exchange, Format),
    /// User code is making it.
    Pending(Box<PendingResponse>),
    /// It waits for its turn.
    Ready(Box<Content>),
}

impl State {
    fn is_working(&self) -> bool {
        match self {
            Self::Exchange(exchange, _) => !exchange.is_held(),
            // Held or not: what is made for the next request could not wait behind it.
            Self::Pending(_) => true,
            Self::Ready(_) => false,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Exchange(..) | Self::Pending(_) => 0,
            Self::Ready(content) => content.len(),
        }
    }
}

/// The responses that one connection has to write. Without memory of its own while that is at most
/// one.
#[derive(Default)]
pub(super) struct Responses {
    entries: OneOrMany<Entry>,
    /// Of those that wait behind another.
    bytes: usize,
}

impl Responses {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether one more request may be executed.
    pub(super) fn has_room(&self) -> bool {
        let Some(last) = self.entries.last() else {
            return true;
        };
        let few = self.entries.len() < MAX_PENDING && self.bytes < MAX_PENDING_BYTES;
        few && !last.state.is_working()
    }

    /// Whether one of them is a held connect's, or an answer's that has to wait.
    pub(super) fn has_parked(&self) -> bool {
        self.entries.iter().any(|entry| match &entry.state {
            State::Exchange(exchange, _) => exchange.is_parked(),
            State::Pending(response) => response.is_parked(),
            State::Ready(_) => false,
        })
    }

    /// Adds a response that the broker will give.
    pub(super) fn expect(
        &mut self,
        exchange: Exchange,
        format: Format,
        http10: bool,
        entry: Option<Box<LogEntry>>,
    ) {
        self.push(State::Exchange(exchange, format), http10, entry);
    }

    /// Adds a response that user code will make.
    pub(super) fn expect_made(
        &mut self,
        response: PendingResponse,
        http10: bool,
        entry: Option<Box<LogEntry>>,
    ) {
        self.push(State::Pending(Box::new(response)), http10, entry);
    }

    /// Adds a response that is there but not due yet.
    fn keep(&mut self, mut response: Response) {
        response.content.give_messages_back();
        let state = State::Ready(Box::new(response.content));
        self.push(state, response.http10, response.entry);
    }

    fn push(&mut self, state: State, http10: bool, entry: Option<Box<LogEntry>>) {
        if !self.entries.is_empty() {
            self.bytes += state.len();
        }
        let extra = http10 || entry.is_some();
        let extra = extra.then(|| Box::new(Extra { http10, entry }));
        self.entries.push(Entry { state, extra });
    }

    /// Takes the response that is due, if it is there. `carries`: messages may go with it.
    pub(super) fn next(&mut self, site: &Site, carries: bool) -> Option<Response> {
        let mut answered = None;
        let mut finished = None;
        match &mut self.entries.get_mut(0)?.state {
            State::Exchange(exchange, _) => answered = Some(exchange.poll_for(carries)?),
            State::Pending(response) => finished = Some(response.poll(site)?),
            State::Ready(_) => {}
        }
        let Entry { state, extra } = self.entries.remove(0)?;
        self.bytes -= self.entries.first().map_or(0, |next| next.state.len());
        let content = match state {
            State::Exchange(_, format) => Content::Answer(answered?, format),
            State::Pending(_) => Content::Finished(finished?),
            State::Ready(content) => *content,
        };
        let (http10, entry) = extra.map_or((false, None), |extra| (extra.http10, extra.entry));
        Some(Response {
            content,
            http10,
            entry,
        })
    }

    /// Sees whether work that waits behind another response is done, so that the connection can go
    /// on. Held connects are left alone: their messages are safer in the session's queue.
    pub(super) fn collect(&mut self) {
        for entry in self.entries.iter_mut().skip(1) {
            let State::Exchange(exchange, format) = &mut entry.state else {
                continue;
            };
            if exchange.is_held() {
                continue;
            }
            if let Some(answer) = exchange.poll() {
                let mut content = Content::Answer(answer, format.clone());
                content.give_messages_back();
                self.bytes += content.len();
                entry.state = State::Ready(Box::new(content));
            }
        }
    }

    /// Drops everything: the peer has gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Writing.
impl HttpConnection {
    /// Writes a response when its turn has come.
    pub(super) fn respond(&mut self, thread: &mut Thread, io: &mut Io<'_>, response: Response) {
        if self.has_answered_all() {
            self.write(thread, io, response);
        } else {
            self.responses.keep(response);
        }
    }

    /// Adds a response to what is ready. If it is the last one, the connection is marked so.
    pub(super) fn write(&mut self, thread: &mut Thread, io: &mut Io<'_>, response: Response) {
        let http10 = response.http10;
        let keep_alive = !(self.closes && self.responses.is_empty());
        let status = response.content.status();
        let ready = &mut thread.ready;
        let date = thread.date.at(io.now());
        let before = ready.bytes.len();
        let (closes, body) = match response.content {
            Content::Answer(answer, format) => {
                let (site, out) = (&thread.shared.site, &mut ready.bytes);
                let kept = format.write(&answer, site, date, keep_alive, http10, out);
                ready.add_in_flight(answer.in_flight);
                (!kept, Body::Empty)
            }
            Content::Finished(finished) => {
                let Finished {
                    response,
                    in_flight,
                    close,
                } = finished;
                response.write_head(date, keep_alive && !close, http10, &mut ready.bytes);
                ready.add_in_flight(in_flight);
                (close, response.body)
            }
        };
        if closes {
            self.responses.clear();
            self.stop_reading();
        }
        let mut rest = 0;
        match body.in_memory() {
            Some(bytes) => ready.bytes.extend_from_slice(bytes),
            None => {
                rest = body.len();
                self.outbound.keep_file(Rest::Unread(body));
            }
        }
        if let Some(entry) = response.entry {
            let written = thread.ready.bytes.len().saturating_sub(before) as u64;
            entry.answered(status, written + rest);
        }
    }

    /// Sends what is ready.
    pub(super) fn send(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        self.outbound
            .send(io, &mut thread.ready, self.served_ip, std::iter::empty());
    }

    /// Goes on with a file. A worker reads it, piece by piece as they are sent: the file system may
    /// take its time.
    pub(super) fn continue_file(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        if io.pending_write() > 0 {
            return;
        }
        let unread = match self.outbound.take_file() {
            None => return,
            Some(Rest::Unread(file)) => file,
            Some(Rest::Reading(piece)) => match piece.take() {
                None => return self.outbound.keep_file(Rest::Reading(piece)),
                Some(Ok((bytes, file))) => {
                    thread.ready.bytes.extend_from_slice(&bytes);
                    file
                }
                Some(Err(error)) => {
                    // The head has promised a length that cannot be kept.
                    log::warn!("a file cannot be read to its end: {error}");
                    return io.abort();
                }
            },
        };
        self.send(thread, io);
        if unread.is_empty() {
            return;
        }
        if io.pending_write() == 0 {
            let (site, handle) = (&thread.shared.site, thread.handle(io));
            let piece = site.read_piece(unread, FILE_PIECE, self.served_ip, &handle);
            return self.outbound.keep_file(Rest::Reading(piece));
        }
        self.outbound.keep_file(Rest::Unread(unread));
    }
}
