//! The way of a connection to the service: accepted or connected, through the steps before it is
//! opened, to `Service::open`.

use std::fmt;
use std::io;
use std::mem;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use socket2::Socket;

use super::accept::Accepted;
use super::connection::{Core, Entry, Origin, Phase};
use super::events::{Outcome, catch_panic};
use super::io::{Connect, Io};
use super::poll::{Interest, Source};
use super::service::{CloseReason, Refuse, Service};
use super::slab::slot_of;
use super::stream::{Layer, Stream};
use super::thread::Thread;
use crate::tcp::Address;

/// A step that every connection goes through before it is opened. Steps are taken in the order in
/// which they are configured, all within one deadline. A connection that is refused, or that takes
/// too long, is closed without any callback of the service.
///
/// Called on the I/O thread, so it must not block.
pub trait PreConnect: Send + Sync + 'static {
    /// Decides what to do with a new connection.
    fn start(&self, connection: &mut Early<'_>) -> Result<Step, Refuse>;
}

impl fmt::Debug for dyn PreConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreConnect")
    }
}

/// What a [`PreConnect`] wants.
pub enum Step {
    /// Nothing more; the next step, or the service.
    Pass,
    /// Something is to be read first.
    Read(Box<dyn Preamble>),
    /// The bytes are transformed from here on. The next step begins when the layer's handshake is
    /// over. A connection can have one layer.
    Layer(Box<dyn Layer>),
}

/// Reads the beginning of a connection.
pub trait Preamble: Send {
    /// `input` is all that has come and was not consumed, never empty.
    fn input(&mut self, connection: &mut Early<'_>, input: &[u8]) -> Result<Progress, Refuse>;
}

/// How far a [`Preamble`] has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It needs more than this.
    More,
    /// It is complete, and this many bytes long. What follows belongs to the next step.
    Done(usize),
}

/// A connection that the service has not seen yet. What only asks, such as [`Io::peer_addr`], is
/// asked of the [`Io`] that it dereferences to.
pub struct Early<'a> {
    io: Io<'a>,
}

impl<'a> Deref for Early<'a> {
    type Target = Io<'a>;

    fn deref(&self) -> &Io<'a> {
        &self.io
    }
}

impl Early<'_> {
    /// Replaces the address of the peer, as told by a proxy that is trusted.
    pub fn set_peer_addr(&mut self, peer: Address) {
        self.io.core.peer = peer;
    }

    /// Writes, for short answers only: what the kernel does not take at once is an error.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refuse> {
        match self.io.core.stream.write(bytes) {
            Ok(n) if n == bytes.len() => Ok(()),
            _ => Err(Refuse),
        }
    }
}

/// The steps, shared by all connections.
pub(super) type Steps = Arc<[Arc<dyn PreConnect>]>;

/// State of a connection on its way through the steps.
pub(super) struct Opening {
    steps: Steps,
    next: usize,
    preamble: Option<Box<dyn Preamble>>,
}

impl<S: Service> Thread<S> {
    /// A connection has been accepted.
    pub(super) fn arrive(&mut self, accepted: Accepted) {
        let origin = Origin::Accepted {
            listener: accepted.listener,
            _permit: accepted.permit,
        };
        let (steps, interest) = (Arc::clone(&self.steps), Interest::READ);
        match self.adopt(accepted.socket, accepted.peer, origin, &steps, interest) {
            Ok(mut entry) => {
                let outcome = self.begin_opening(&mut entry);
                self.put_back(entry, outcome);
            }
            Err((error, origin)) => {
                log::warn!("an accepted connection is lost: {error}");
                self.count_lost();
                drop(origin);
            }
        }
    }

    /// An accepted connection does not become one of this thread.
    pub(super) fn count_lost(&self) {
        self.mailbox.counters.failed.one();
        self.mailbox.connections.fetch_sub(1, Ordering::Relaxed);
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
        let socket = address.new_socket()?;
        socket.set_nonblocking(true)?;
        options.stream.set(&socket, &address)?;
        if let Some(local) = &options.bind {
            socket.bind(&local.to_sock()?)?;
        }
        let pending = match socket.connect(&address.to_sock()?) {
            Ok(()) => false,
            Err(error) if is_in_progress(&error) => true,
            Err(error) => return Err(error),
        };
        let origin = Origin::Connected { ticket };
        let interest = if pending {
            Interest::WRITE
        } else {
            Interest::READ
        };
        let adopted = self.adopt(socket, address, origin, &options.pre_connect, interest);
        let mut entry = adopted.map_err(|(error, _origin)| error)?;
        let mut outcome = Ok(());
        if pending {
            entry.core.phase = Phase::Connecting;
            entry.core.close_deadline = self.env.after(timeout);
        } else {
            outcome = self.begin_opening(&mut entry);
        }
        self.put_back(entry, outcome);
        Ok(())
    }

