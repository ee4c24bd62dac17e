//! A connection of `tcp`: greeting, frames in, frames out.

use std::sync::Arc;

use super::NodeInner;
use crate::link::error::LinkEnd;
use crate::link::hello::{Channel, Handshake};
use crate::link::key::Role;
use crate::link::wire::{self, Frame};
use crate::link::{Event, LinkId, TlsFailure};
use crate::tcp::client::{ConnectError, Retry};
use crate::tcp::codec::{Bytes, DecodeError, Endian, LengthDelimited};
use crate::tcp::reactor::CloseReason;
use crate::tcp::{ClientHandler, Context, Handler};

/// What a connection is told by others.
pub(crate) enum Order {
    /// The router has output for it.
    Flush,
    /// It is to end, for that reason.
    Close(LinkEnd),
}

/// Runs one connection, or those of an outgoing link that follow each other.
pub(super) struct LinkConnection {
    inner: Arc<NodeInner>,
    role: Role,
    /// Whom it has called, or who has called.
    address: String,
    phase: Phase,
    /// What is under the present connection, if the node wants that.
    channel: Option<Arc<Channel>>,
    /// Why it is being closed, if it was this end that decided so.
    end: Option<LinkEnd>,
}

enum Phase {
    Closed,
    Greeting(Box<Handshake>),
    Up(LinkId),
}

/// The timer for hello and proof.
const HELLO: u32 = 0;
/// Bytes that may wait for the kernel before more is taken from the router.
const AHEAD: usize = 256 << 10;

impl LinkConnection {
    pub(super) fn new(inner: &Arc<NodeInner>, role: Role, address: String) -> Self {
        Self {
            inner: Arc::clone(inner),
            role,
            address,
            phase: Phase::Closed,
            channel: None,
            end: None,
        }
    }

    /// Puts under the connection what the node wants there.
    fn secure(&self, ctx: &mut Context<'_, Self>) -> Result<Option<Arc<Channel>>, TlsFailure> {
        let Some(security) = &self.inner.identity.security else {
            return Ok(None);
        };
        let (layer, channel) = security.begin(self.role, &self.address)?;
        ctx.set_layer(layer)
            .map_err(|error| TlsFailure::Failed(error.to_string()))?;
        Ok(Some(channel))
    }

    fn greeted(&mut self, frame: &[u8], ctx: &mut Context<'_, Self>) {
        let Phase::Greeting(handshake) = &mut self.phase else {
            return;
        };
        let (bytes, peer) = match handshake.frame(frame) {
            Ok(progress) => progress,
            Err(end) => return self.close(end, ctx),
        };
        if !bytes.is_empty() {
            send(ctx, &bytes);
        }
        let Some(peer) = peer else {
            return;
        };
        ctx.cancel_timer(HELLO);
        ctx.set_decoder(decoder(self.inner.limits.max_frame()));
        let link = self.inner.add_link(ctx.connection());
        if let Err(end) = self.inner.with(|router| router.link_up(link, peer)) {
            self.inner.remove_link(link);
            return self.close(end, ctx);
        }
        self.phase = Phase::Up(link);
        self.flush(ctx);
    }

    /// Gives what the router has for the peer to the kernel.
    fn flush(&mut self, ctx: &mut Context<'_, Self>) {
        let Phase::Up(link) = self.phase else {
            return;
        };
        if ctx.pending_write() >= AHEAD {
            return ctx.notify_when_flushed();
        }
        let output = self.inner.with(|router| router.take_output(link));
        if !output.is_empty() {
            send(ctx, &output);
        }
    }

    /// Ends the connection, and says why.
    fn close(&mut self, end: LinkEnd, ctx: &mut Context<'_, Self>) {
        if !matches!(end, LinkEnd::Bye(_) | LinkEnd::Silent | LinkEnd::Overflow) {
            let reason = match &end {
                LinkEnd::Closed => "shut down".to_owned(),
                end => end.to_string(),
            };
            send(ctx, &wire::encoded(&Frame::Bye { reason }));
        }
        // In the middle of its handshake a layer takes nothing.
        let is_ready = self
            .channel
            .as_ref()
            .is_none_or(|channel| channel.session.get().is_some());
        let gentle = is_ready && !matches!(end, LinkEnd::Silent | LinkEnd::Overflow);
        self.end.get_or_insert(end);
        if gentle {
            ctx.shutdown();
        } else {
            ctx.abort();
        }
    }

