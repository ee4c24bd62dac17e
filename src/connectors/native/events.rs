//! Connections that are streams of events: messages go out as they come, and a comment now and
//! then. Nothing that the peer sends means anything.

use std::net::IpAddr;
use std::time::Duration;

use super::outbound::{Outbound, PIECE};
use super::thread::Thread;
use crate::broker::Attachment;
use crate::http::{EVENTS_COMMENT, Events};
use crate::tcp::reactor::Io;

/// A comment is written when nothing else was for so long.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);

/// One stream.
pub(super) struct EventStream {
    session: Attachment,
    ip: IpAddr,
    pub(super) outbound: Outbound,
    /// The server stops: it ends as soon as nothing waits for it.
    stopping: bool,
}

impl EventStream {
    /// The head of the response has been written.
    pub(super) fn begin(
        thread: &mut Thread,
        io: &mut Io<'_>,
        ip: IpAddr,
        session: Attachment,
        outbound: Outbound,
    ) -> Box<Self> {
        thread.shared.streams.add(1);
        io.watch_peer();
        let mut stream = Box::new(Self {
            session,
            ip,
            outbound,
            stopping: false,
        });
        stream.woken(thread, io);
        stream
    }

    pub(super) fn input(&mut self, _: &mut Thread, _: &mut Io<'_>, input: &[u8]) -> usize {
        input.len()
    }

    pub(super) fn end_of_input(&mut self, _: &mut Thread, io: &mut Io<'_>) {
        end_with_the_peer(io);
    }

    /// Sends what waits for the session; one event at a time, of at most so many bytes unless a
    /// message is larger. What a reader that is slow holds up of the server's memory.
    pub(super) fn woken(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        io.set_timer(Some(io.now() + COMMENT_INTERVAL));
        if io.pending_write() > 0 {
            return;
        }
        if !thread.has_room(self.ip) {
            return thread.postpone(io);
        }
        let ready = &mut thread.ready;
        match self.session.collect(PIECE, &mut ready.messages) {
            Ok(collected) if collected.messages => {
                Events::write_messages(&ready.messages, &mut ready.bytes);
                ready.messages.clear();
                self.send(thread, io);
                if self.stopping {
                    self.woken(thread, io);
                }
            }
            Ok(_) if self.stopping => io.close_when_flushed(),
            Ok(_) => {}
            Err(ended) => {
                // The session is gone, or its messages go elsewhere.
                Events::write_end(ended, &mut ready.bytes);
                self.send(thread, io);
                io.close_when_flushed();
            }
        }
    }

    pub(super) fn drained(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        let pushed = self.session.in_flight();
        self.outbound.drained(io, pushed.into_iter());
        self.woken(thread, io);
    }

    pub(super) fn timer(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        if io.pending_write() == 0 {
            thread.ready.bytes.extend_from_slice(EVENTS_COMMENT);
            self.send(thread, io);
        }
        self.woken(thread, io);
    }

    pub(super) fn stopping(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        self.stopping = true;
        self.woken(thread, io);
    }

    pub(super) fn closed(self, thread: &Thread) {
        self.session.detach();
        thread.shared.streams.sub(1);
    }

    /// Whether messages that the kernel has not taken are wanted elsewhere.
    pub(super) fn is_cut(&self) -> bool {
        self.session.is_cut()
    }

    fn send(&mut self, thread: &mut Thread, io: &mut Io<'_>) {
        let pushed = self.session.in_flight();
        self.outbound
            .send(io, &mut thread.ready, self.ip, pushed.into_iter());
    }
}

/// A peer that ends its stream has most likely gone, so what it has not taken is not sent: it will
/// be on the next connection.
pub(super) fn end_with_the_peer(io: &mut Io<'_>) {
    if io.pending_write() > 0 {
        io.abort();
    } else {
        io.close_when_flushed();
    }
}