    fn adopt(
        &mut self,
        socket: Socket,
        peer: Address,
        origin: Origin,
        steps: &Steps,
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
                let mut core = Core::new(Stream::new(source), key, peer, origin);
                if !steps.is_empty() {
                    core.opening = Some(Box::new(Opening {
                        steps: Arc::clone(steps),
                        next: 0,
                        preamble: None,
                    }));
                }
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
        if entry.core.opening.is_some() {
            entry.core.phase = Phase::Opening;
            entry.core.close_deadline = self.env.after(self.env.config.pre_connect_timeout);
        }
        self.take_steps(entry)
    }

    /// Input has come, or can be written, on the way through the steps.
    pub(super) fn opening_ready(&mut self, entry: &mut Entry<S::Conn>, readable: bool) -> Outcome {
        let core = &mut entry.core;
        if core.stream.unsent() > 0 {
            core.flush(&mut self.env)?;
        }
        if readable {
            match core.receive(&mut self.env, &mut self.scratch)? {
                Some(0) => return Err(CloseReason::PeerClosed),
                Some(n) => core.input.extend_from_slice(&self.scratch[..n]),
                None => {}
            }
        }
        self.take_steps(entry)
    }

    /// Takes as many steps as can be taken with what has come, and opens the connection after the
    /// last.
    fn take_steps(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        let (core, env) = (&mut entry.core, &mut self.env);
        while let Some(mut opening) = core.opening.take() {
            if core.stream.is_handshaking() {
                core.flush(env)?;
                core.opening = Some(opening);
                return Ok(());
            }
            if let Some(preamble) = &mut opening.preamble {
                let mut input = mem::take(&mut core.input);
                let io = Io { core, env };
                let progress = match input.is_empty() {
                    true => Progress::More,
                    false => catch_panic(|| preamble.input(&mut Early { io }, &input))??,
                };
                if let Progress::Done(n) = progress {
                    input.drain(..n.min(input.len()));
                    opening.preamble = None;
                } else if input.len() > PREAMBLE_MAX {
                    return Err(CloseReason::Refused);
                }
                core.input = input;
                core.opening = Some(opening);
                if progress == Progress::More {
                    return Ok(());
                }
            } else if let Some(step) = opening.steps.get(opening.next) {
                opening.next += 1;
                let io = Io { core, env };
                match catch_panic(|| step.start(&mut Early { io }))?? {
                    Step::Pass => {}
                    Step::Read(preamble) => opening.preamble = Some(preamble),
                    Step::Layer(layer) => {
                        let early = mem::take(&mut core.input);
                        core.begin_layer(layer, early).map_err(|error| {
                            log::error!("a step wants a layer: {error}");
                            CloseReason::Refused
                        })?;
                    }
                }
                core.opening = Some(opening);
            }
        }
        self.open(entry)
    }

    fn open(&mut self, entry: &mut Entry<S::Conn>) -> Outcome {
        let Entry { core, conn } = entry;
        core.phase = Phase::Open;
        core.close_deadline = 0;
        let (service, env) = (&mut self.service, &mut self.env);
        let mut io = Io { core, env };
        self.calls += 1;
        *conn = Some(catch_panic(|| service.open(&mut io))??);
        self.mailbox.counters.opened.one();
        core.flags.more = core.stream.is_layered();
        if self.draining {
            self.tell_stopping(entry)?;
        }
        if !entry.core.input.is_empty() && !entry.core.flags.paused {
            return self.offer(entry, 0);
        }
        Ok(())
    }

    /// A connection ends that the service never had.
    pub(super) fn never_opened(&mut self, origin: &Origin, phase: Phase, reason: CloseReason) {
        if let Origin::Connected { ticket } = origin {
            return self.tell_connect_failed(*ticket, reason);
        }
        let counters = &self.mailbox.counters;
        let counter = match reason {
            CloseReason::Refused if phase == Phase::Opening => &counters.refused_early,
            CloseReason::Refused => &counters.refused_by_service,
            CloseReason::OpenTimeout => &counters.open_timeouts,
            _ => &counters.failed,
        };
        counter.one();
    }

    fn tell_connect_failed(&mut self, ticket: u64, reason: CloseReason) {
        self.calls += 1;
        let service = &mut self.service;
        if catch_panic(|| service.connect_failed(ticket, reason)).is_err() {
            self.mailbox.counters.panics.one();
        }
    }
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
