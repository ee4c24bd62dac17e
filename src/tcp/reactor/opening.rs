//! The way of a connection to the service: accepted or connected, through the steps before it is
//! opened, to `Service::open`.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socket2::{Domain, Protocol, Socket, Type};

use super::connect::Connect;
use super::connection::{Core, Entry, Origin, Phase};
use super::events::{Outcome, guarded};
use super::io::Io;
use super::mailbox::Arrival;
use super::poll::{Interest, Source};
use super::preconnect::{Early, Opening, Progress, Step};
use super::service::{CloseReason, Refuse, Service};
use super::slab::slot_of;
use super::stream::Stream;
use super::thread::Thread;
use super::wheel::ticks_in;
use crate::tcp::Address;
use crate::tcp::listener::StreamOptions;

impl<S: Service> Thread<S> {
    /// A connection has been accepted.
    pub(super) fn arrive(&mut self, arrival: Arrival) {
        let Arrival {
            socket,
            peer,
            listener,
            permit,
        } = arrival;
        let origin = Origin::Accepted {
            listener,
            _permit: permit,
        };
        match self.adopt(socket, peer, origin, Interest::READ) {
            Ok(mut entry) => {
                entry.core.opening = Opening::new(&self.steps);
                let outcome = self.begin_opening(&mut entry);
                self.settle(entry, outcome);
            }
            Err((error, origin)) => {
                log::warn!("an accepted connection is lost: {error}");
                self.lose();
                drop(origin);
            }
        }
    }

    /// An accepted connection does not become one of this thread.
    pub(super) fn lose(&self) {
        self.mailbox.counters.failed.add(1);
        self.mailbox.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// The service wants a connection made.
    pub(super) fn connect(&mut self, request: Connect) {
        let ticket = request.ticket;
        if let Err(error) = self.begin_connect(request) {
            self.tell_connect_failed(ticket, CloseReason::of(&error));
        }
    }

    fn begin_connect(&mut self, request: Connect) -> io::Result<()> {
        let Connect {
            address,
            ticket,
            timeout,
            options,
        } = request;
        let (domain, protocol) = match &address {
            Address::Inet(inet) => (Domain::for_address(*inet), Some(Protocol::TCP)),
            Address::Unix(_) => (Domain::UNIX, None),
        };
        let socket = Socket::new(domain, Type::STREAM, protocol)?;
        socket.set_nonblocking(true)?;
        if matches!(address, Address::Inet(_)) {
            let options = StreamOptions {
                nodelay: options.nodelay,
                keepalive: options.keepalive,
                max_unsent: options.max_unsent,
            };
            options.set(&socket)?;
        }
        if let Some(local) = &options.bind {
            socket.bind(&local.to_sock()?)?;
        }
        let pending = match socket.connect(&address.to_sock()?) {
            Ok(()) => false,
            Err(error) if is_in_progress(&error) => true,
            Err(error) => return Err(error),
        };
        let interest = Interest {
            read: !pending,
            write: pending,
            edge: false,
        };
        let origin = Origin::Connected { ticket };
        let mut entry = self
            .adopt(socket, address, origin, interest)
            .map_err(|(error, _origin)| error)?;
        entry.core.opening = Opening::new(&options.pre_connect);
        let mut outcome = Ok(());
        if pending {
            entry.core.phase = Phase::Connecting;
            entry.core.close_deadline = self.ctx.tick + ticks_in(timeout).max(1);
        } else {
            outcome = self.begin_opening(&mut entry);
        }
        self.settle(entry, outcome);
        Ok(())
    }

    fn adopt(
        &mut self,
        socket: Socket,
        peer: Address,
        origin: Origin,
        interest: Interest,
    ) -> Result<Box<Entry<S::Conn>>, (io::Error, Origin)> {
        let key = match self.stop_at {
            None => self.slab.reserve(),
            Some(_) => None,
        };
        let Some(key) = key else {
            let error = io::Error::other("the thread takes no more connections");
            return Err((error, origin));
        };
        let slot = slot_of(key);
        let poll = Arc::clone(&self.mailbox.poll);
        match Source::register(poll, socket, slot as usize, interest) {
            Ok(source) => {
                self.mailbox.announce_slots(self.slab.slots());
                let core = Core::new(Stream::new(source), key, peer, origin);
                Ok(Box::new(Entry { core, conn: None }))
            }
            Err(error) => {
                self.slab.release(slot);
                Err((error, origin))
            }
        }
    }

    /// The poller reports a connection that was being made.
    pub(super) fn connected(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        match entry.core.stream.socket().take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Err(CloseReason::of(&error)),
        }
        // Reported for another reason, and still on its way.
        if entry.core.stream.socket().peer_addr().is_err() {
            return Ok(());
        }
        self.begin_opening(entry)
    }

    fn begin_opening(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        let core = &mut entry.core;
        if core.opening.is_none() {
            return self.open(entry);
        }
        core.phase = Phase::Opening;
        core.close_deadline = self.ctx.tick + self.ctx.limits.pre_connect_timeout;
        self.advance(entry)
    }

