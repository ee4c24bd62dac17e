//! The connection: HTTP until the upgrade, then frames.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tungstenite::client::IntoClientRequest as _;
use tungstenite::error::CapacityError;
use tungstenite::handshake::HandshakeError;
use tungstenite::handshake::MidHandshake;
use tungstenite::handshake::client::{self, ClientHandshake, Response, generate_key};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message as Frame, WebSocket};
use ureq::http::header;

use super::super::error::Failure;
use super::super::model::Request;
use super::super::peer::{Peer, USER_AGENT, retry_after, told};
use super::super::wire;
use super::Owner;
use crate::tcp::client::{ConnectError, Retry};
use crate::tcp::codec::Bytes;
use crate::tcp::reactor::{CloseReason, WriteError};
use crate::tcp::{ClientHandler, Context, Handler, SendError};

/// What the client asks of it.
pub(super) enum Command {
    /// To be sent as one message as soon as that is possible.
    Send(Request),
    /// The closing handshake.
    Close,
}

/// See the module.
pub(super) struct Socket {
    peer: Arc<Peer>,
    number: u64,
    open: Arc<AtomicBool>,
    owner: Weak<dyn Owner>,
    phase: Phase,
    /// Requests that wait for the upgrade, those that were given up meanwhile among them.
    waiting: Vec<Request>,
}

enum Phase {
    Connecting,
    Upgrading(Box<MidHandshake<ClientHandshake<Pipe>>>),
    Open(Box<WebSocket<Pipe>>),
    Over,
}

