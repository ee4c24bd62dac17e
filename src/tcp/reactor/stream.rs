//! A connection's socket, and what may lie between it and the service.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};

use socket2::Socket;

use super::poll::{Source, unacknowledged};
use crate::tcp::codec::Tail;

/// Something between the socket and the service that changes the bytes on their way, as TLS does.
///
/// All calls must return at once; [`io::ErrorKind::WouldBlock`] says that the socket has no more to
/// give, or takes no more. Any other error ends the connection, and so does a panic of a call that
/// is given the [`Wire`]; the questions must not panic.
pub trait Layer: Send {
    /// Reads what has arrived, transformed. 0 is the orderly end of the peer's stream.
    fn read(&mut self, wire: &mut Wire<'_>, buffer: &mut [u8]) -> io::Result<usize>;

    /// Takes bytes to send and tells how many it took; `WouldBlock` when it can take none.
    fn write(&mut self, wire: &mut Wire<'_>, bytes: &[u8]) -> io::Result<usize>;

    /// Sends what it holds. Called when the socket can take more.
    fn flush(&mut self, wire: &mut Wire<'_>) -> io::Result<()>;

    /// About how many bytes it holds that the socket has not taken: 0 only when the socket has
    /// taken the last byte. They count as waiting to be written.
    fn unsent(&self) -> usize;

    /// Whether the connection is not ready for the service yet, because a handshake goes on.
    fn is_handshaking(&self) -> bool;

    /// No more will be written: adds whatever ends the stream, without waiting.
    fn finish(&mut self, wire: &mut Wire<'_>) -> io::Result<()>;
}

/// The socket as a [`Layer`] sees it. Never blocks.
pub struct Wire<'a> {
    socket: &'a Socket,
    /// Bytes that were read before the layer came; they are read first.
    early: &'a mut Vec<u8>,
    /// What comes first and belongs to something before the layer.
    tail: &'a mut Tail,
    /// Bytes that were written before the layer came; they go out first.
    before: &'a mut Output,
    /// How many bytes the socket has taken.
    sent: &'a mut u64,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let skipped = self.tail.skip(self.early);
        self.early.drain(..skipped);
        if self.early.is_empty() {
            *self.early = Vec::new();
            return self.receive(buffer);
        }
        let n = buffer.len().min(self.early.len());
        buffer[..n].copy_from_slice(&self.early[..n]);
        self.early.drain(..n);
        Ok(n)
    }
}

impl Wire<'_> {
    /// Reads from the socket, once; if all of it is to be skipped, `WouldBlock`.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = receive(self.socket, buffer)?;
        let skipped = self.tail.skip(&buffer[..n]);
        if skipped > 0 && skipped == n {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer.copy_within(skipped..n, 0);
        Ok(n - skipped)
    }

    /// Sends what was written before the layer came; until that has gone, `WouldBlock`.
    fn send_before(&mut self) -> io::Result<()> {
        while !self.before.is_empty() {
            let n = send(self.socket, self.before.bytes())?;
            self.before.consume(n);
            *self.sent += n as u64;
        }
        Ok(())
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_before()?;
        let n = send(self.socket, bytes)?;
        *self.sent += n as u64;
        Ok(n)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_before()?;
        let n = send_vectored(self.socket, slices)?;
        *self.sent += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) struct Stream {
    source: Source,
    layered: Option<Box<Layered>>,
}

struct Layered {
    layer: Box<dyn Layer>,
    early: Vec<u8>,
    tail: Tail,
    before: Output,
    /// Bytes that the socket has taken and nobody has asked for yet.
    sent: u64,
}

/// What a panic of a layer is turned into; its connection ends with `CloseReason::Panic`.
#[derive(Debug)]
pub(super) struct LayerPanicked;

impl fmt::Display for LayerPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a layer panicked")
    }
}

impl Error for LayerPanicked {}

