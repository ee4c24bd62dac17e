//! What a user of the reactor implements, and why connections end.

use std::fmt;
use std::io;

use super::io::{Io, Turn};
use super::stream::LayerPanicked;

/// Gets every event of the connections of one I/O thread.
///
/// There is one value per thread, called by that thread only, so it may own scratch buffers and
/// other state without locks. Callbacks must not block: they hold up all connections of the thread.
///
/// A turn of the thread: read all connections that are ready, open those that have arrived, call
/// [`woken`](Self::woken) for those that were woken, [`timer`](Self::timer) for those whose time
/// has come, and then [`turn_ended`](Self::turn_ended) once.
///
/// For each connection: [`open`](Self::open); any number of the others; [`closed`](Self::closed)
/// exactly once. After `close_when_flushed` or `abort` only `closed` follows. If a callback panics,
/// its connection is closed with [`CloseReason::Panic`] and the thread goes on; `closed` is called
/// next, before any other callback (for one in [`Turn::with`], when `turn_ended` returns), so that
/// a service can tidy up what its connections share.
#[allow(unused_variables, reason = "the names are for implementers")]
pub trait Service: Send + 'static {
    /// State of one connection.
    type Conn: Send;

    /// A connection has come. Refusing closes it at once, with no further callback.
    fn open(&mut self, io: &mut Io<'_>) -> Result<Self::Conn, Refuse>;

    /// Bytes have come. `input` is everything that has arrived and was not consumed, never empty.
    /// Returns how many bytes are consumed; the rest is kept, and offered again when more has come,
    /// when the input is resumed, or next turn after [`Io::offer_again`]. Not called while the
    /// input is paused.
    fn input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>, input: &[u8]) -> usize;

    /// The peer has closed, or half-closed: no more bytes will come. Called once, and also while
    /// the input is paused, then before what was read ahead has been offered. Unless the connection
    /// is closed here (the default), answers can still be written.
    fn end_of_input(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {
        io.close_when_flushed();
    }

    /// Somebody has called [`Waker::wake`](super::Waker::wake) with the connection's key.
    fn woken(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {}

    /// The time given to [`Io::set_timer`] has come. The timer is off now.
    fn timer(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {}

    /// The kernel has taken some of the output that had to wait, and the rest still waits.
    fn progress(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {}

    /// The kernel has taken all output, after some of it had to wait.
    fn drained(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {}

    /// The peer has acknowledged more of what [`Io::watch_receipt`] waits for, or that is over:
    /// [`Io::awaits_receipt`] says which.
    fn received(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {}

    /// The reactor drains: it accepts no more and would like the connections to end. The default
    /// does nothing; what is still open at the reactor's deadline is aborted.
    fn stopping(&mut self, conn: &mut Self::Conn, io: &mut Io<'_>) {}

    /// The connection is gone; its socket is closed already.
    fn closed(&mut self, conn: Self::Conn, reason: CloseReason) {}

    /// A connection that was asked for with [`Turn::connect`] could not be made, or did not get
    /// through the steps before it is opened, or was refused by `open`.
    fn connect_failed(&mut self, ticket: u64, reason: CloseReason) {}

    /// Everything that was ready has been handled. Here a service may finish what it has put off to
    /// do it once per turn, with the connections that it names.
    fn turn_ended(&mut self, turn: &mut Turn<'_, Self::Conn>) {}
}

/// Returned by [`Service::open`] to close the connection at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refuse;

impl From<Refuse> for CloseReason {
    fn from(_: Refuse) -> Self {
        Self::Refused
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended its stream, and then the connection was closed in order.
    PeerClosed,
    /// The service closed it; the kernel took all output.
    Closed,
    /// The service aborted it; what waited for the kernel is lost.
    Aborted,
    /// Reading or writing failed; most often `ConnectionReset` or `BrokenPipe`.
    Failed(io::ErrorKind),
    /// The peer did not accept enough output in time.
    WriteTimeout,
    /// The output could not be flushed before the deadline for closing.
    CloseTimeout,
    /// The service left more unconsumed than allowed.
    InputOverflow,
    /// Nothing went in either direction for too long.
    IdleTimeout,
    /// The peer did not send its first item in time.
    HandshakeTimeout,
    /// The peer sent what the codec cannot decode.
    InvalidInput,
    /// It was refused before it was opened.
    Refused,
    /// It was not connected, or the steps before it is opened were not done, in time.
    OpenTimeout,
    /// The service panicked in a callback for this connection, or its layer did.
    Panic,
    /// The reactor was stopped, and its deadline came first.
    Shutdown,
}

impl CloseReason {
    pub(super) fn of(error: &io::Error) -> Self {
        let panicked = error
            .get_ref()
            .is_some_and(|inner| inner.is::<LayerPanicked>());
        if panicked {
            Self::Panic
        } else {
            Self::Failed(error.kind())
        }
    }

    /// Whether something went wrong, and neither side has ended the connection as it may.
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Failed(_)
                | Self::WriteTimeout
                | Self::CloseTimeout
                | Self::InputOverflow
                | Self::Panic
        )
    }

    /// Whether the peer should be told by a reset that it has not got everything.
    pub(super) fn is_abortive(self) -> bool {
        matches!(
            self,
            Self::Aborted
                | Self::WriteTimeout
                | Self::CloseTimeout
                | Self::InputOverflow
                | Self::Panic
                | Self::Shutdown
        )
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerClosed => "closed by the peer",
            Self::Closed => "closed",
            Self::Aborted => "aborted",
            Self::Failed(kind) => return write!(f, "failed: {kind}"),
            Self::WriteTimeout => "the peer accepts no output",
            Self::CloseTimeout => "not flushed in time",
            Self::InputOverflow => "too much input that cannot be used",
            Self::IdleTimeout => "idle for too long",
            Self::HandshakeTimeout => "nothing was said in time",
            Self::InvalidInput => "invalid input",
            Self::Refused => "refused",
            Self::OpenTimeout => "not open in time",
            Self::Panic => "panic",
            Self::Shutdown => "shutdown",
        })
    }
}
