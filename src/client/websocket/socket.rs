//! The connection: HTTP until the upgrade, then frames.

use std::sync::{Arc, Weak};

use tungstenite::client::IntoClientRequest as _;
use tungstenite::error::CapacityError;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::{ClientHandshake, Request, Response, generate_key};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message as Frame, WebSocket};
use ureq::http::header;

use super::super::carrier::Receiver;
use super::super::error::Failure;
use super::super::machine::Lane;
use super::super::peer::{Peer, USER_AGENT, retry_after};
use super::super::wire;
use super::link::Link;
use super::pipe::Pipe;
use crate::tcp::client::{ConnectError, Retry};
use crate::tcp::codec::Bytes;
use crate::tcp::reactor::CloseReason;
use crate::tcp::{ClientHandler, Context, Handler, SendError};

/// What the lanes ask of it.
pub(super) enum Command {
    /// To be sent as one message as soon as that is possible.
    Send(Batch),
    /// The closing handshake.
    Close,
}

/// What a lane sends in one exchange.
pub(super) struct Batch {
    pub(super) lane: Lane,
    /// Of the exchange.
    pub(super) number: u64,
    pub(super) body: String,
}

/// See the module.
pub(super) struct Socket {
    peer: Arc<Peer>,
    link: Arc<Link>,
    receiver: Weak<dyn Receiver>,
    phase: Phase,
    /// Batches that wait for the upgrade, at most one of each lane.
    waiting: Vec<Batch>,
}

enum Phase {
    Connecting,
    Upgrading(Box<MidHandshake<ClientHandshake<Pipe>>>),
    Open(Box<WebSocket<Pipe>>),
    Over,
}

impl Socket {
    pub(super) fn new(peer: Arc<Peer>, link: Arc<Link>, receiver: Weak<dyn Receiver>) -> Self {
        Self {
            peer,
            link,
            receiver,
            phase: Phase::Connecting,
            waiting: Vec::new(),
        }
    }

    /// Goes on with the upgrade.
    fn upgrade(
        &mut self,
        result: Result<MidHandshake<ClientHandshake<Pipe>>, Error>,
        ctx: &mut Context<'_, Self>,
    ) {
        let done = result
            .map_err(HandshakeError::Failure)
            .and_then(MidHandshake::handshake);
        match done {
            Ok((socket, response)) => self.open(socket, &response, ctx),
            Err(HandshakeError::Interrupted(mut pending)) => {
                let request = pending.get_mut().get_mut().drain();
                self.phase = Phase::Upgrading(Box::new(pending));
                if ctx.send_bytes(&request).is_err() {
                    ctx.abort();
                }
            }
            Err(HandshakeError::Failure(error)) => {
                let failure = self.refused(&error);
                self.end(failure, ctx);
            }
        }
    }

    fn open(&mut self, socket: WebSocket<Pipe>, response: &Response, ctx: &mut Context<'_, Self>) {
        self.peer.keep_cookies(response.headers());
        ctx.cancel_timer(UPGRADE);
        self.phase = Phase::Open(Box::new(socket));
        self.link.opened();
        for batch in std::mem::take(&mut self.waiting) {
            self.send(batch, ctx);
        }
        self.read(ctx);
    }

    /// What it means for the lanes.
    fn refused(&self, error: &Error) -> Failure {
        let (why, retry_after) = match error {
            Error::Http(response) => {
                self.peer.keep_cookies(response.headers());
                let why = format!("HTTP status {}", response.status().as_u16());
                (why, retry_after(response.headers()))
            }
            other => (other.to_string(), None),
        };
        Failure::Upgrade { why, retry_after }
    }

    fn send(&mut self, batch: Batch, ctx: &mut Context<'_, Self>) {
        let Phase::Open(socket) = &mut self.phase else {
            return;
        };
        if !self.link.sends(batch.lane, batch.number) {
            return;
        }
        match socket.send(Frame::text(batch.body)) {
            Ok(()) => self.flush(ctx),
            Err(error) => self.fail(CloseCode::Error, Failure::Protocol(error.to_string()), ctx),
        }
    }