    /// Input has come, or can be written, on the way through the steps.
    pub(super) fn opening_ready(&mut self, entry: &mut Entry<S::Conn>, readable: bool) -> Outcome {
        let core = &mut entry.core;
        if core.stream.wants_write() {
            core.flush(&mut self.ctx)?;
        }
        if readable {
            match core.receive(&mut self.ctx, &mut self.scratch)? {
                Some(0) => return Err(CloseReason::PeerClosed),
                Some(n) => core.input.extend_from_slice(&self.scratch[..n]),
                None => {}
            }
        }
        self.advance(entry)
    }

    /// Takes as many steps as can be taken with what has come.
    fn advance(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        let core = &mut entry.core;
        while let Some(mut opening) = core.opening.take() {
            if core.stream.is_handshaking() {
                core.flush(&mut self.ctx)?;
                core.opening = Some(opening);
                return Ok(());
            }
            let done = step(core, &mut opening)?;
            match done {
                Taken::Waiting if core.input.len() > PREAMBLE_MAX => {
                    return Err(CloseReason::Refused);
                }
                Taken::Waiting => {
                    core.opening = Some(opening);
                    return Ok(());
                }
                Taken::One => core.opening = Some(opening),
                Taken::All => {}
            }
        }
        self.open(entry)
    }

    fn open(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        let Entry { core, conn } = entry;
        core.phase = Phase::Open;
        core.close_deadline = 0;
        let service = &mut self.service;
        let mut io = Io {
            core,
            ctx: &mut self.ctx,
        };
        self.calls += 1;
        match guarded(|| service.open(&mut io))? {
            Ok(state) => *conn = Some(state),
            Err(Refuse) => return Err(CloseReason::Refused),
        }
        self.mailbox.counters.opened.add(1);
        core.flags.more = core.stream.is_layered();
        if self.draining {
            self.tell(entry)?;
        }
        if !entry.core.input.is_empty() && !entry.core.flags.paused {
            return self.offer(entry, 0);
        }
        Ok(())
    }

    /// A connection ends that the service never had.
    pub(super) fn unopened(&mut self, origin: &Origin, phase: Phase, reason: CloseReason) {
        let counters = &self.mailbox.counters;
        match origin {
            Origin::Connected { ticket } => self.tell_connect_failed(*ticket, reason),
            Origin::Accepted { .. }
                if reason == CloseReason::Refused && phase == Phase::Opening =>
            {
                counters.refused_early.add(1);
            }
            Origin::Accepted { .. } if reason == CloseReason::Refused => counters.refused.add(1),
            Origin::Accepted { .. } if reason == CloseReason::OpenTimeout => {
                counters.open_timeouts.add(1);
            }
            Origin::Accepted { .. } => counters.failed.add(1),
        }
    }

    fn tell_connect_failed(&mut self, ticket: u64, reason: CloseReason) {
        self.calls += 1;
        let service = &mut self.service;
        if guarded(|| service.connect_failed(ticket, reason)).is_err() {
            self.mailbox.counters.panics.add(1);
        }
    }
}

enum Taken {
    /// One step, or a part of one.
    One,
    /// More must come first.
    Waiting,
    /// There are no more steps.
    All,
}

fn step(core: &mut Core, opening: &mut Opening) -> Result<Taken, CloseReason> {
    if let Some(preamble) = &mut opening.preamble {
        if core.input.is_empty() {
            return Ok(Taken::Waiting);
        }
        let mut input = mem::take(&mut core.input);
        let progress = guarded(|| preamble.input(&mut Early { core }, &input))?;
        let taken = match progress {
            Err(Refuse) => return Err(CloseReason::Refused),
            Ok(Progress::More) => Taken::Waiting,
            Ok(Progress::Done(n)) => {
                input.drain(..n.min(input.len()));
                opening.preamble = None;
                Taken::One
            }
        };
        core.input = input;
        return Ok(taken);
    }
    let Some(step) = opening.steps.get(opening.next) else {
        return Ok(Taken::All);
    };
    opening.next += 1;
    match guarded(|| step.start(&mut Early { core }))? {
        Err(Refuse) => return Err(CloseReason::Refused),
        Ok(Step::Pass) => {}
        Ok(Step::Read(preamble)) => opening.preamble = Some(preamble),
        Ok(Step::Layer(_)) if core.stream.is_layered() => {
            log::error!("a second layer was wanted for a connection");
            return Err(CloseReason::Refused);
        }
        Ok(Step::Layer(layer)) => {
            let early = mem::take(&mut core.input);
            core.flags.more = !early.is_empty();
            let before = mem::take(&mut core.output);
            core.stream.set_layer(layer, early, before);
        }
    }
    Ok(Taken::One)
}

fn is_in_progress(error: &io::Error) -> bool {
    // A Unix socket whose backlog is full says WouldBlock, and reports nothing later.
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) {
        return true;
    }
    #[cfg(windows)]
    if error.kind() == io::ErrorKind::WouldBlock {
        return true;
    }
    false
}

/// The longest preamble that is waited for. A PROXY header of version 2 has at most this.
const PREAMBLE_MAX: usize = 16 + u16::MAX as usize;