impl Stream {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            layered: None,
        }
    }

    pub(super) fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    pub(super) fn socket(&self) -> &Socket {
        self.source.socket()
    }

    /// Bytes that the socket has taken and the peer has not acknowledged.
    pub(super) fn unacknowledged(&self) -> u64 {
        unacknowledged(self.socket())
    }

    /// Puts a layer between the socket and the service. `early` are bytes that have been read and
    /// belong to it, `before` bytes that have been written and do not.
    pub(super) fn set_layer(&mut self, layer: Box<dyn Layer>, early: Vec<u8>, before: Output) {
        self.layered = Some(Box::new(Layered {
            layer,
            early,
            tail: Tail::None,
            before,
            sent: 0,
        }));
    }

    /// What comes first is not for the layer.
    pub(super) fn skip_early(&mut self, tail: Tail) {
        if let Some(layered) = &mut self.layered {
            layered.tail = tail;
        }
    }

    /// Gives the layer more that has been read and belongs to it.
    pub(super) fn push_early(&mut self, bytes: &[u8]) {
        if let Some(layered) = &mut self.layered {
            layered.early.extend_from_slice(bytes);
        }
    }

    /// Whether bytes may wait here although the socket has none, so that reading must go on until
    /// `WouldBlock`.
    pub(super) fn is_layered(&self) -> bool {
        self.layered.is_some()
    }

    pub(super) fn is_handshaking(&self) -> bool {
        let layered = self.layered.as_ref();
        layered.is_some_and(|l| l.layer.is_handshaking())
    }

    /// About how many bytes the layer holds that the socket could take, and what has to go before.
    pub(super) fn unsent(&self) -> usize {
        let unsent = |l: &Layered| l.before.len() + l.layer.unsent();
        self.layered.as_deref().map_or(0, unsent)
    }

    /// How many bytes the socket has taken since this was asked, where `written` were taken here.
    pub(super) fn take_sent(&mut self, written: usize) -> u64 {
        match &mut self.layered {
            None => written as u64,
            Some(layered) => mem::take(&mut layered.sent),
        }
    }

    /// Calls the layer, if there is one, with the socket as it may see it. If it panics, that is an
    /// error, which ends the connection.
    fn through_layer<R>(
        &mut self,
        work: impl FnOnce(&mut dyn Layer, &mut Wire<'_>) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        let layered = self.layered.as_deref_mut()?;
        let mut wire = Wire {
            socket: self.source.socket(),
            early: &mut layered.early,
            tail: &mut layered.tail,
            before: &mut layered.before,
            sent: &mut layered.sent,
        };
        let layer = &mut *layered.layer;
        let result = catch_unwind(AssertUnwindSafe(|| work(layer, &mut wire)));
        Some(result.unwrap_or_else(|_| Err(io::Error::other(LayerPanicked))))
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.through_layer(|layer, wire| layer.read(wire, buffer)) {
            Some(read) => read,
            None => receive(self.source.socket(), buffer),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.through_layer(|layer, wire| layer.write(wire, bytes)) {
            Some(written) => written,
            None => send(self.source.socket(), bytes),
        }
    }

    pub(super) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let [bytes] = slices {
            return self.write(bytes);
        }
        if !self.is_layered() {
            return send_vectored(self.source.socket(), slices);
        }
        let mut written = 0;
        for slice in slices {
            match self.write(slice) {
                Ok(n) if n < slice.len() => return Ok(written + n),
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && written > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let flushed = self.through_layer(|layer, wire| {
            wire.send_before()?;
            layer.flush(wire)
        });
        flushed.unwrap_or(Ok(()))
    }

    /// Tells the layer that this was all; what it adds may have to be flushed.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let finished = self.through_layer(|layer, wire| layer.finish(wire));
        finished.unwrap_or(Ok(()))
    }

    pub(super) fn shutdown_write(&self) {
        // Fails only if the peer has gone, which shows elsewhere.
        let _ = self.source.socket().shutdown(Shutdown::Write);
    }
}

/// Bytes that the kernel has not taken yet. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    start: usize,
}

impl Output {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // Move the rest to the front when that costs less than what has gone out since.
        if self.start > self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `n` bytes have gone.
    pub(super) fn consume(&mut self, n: usize) {
        assert!(n <= self.len());
        self.start += n;
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
    }
}

fn receive(mut socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    socket.read(buffer)
}

fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    socket.send_with_flags(bytes, NO_SIGNAL)
}

fn send_vectored(socket: &Socket, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // More in one call are an error.
    let slices = &slices[..slices.len().min(SLICES_MAX)];
    socket.send_vectored_with_flags(slices, NO_SIGNAL)
}

/// A peer that has gone must be an error, not a signal that ends the process. Where there is no
/// such flag, it is an option of the socket, which `socket2` sets, or there is no such signal.
#[cfg(all(unix, not(target_vendor = "apple")))]
const NO_SIGNAL: i32 = rustix::net::SendFlags::NOSIGNAL.bits() as i32;
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
const NO_SIGNAL: i32 = 0;
/// IOV_MAX is 1024 on every system in use, and at least 16.
const SLICES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_no_memory_when_empty() {
        let mut output = Output::default();
        let mut expected = Vec::new();
        for round in 0..100_u8 {
            let bytes = vec![round; usize::from(round) * 7 % 50];
            output.push(&bytes);
            expected.extend_from_slice(&bytes);
            let gone = usize::from(round) * 5 % (expected.len() + 1);
            output.consume(gone);
            expected.drain(..gone);
            assert_eq!(output.bytes(), expected);
            assert_eq!(output.is_empty(), expected.is_empty());
        }
        output.consume(output.len());
        assert_eq!(output.bytes.capacity(), 0);
    }
}
