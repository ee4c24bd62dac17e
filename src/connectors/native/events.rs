//! Connections that are streams of events: messages go out as they come, and a comment now and
//! then. Nothing that the peer sends means anything.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::broker::{Attachment, Ended};
use crate::http::{EVENTS_COMMENT, Events};
use crate::protocol::Publication;
use crate::tcp::reactor::Io;

/// Most bytes of messages that are collected for one event; one message always fits. What a reader
/// that is slow holds up of the server's memory.
const EVENT_BYTES: usize = 64 << 10;

/// A comment is written when nothing else was for so long.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);

/// The buffer is given back when an event has made it larger than this.
const KEPT_CAPACITY: usize = 64 << 10;

/// One stream.
pub(super) struct EventStream {
    session: Attachment,
    /// The server stops: it ends as soon as nothing waits for it.
    stopping: bool,
}

/// The streams of one I/O thread.
pub(super) struct EventStreams {
    shared: Arc<Shared>,
    messages: Vec<Arc<Publication>>,
    ready: Vec<u8>,
}

impl EventStreams {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            messages: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// The head of the response has been written.
    pub(super) fn begin(&mut self, session: Attachment, io: &mut Io<'_>) -> EventStream {
        self.shared.streams.add(1);
        let mut stream = EventStream {
            session,
            stopping: false,
        };
        self.woken(&mut stream, io);
        stream
    }

    pub(super) fn input(&mut self, _: &mut EventStream, _: &mut Io<'_>, input: &[u8]) -> usize {
        input.len()
    }

    pub(super) fn end_of_input(&mut self, _: &mut EventStream, io: &mut Io<'_>) {
        end_with_the_peer(io);
    }

    pub(super) fn woken(&mut self, stream: &mut EventStream, io: &mut Io<'_>) {
        io.set_timer(Some(io.now() + COMMENT_INTERVAL));
        if stream.session.is_in_flight() {
            if stream.session.is_cut() {
                io.abort();
            }
            return;
        }
        if io.pending_write() > 0 {
            return;
        }
        match stream.session.collect(EVENT_BYTES, &mut self.messages) {
            Ok(collected) if !collected.messages => {
                if stream.stopping {
                    io.close_when_flushed();
                }
            }
            Ok(_) => {
                Events::write_messages(&self.messages, &mut self.ready);
                self.messages.clear();
                self.send(io);
                if io.pending_write() > 0 {
                    stream.session.stalled();
                    return;
                }
                drop(stream.session.delivered());
                if stream.stopping {
                    self.woken(stream, io);
                }
            }
            Err(ended) => self.end(ended, io),
        }
    }

    pub(super) fn drained(&mut self, stream: &mut EventStream, io: &mut Io<'_>) {
        drop(stream.session.delivered());
        self.woken(stream, io);
    }

    pub(super) fn timer(&mut self, stream: &mut EventStream, io: &mut Io<'_>) {
        if io.pending_write() == 0 {
            self.ready.extend_from_slice(EVENTS_COMMENT);
            self.send(io);
        }
        self.woken(stream, io);
    }

    pub(super) fn stopping(&mut self, stream: &mut EventStream, io: &mut Io<'_>) {
        stream.stopping = true;
        self.woken(stream, io);
    }

    pub(super) fn closed(&mut self, _: &EventStream) {
        self.shared.streams.sub(1);
    }

    /// Drops what was put together and not sent.
    pub(super) fn forget(&mut self) {
        self.messages.clear();
        self.ready.clear();
    }

    /// The session is gone, or its messages go elsewhere.
    fn end(&mut self, ended: Ended, io: &mut Io<'_>) {
        Events::write_end(ended, &mut self.ready);
        self.send(io);
        io.close_when_flushed();
    }

    fn send(&mut self, io: &mut Io<'_>) {
        if !self.ready.is_empty() && io.write(&self.ready).is_err() {
            io.abort();
        }
        self.ready.clear();
        self.ready.shrink_to(KEPT_CAPACITY);
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