impl Socket {
    pub(super) fn new(
        peer: Arc<Peer>,
        number: u64,
        open: Arc<AtomicBool>,
        owner: Weak<dyn Owner>,
    ) -> Self {
        Self {
            peer,
            number,
            open,
            owner,
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
                self.end(&failure, ctx);
            }
        }
    }

    fn open(&mut self, socket: WebSocket<Pipe>, response: &Response, ctx: &mut Context<'_, Self>) {
        self.peer.keep_cookies(response.headers());
        ctx.cancel_timer(UPGRADE);
        self.phase = Phase::Open(Box::new(socket));
        self.open.store(true, Ordering::Release);
        if let Some(owner) = self.owner.upgrade() {
            owner.opened(self.number);
        }
        for request in std::mem::take(&mut self.waiting) {
            self.send(request, ctx);
        }
        self.read(ctx);
    }

    /// What the upgrade came to instead.
    fn refused(&self, error: &Error) -> Failure {
        let (why, retry_after) = match error {
            Error::Http(response) => {
                self.peer.keep_cookies(response.headers());
                let headers = response.headers();
                let refused = Failure::Status {
                    code: response.status().as_u16(),
                    text: told(headers, response.body().as_deref().unwrap_or_default()),
                    retry_after: None,
                };
                (refused.to_string(), retry_after(headers))
            }
            other => (other.to_string(), None),
        };
        Failure::Upgrade { why, retry_after }
    }

    fn send(&mut self, request: Request, ctx: &mut Context<'_, Self>) {
        let Phase::Open(socket) = &mut self.phase else {
            return;
        };
        let owner = self.owner.upgrade();
        if !owner.is_some_and(|owner| owner.departs(request.number)) {
            return;
        }
        match socket.send(Frame::text(request.body)) {
            Ok(()) => self.flush(ctx),
            Err(error) => self.fail(CloseCode::Error, &Failure::Protocol(error.to_string()), ctx),
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
                    return self.fail(CloseCode::Unsupported, &why, ctx);
                }
                Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)) => {}
                Err(Error::Io(_)) => break,
                Err(error) => {
                    let (code, failure) = self.broken(&error);
                    return self.fail(code, &failure, ctx);
                }
            }
        }
        // Pongs, which reading has written.
        self.flush(ctx);
    }

    fn deliver(&mut self, text: &str, ctx: &mut Context<'_, Self>) {
        let messages = match wire::decode(text.as_bytes()) {
            Ok(messages) => messages,
            Err(failure) => return self.fail(CloseCode::Invalid, &failure, ctx),
        };
        match self.owner.upgrade() {
            Some(owner) => owner.received(&messages),
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
        self.end(&failure, ctx);
    }

    fn broken(&self, error: &Error) -> (CloseCode, Failure) {
        let limit = self.peer.options.max_response;
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                (CloseCode::Size, Failure::TooLarge { limit })
            }
            Error::Utf8(_) => (CloseCode::Invalid, Failure::Protocol(error.to_string())),
            _ => (CloseCode::Protocol, Failure::Protocol(error.to_string())),
        }
    }

    /// Closes it with a word to the server.
    fn fail(&mut self, code: CloseCode, failure: &Failure, ctx: &mut Context<'_, Self>) {
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

    fn end(&mut self, failure: &Failure, ctx: &mut Context<'_, Self>) {
        self.over(failure);
        self.phase = Phase::Over;
        ctx.shutdown();
    }

    fn over(&self, failure: &Failure) {
        self.open.store(false, Ordering::Release);
        if let Some(owner) = self.owner.upgrade() {
            owner.closed(self.number, failure);
        }
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
            Err(SendError::Write(WriteError::Full { limit, .. })) if bytes.len() <= limit => {
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
        ctx.set_timer(UPGRADE, self.peer.options.network_timeout);
        let request = request(&self.peer);
        let limit = usize::try_from(self.peer.options.max_response).unwrap_or(usize::MAX);
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
            (Command::Send(request), Phase::Open(_)) => self.send(request, ctx),
            (Command::Send(request), _) => self.waiting.push(request),
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
        let failure = self.refused(&Error::Io(io::ErrorKind::TimedOut.into()));
        self.end(&failure, ctx);
        ctx.abort();
    }

    fn disconnected(&mut self, reason: CloseReason) {
        let kind = match reason {
            CloseReason::Failed(kind) => kind,
            CloseReason::WriteTimeout => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::UnexpectedEof,
        };
        let why = reason.to_string();
        self.over(&match self.phase {
            Phase::Open(_) | Phase::Over => Failure::Io(kind, why),
            Phase::Connecting | Phase::Upgrading(_) => Failure::Upgrade {
                why,
                retry_after: None,
            },
        });
    }
}

impl ClientHandler for Socket {
    fn connect_failed(&mut self, error: &ConnectError) -> Retry {
        self.over(&Failure::Connect(error.to_string()));
        Retry::Never
    }

    fn after_disconnect(&mut self, _: CloseReason) -> Retry {
        Retry::Never
    }
}

fn request(peer: &Peer) -> Result<client::Request, Error> {
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
    for (name, value) in &peer.options.headers {
        headers.insert(name, value.clone());
    }
    Ok(request)
}

/// The timer of the upgrade.
const UPGRADE: u32 = 0;

/// Bytes between a connection that others read and write, and a protocol that wants to do so
/// itself: what came and was not read, and what was written and has not left.
#[derive(Debug, Default)]
struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl Pipe {
    /// These came.
    fn feed(&mut self, bytes: &[u8]) {
        self.incoming.extend(bytes);
    }

    /// What is to leave.
    fn drain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// It could not leave: it comes before what is written from now on.
    fn put_back(&mut self, bytes: Vec<u8>) {
        let later = std::mem::replace(&mut self.outgoing, bytes);
        self.outgoing.extend(later);
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            // A large message leaves a large buffer, of which an idle connection has no use.
            self.incoming = VecDeque::new();
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_there_is_not_the_end() {
        let mut pipe = Pipe::default();
        let mut buffer = [0; 4];
        let empty = |result: io::Result<usize>| result.unwrap_err().kind();
        assert_eq!(empty(pipe.read(&mut buffer)), io::ErrorKind::WouldBlock);
        pipe.feed(b"abcde");
        assert_eq!(pipe.read(&mut buffer).unwrap(), 4);
        assert_eq!(pipe.read(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], b'e');
        assert_eq!(empty(pipe.read(&mut buffer)), io::ErrorKind::WouldBlock);
        pipe.write_all(b"xy").unwrap();
        assert_eq!(pipe.drain(), b"xy");
        pipe.write_all(b"z").unwrap();
        pipe.put_back(b"xy".to_vec());
        assert_eq!(pipe.drain(), b"xyz");
        assert_eq!(pipe.drain(), b"");
    }
}