    /// Takes all whole messages that have come.
    fn read(&mut self, ctx: &mut Context<'_, Self>) {
        while let Phase::Open(socket) = &mut self.phase {
            match socket.read() {
                Ok(Frame::Text(text)) => self.deliver(text.as_str(), ctx),
                Ok(Frame::Close(frame)) => return self.closed(frame, ctx),
                Ok(Frame::Binary(_)) => {
                    let why = Failure::NotBayeux("a binary message".into());
                    return self.fail(CloseCode::Unsupported, why, ctx);
                }
                Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)) => {}
                Err(Error::Io(_)) => break,
                Err(error) => {
                    let (code, failure) = self.broken(&error);
                    return self.fail(code, failure, ctx);
                }
            }
        }
        // Pongs, which reading has written.
        self.flush(ctx);
    }

    fn deliver(&mut self, text: &str, ctx: &mut Context<'_, Self>) {
        let messages = match wire::decode(text.as_bytes()) {
            Ok(messages) => messages,
            Err(failure) => return self.fail(CloseCode::Invalid, failure, ctx),
        };
        match self.receiver.upgrade() {
            Some(receiver) => {
                receiver.receive(&messages);
                self.link.received(&messages);
            }
            // Nobody is left to hear it.
            None => ctx.abort(),
        }
    }

    /// The server has closed it; the library has written the answer.
    fn closed(&mut self, frame: Option<CloseFrame>, ctx: &mut Context<'_, Self>) {
        let failure = Failure::Closed {
            code: frame.as_ref().map(|frame| frame.code.into()),
            reason: frame.map_or(String::new(), |frame| frame.reason.as_str().into()),
        };
        if let Phase::Open(socket) = &mut self.phase {
            // Into memory: it cannot fail.
            let _ = socket.flush();
        }
        self.flush(ctx);
        self.end(failure, ctx);
    }

    fn broken(&self, error: &Error) -> (CloseCode, Failure) {
        let limit = self.peer.max_response;
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                (CloseCode::Size, Failure::TooLarge { limit })
            }
            Error::Utf8(_) => (CloseCode::Invalid, Failure::Protocol(error.to_string())),
            _ => (CloseCode::Protocol, Failure::Protocol(error.to_string())),
        }
    }

    /// Closes it with a word to the server.
    fn fail(&mut self, code: CloseCode, failure: Failure, ctx: &mut Context<'_, Self>) {
        self.say_goodbye(code, ctx);
        self.end(failure, ctx);
    }

    fn say_goodbye(&mut self, code: CloseCode, ctx: &mut Context<'_, Self>) {
        if let Phase::Open(socket) = &mut self.phase {
            let reason = "".into();
            // Into memory: it fails only where the library thinks that it was said already.
            let _ = socket.close(Some(CloseFrame { code, reason }));
            self.flush(ctx);
        }
    }

    fn end(&mut self, failure: Failure, ctx: &mut Context<'_, Self>) {
        self.phase = Phase::Over;
        self.link.end(failure);
        ctx.shutdown();
    }

    /// Hands what the library has written to the connection. Behind a large message that is still
    /// on its way it waits until that has left.
    fn flush(&mut self, ctx: &mut Context<'_, Self>) {
        let Phase::Open(socket) = &mut self.phase else {
            return;
        };
        let pipe = socket.get_mut();
        let bytes = pipe.drain();
        if bytes.is_empty() {
            return;
        }
        match ctx.send_bytes(&bytes) {
            Err(SendError::Full { limit, .. }) if bytes.len() <= limit => {
                pipe.put_back(bytes);
                ctx.notify_when_flushed();
            }
            // More than that: a server that floods us with pings and takes no answers.
            Err(_) => ctx.abort(),
            Ok(()) => {}
        }
    }
}

impl Handler for Socket {
    type Decoder = Bytes;
    type Encoder = Bytes;
    type Message = Command;

    fn codec(&mut self) -> (Bytes, Bytes) {
        (Bytes, Bytes)
    }

    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        ctx.set_timer(UPGRADE, self.peer.network_timeout);
        let request = request(&self.peer);
        let limit = usize::try_from(self.peer.max_response).unwrap_or(usize::MAX);
        let config = WebSocketConfig::default()
            .read_buffer_size(4 << 10)
            .write_buffer_size(0)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let begun = request
            .and_then(|request| ClientHandshake::start(Pipe::default(), request, Some(config)));
        self.upgrade(begun, ctx);
    }

    fn input(&mut self, bytes: Vec<u8>, ctx: &mut Context<'_, Self>) {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Upgrading(mut pending) => {
                pending.get_mut().get_mut().feed(&bytes);
                self.upgrade(Ok(*pending), ctx);
            }
            Phase::Open(mut socket) => {
                socket.get_mut().feed(&bytes);
                self.phase = Phase::Open(socket);
                self.read(ctx);
            }
            other => self.phase = other,
        }
    }

    fn message(&mut self, command: Command, ctx: &mut Context<'_, Self>) {
        match (command, &self.phase) {
            (Command::Send(batch), Phase::Open(_)) => self.send(batch, ctx),
            (Command::Send(batch), _) => {
                // Its lane has given up what it sent before.
                self.waiting.retain(|other| other.lane != batch.lane);
                self.waiting.push(batch);
            }
            (Command::Close, _) => {
                self.say_goodbye(CloseCode::Normal, ctx);
                self.phase = Phase::Over;
                ctx.shutdown();
            }
        }
    }

    fn flushed(&mut self, ctx: &mut Context<'_, Self>) {
        self.flush(ctx);
    }

    fn timer(&mut self, _: u32, ctx: &mut Context<'_, Self>) {
        let failure = self.refused(&Error::Io(std::io::ErrorKind::TimedOut.into()));
        self.end(failure, ctx);
        ctx.abort();
    }

    fn disconnected(&mut self, reason: CloseReason) {
        let kind = match reason {
            CloseReason::Failed(kind) => kind,
            CloseReason::WriteTimeout => std::io::ErrorKind::TimedOut,
            _ => std::io::ErrorKind::UnexpectedEof,
        };
        self.link.end(match self.phase {
            Phase::Open(_) | Phase::Over => Failure::Io(kind, reason.to_string()),
            Phase::Connecting | Phase::Upgrading(_) => {
                let (why, retry_after) = (reason.to_string(), None);
                Failure::Upgrade { why, retry_after }
            }
        });
    }
}

impl ClientHandler for Socket {
    fn connect_failed(&mut self, error: &ConnectError) -> Retry {
        self.link.end(Failure::Connect(error.to_string()));
        Retry::Never
    }

    fn after_disconnect(&mut self, _: CloseReason) -> Retry {
        Retry::Never
    }
}

fn request(peer: &Peer) -> Result<Request, Error> {
    let mut request = peer.endpoint.websocket().into_client_request()?;
    let headers = request.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_KEY, generate_key().parse()?);
    headers.insert(
        header::USER_AGENT,
        header::HeaderValue::from_static(USER_AGENT),
    );
    if let Some(cookies) = peer.cookies() {
        headers.insert(header::COOKIE, cookies.parse()?);
    }
    for (name, value) in &peer.headers {
        headers.insert(name, value.clone());
    }
    Ok(request)
}

/// The timer of the upgrade.
const UPGRADE: u32 = 0;
