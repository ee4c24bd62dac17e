//! The writing side: responses are put together in a buffer of the thread and leave in one write.
//! What the kernel does not take waits in the connection's own buffer, and nothing more is written
//! to that connection until it has gone; files are read only as fast as they are taken.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::answers::{Content, Due};
use super::connection::{Connection, Unsent};
use super::shared::Shared;
use crate::broker::Flight;
use crate::http::{Body, CONTINUE, DateCache};
use crate::tcp::reactor::Io;
use crate::transport::WakeSink;

/// From this many bytes on, what is ready is sent before more is added. Files up to this length, as
/// those of pages are, are sent in one piece.
const PIECE: usize = 64 << 10;

/// Longer files are read in pieces of so many bytes, one for each connection in a turn: hundreds of
/// connections may have one in the same turn, and others wait for its end.
const FILE_PIECE: usize = 16 << 10;

/// The buffer is given back when a response has made it larger than this.
const KEPT_CAPACITY: usize = 64 << 10;

/// Writes responses for the connections of one thread, one connection at a time.
pub(super) struct Sender {
    shared: Arc<Shared>,
    date: DateCache,
    /// The turn in which the wall clock was last looked at, and what it said.
    turn: Option<Instant>,
    wall: SystemTime,
    /// What is to be sent to the connection at hand.
    ready: Vec<u8>,
    /// The answers in it.
    flights: Vec<Flight>,
    /// Some of them carry messages.
    messages: bool,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            date: DateCache::new(),
            turn: None,
            wall: SystemTime::UNIX_EPOCH,
            ready: Vec::with_capacity(PIECE),
            flights: Vec::new(),
            messages: false,
        }
    }

    /// Whether what is ready should be sent before anything more is executed: it is much, or holds
    /// messages, behind which the later ones of their session have to wait.
    pub(super) fn is_pressing(&self) -> bool {
        self.ready.len() >= PIECE || self.messages
    }

    /// Adds the interim response that asks for a body.
    pub(super) fn add_continue(&mut self) {
        self.ready.extend_from_slice(CONTINUE);
    }

    /// Adds what is no response of the usual kind.
    pub(super) fn add_with(&mut self, now: Instant, write: impl FnOnce(&str, &mut Vec<u8>)) {
        self.look_at_the_clock(now);
        write(self.date.at(self.wall), &mut self.ready);
    }

    /// Adds a response. If it is the last one, the connection is marked accordingly.
    pub(super) fn add(&mut self, conn: &mut Connection, io: &mut Io<'_>, due: Due) {
        let keep_alive = conn.stays_open();
        let http10 = due.http10;
        let before = self.ready.len();
        let status = due.content.status();
        self.look_at_the_clock(io.now());
        let date = self.date.at(self.wall);
        match due.content {
            Content::Answer(answer, format) => {
                let site = &self.shared.site;
                if !format.write(&answer, site, date, keep_alive, http10, &mut self.ready) {
                    conn.answers.clear();
                    conn.stop_reading();
                }
                self.add_flight(answer.flight);
            }
            Content::Response(response) => {
                response.write_head(date, keep_alive, http10, &mut self.ready);
                self.add_body(conn, io, response.body);
            }
            Content::Finished(finished) => {
                let keep_alive = keep_alive && !finished.close;
                let response = finished.response;
                response.write_head(date, keep_alive, http10, &mut self.ready);
                if finished.close {
                    conn.answers.clear();
                    conn.stop_reading();
                }
                self.add_flight(finished.flight);
                self.add_body(conn, io, response.body);
            }
        }
        if let Some(asked) = due.asked {
            let written = self.ready.len().saturating_sub(before) as u64;
            asked.answered(status, written + conn.file_rest());
        }
    }

    fn add_flight(&mut self, flight: Option<Flight>) {
        self.messages |= flight.as_ref().is_some_and(Flight::carries_messages);
        self.flights.extend(flight);
    }

    fn add_body(&mut self, conn: &mut Connection, io: &mut Io<'_>, body: Body) {
        match body.in_memory() {
            Some(bytes) => self.ready.extend_from_slice(bytes),
            None => self.add_piece(conn, io, body),
        }
    }

    /// Sends what was added.
    pub(super) fn send(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        if self.ready.is_empty() {
            return;
        }
        let sent = io.write(&self.ready);
        self.ready.clear();
        self.ready.shrink_to(KEPT_CAPACITY);
        self.messages = false;
        if sent.is_err() {
            // The messages go back to their sessions.
            self.flights.clear();
            io.abort();
        } else if io.pending_write() == 0 {
            conn.unread.taken(io, self.flights.drain(..));
        } else {
            self.flights.iter_mut().for_each(Flight::stalled);
            let unsent = conn.unsent.get_or_insert_default();
            unsent.flights.append(&mut self.flights);
        }
    }

    /// Drops what was added and not sent.
    pub(super) fn forget(&mut self) {
        self.ready.clear();
        self.flights.clear();
        self.messages = false;
    }

    /// The kernel has taken everything.
    pub(super) fn taken(&mut self, conn: &mut Connection, io: &mut Io<'_>) {
        if let Some(mut unsent) = conn.unsent.take() {
            conn.unread.taken(io, unsent.flights.drain(..));
            conn.unsent = unsent.file.is_some().then_some(unsent);
        }
    }

    /// Goes on with a file, by one piece: thousands may be fetching files, and others wait.
    pub(super) fn continue_file(
        &mut self,
        conn: &mut Connection,
        io: &mut Io<'_>,
        sink: &Arc<dyn WakeSink>,
    ) {
        if io.pending_write() > 0 || !conn.has_file() {
            return;
        }
        let file = conn.unsent.as_mut().and_then(|unsent| unsent.file.take());
        conn.unsent = None;
        if let Some(file) = file {
            self.add_piece(conn, io, file);
            self.send(conn, io);
        }
        if io.pending_write() == 0 && conn.has_file() {
            sink.wake(&[io.key()]);
        }
    }

    /// Adds the next piece of a file, and leaves the rest with the connection.
    fn add_piece(&mut self, conn: &mut Connection, io: &mut Io<'_>, mut file: Body) {
        let before = self.ready.len();
        let piece = match file.len() {
            rest if rest <= PIECE as u64 => rest as usize,
            _ => FILE_PIECE,
        };
        self.ready.resize(before + piece, 0);
        let read = file.read(&mut self.ready[before..]);
        self.ready
            .truncate(before + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(_) if file.is_empty() => {}
            Ok(_) => {
                conn.unsent = Some(Box::new(Unsent {
                    flights: Vec::new(),
                    file: Some(file),
                }))
            }
            Err(error) => {
                // The head has promised a length that cannot be kept.
                log::warn!("a file cannot be read to its end: {error}");
                io.abort();
            }
        }
    }

    /// All responses of a turn have the same date.
    fn look_at_the_clock(&mut self, now: Instant) {
        if self.turn != Some(now) {
            self.turn = Some(now);
            self.wall = self.shared.clock.wall();
        }
    }
}