    fn ended(&mut self, reason: CloseReason) {
        let failure = self
            .channel
            .take()
            .and_then(|channel| channel.failure.get().cloned());
        let end = self.end.take().or(failure.map(LinkEnd::Tls));
        let end = end.unwrap_or(LinkEnd::Connection(reason));
        match std::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Up(link) => {
                self.inner.remove_link(link);
                self.inner.with(|router| router.link_down(link, end));
            }
            Phase::Greeting(_) => self.failed(end),
            Phase::Closed => {}
        }
    }

    fn failed(&self, reason: LinkEnd) {
        let address = self.address.clone();
        self.inner
            .with(|router| router.tell(|| Event::LinkFailed { address, reason }));
    }

    fn again(&self) -> Retry {
        match self.inner.with(|router| router.is_stopped()) {
            true => Retry::Never,
            false => Retry::Backoff,
        }
    }
}

fn decoder(max: usize) -> LengthDelimited {
    LengthDelimited::new(wire::PREFIX, Endian::Big, max)
}

fn send(ctx: &mut Context<'_, LinkConnection>, bytes: &[u8]) {
    // The write buffer has no end; a closed connection needs nothing.
    if let Err(error) = ctx.send_bytes(bytes) {
        log::debug!("a link did not take its output: {error}");
    }
}

impl Handler for LinkConnection {
    type Decoder = LengthDelimited;
    type Encoder = Bytes;
    type Message = Order;

    fn codec(&mut self) -> (LengthDelimited, Bytes) {
        (decoder(wire::MAX_EARLY), Bytes)
    }

    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        let mut nonce = [0; 32];
        if getrandom::fill(&mut nonce).is_err() {
            // Without a nonce nobody could be told from a recording.
            return ctx.abort();
        }
        let mut handshake = Handshake::new(self.role, &self.inner.identity, nonce);
        let hello = handshake.hello();
        self.end = None;
        self.channel = None;
        match self.secure(ctx) {
            Ok(Some(channel)) => {
                handshake.set_channel(Arc::clone(&channel));
                self.channel = Some(channel);
            }
            Ok(None) => {}
            Err(failure) => self.end = Some(LinkEnd::Tls(failure)),
        }
        self.phase = Phase::Greeting(Box::new(handshake));
        if self.end.is_some() {
            return ctx.abort();
        }
        // Waits for the layer to be ready, and the time runs for both.
        send(ctx, &hello);
        ctx.set_timer(HELLO, self.inner.limits.hello_timeout);
    }

    fn input(&mut self, frame: Vec<u8>, ctx: &mut Context<'_, Self>) {
        match self.phase {
            Phase::Up(link) => {
                if let Err(end) = self.inner.with(|router| router.frame(link, &frame)) {
                    self.close(end, ctx);
                }
            }
            _ => self.greeted(&frame, ctx),
        }
    }

    fn invalid_input(&mut self, error: DecodeError, ctx: &mut Context<'_, Self>) {
        self.close(LinkEnd::protocol(error), ctx);
    }

    fn message(&mut self, order: Order, ctx: &mut Context<'_, Self>) {
        match order {
            Order::Flush => self.flush(ctx),
            Order::Close(end) => {
                self.flush(ctx);
                self.close(end, ctx);
            }
        }
    }

    fn timer(&mut self, _timer: u32, ctx: &mut Context<'_, Self>) {
        self.close(LinkEnd::NoHello, ctx);
    }

    fn flushed(&mut self, ctx: &mut Context<'_, Self>) {
        self.flush(ctx);
    }

    fn stopping(&mut self, ctx: &mut Context<'_, Self>) {
        self.flush(ctx);
        self.close(LinkEnd::Closed, ctx);
    }

    fn disconnected(&mut self, reason: CloseReason) {
        self.ended(reason);
    }
}

impl ClientHandler for LinkConnection {
    fn connect_failed(&mut self, error: &ConnectError) -> Retry {
        self.failed(match error {
            ConnectError::Failed { reason, .. } => LinkEnd::Connection(*reason),
            error => LinkEnd::Resolve(error.to_string()),
        });
        self.again()
    }

    fn after_disconnect(&mut self, _reason: CloseReason) -> Retry {
        self.again()
    }
}
