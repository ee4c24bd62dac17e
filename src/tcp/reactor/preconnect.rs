//! What may happen to a connection before the service sees it: it is refused, a preamble is read
//! from it, or a layer is put under it.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::connection::Core;
use super::service::Refuse;
use super::stream::Layer;
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

/// A connection that the service has not seen yet.
pub struct Early<'a> {
    pub(super) core: &'a mut Core,
}

impl Early<'_> {
    /// Who is at the other end, as far as is known.
    pub fn peer_addr(&self) -> &Address {
        &self.core.peer
    }

    /// Replaces the address of the peer, as told by a proxy that is trusted.
    pub fn set_peer_addr(&mut self, peer: Address) {
        self.core.peer = peer;
    }

    /// The address of this end.
    pub fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::from_sock(&self.core.stream.socket().local_addr()?))
    }

    /// Which listener accepted it, by its position in the list given at the start; `None` for a
    /// connection that was made from here.
    pub fn listener(&self) -> Option<usize> {
        self.core.origin.listener()
    }

    /// Writes, for short answers only: what the kernel does not take at once is an error.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refuse> {
        match self.core.stream.write(bytes) {
            Ok(n) if n == bytes.len() => Ok(()),
            _ => Err(Refuse),
        }
    }
}

/// The steps, shared by all connections.
pub(super) type Steps = Arc<[Arc<dyn PreConnect>]>;

/// State of a connection on its way through the steps.
pub(super) struct Opening {
    pub(super) steps: Steps,
    pub(super) next: usize,
    pub(super) preamble: Option<Box<dyn Preamble>>,
}

impl Opening {
    /// `None` if there is nothing to do.
    pub(super) fn new(steps: &Steps) -> Option<Box<Self>> {
        if steps.is_empty() {
            return None;
        }
        Some(Box::new(Self {
            steps: Arc::clone(steps),
            next: 0,
            preamble: None,
        }))
    }
}
