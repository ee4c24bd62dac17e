//! A line-driven handler, a server of it, and a client end for the tests of `tcp`.

pub(crate) mod probe;

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use bayeux::tcp::codec::{DecodeError, LineDecoder, LineEncoder};
use bayeux::tcp::reactor::{CloseReason, Stats};
use bayeux::tcp::{
    Address, ClientHandler, Connection, Context, Handler, ListenOptions, Listener, Server,
    ServerConfig,
};

pub(crate) use crate::common::wait::PATIENCE;
use crate::common::wait::{NEVER, until_numbers};

/// What a [`Talker`] reports to its test.
#[derive(Debug)]
pub(crate) enum Seen {
    Connected(Connection<String>, Address),
    Input(String),
    Invalid(DecodeError),
    End,
    #[allow(dead_code, reason = "shown where a test wants another")]
    Message(String),
    Timer(u32),
    Flushed,
    High,
    Low,
    Stopping,
    Disconnected(CloseReason),
}

/// Answers lines according to their first word.
pub(crate) struct Talker {
    seen: Sender<Seen>,
    count: usize,
}

impl Talker {
    pub(crate) fn new(seen: &Sender<Seen>) -> Self {
        Self {
            seen: seen.clone(),
            count: 0,
        }
    }

    fn see(&self, what: Seen) {
        let _ = self.seen.send(what);
    }
}

impl Handler for Talker {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = String;

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        (LineDecoder::new(1000), LineEncoder::default())
    }

    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        self.see(Seen::Connected(ctx.connection(), ctx.peer_addr().clone()));
    }

    fn input(&mut self, line: String, ctx: &mut Context<'_, Self>) {
        self.count += 1;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let number = rest.parse().unwrap_or(0);
        match verb {
            "count" => ctx.send(&self.count.to_string()).unwrap(),
            "quit" => {
                ctx.send("bye").unwrap();
                ctx.shutdown();
                assert!(ctx.send("too late").is_err());
            }
            "block" => ctx.send(&"x".repeat(number)).unwrap(),
            "abort" => ctx.abort(),
            "panic" => panic!("as the test wants it"),
            "pause" => ctx.pause_input(),
            "timer" => ctx.set_timer(number as u32, Duration::from_millis(number as u64)),
            "finish" => ctx.shutdown_output(),
            "flush" => ctx.notify_when_flushed(),
            "tell" => {
                let all = ctx.connections().unwrap().clone();
                all.broadcast_except(ctx.id(), &rest.to_owned());
            }
            _ => ctx.send(&line).unwrap(),
        }
        self.see(Seen::Input(line));
    }

    fn invalid_input(&mut self, error: DecodeError, ctx: &mut Context<'_, Self>) {
        ctx.send(&format!("error: {error}")).unwrap();
        self.see(Seen::Invalid(error));
    }

    fn end_of_input(&mut self, ctx: &mut Context<'_, Self>) {
        self.see(Seen::End);
        ctx.shutdown();
    }

    fn message(&mut self, message: String, ctx: &mut Context<'_, Self>) {
        if message == "resume" {
            ctx.resume_input();
        } else {
            let _ = ctx.send(&message);
        }
        self.see(Seen::Message(message));
    }

    fn timer(&mut self, timer: u32, _ctx: &mut Context<'_, Self>) {
        self.see(Seen::Timer(timer));
    }

    fn flushed(&mut self, _ctx: &mut Context<'_, Self>) {
        self.see(Seen::Flushed);
    }

    fn high_water(&mut self, _ctx: &mut Context<'_, Self>) {
        self.see(Seen::High);
    }

    fn low_water(&mut self, _ctx: &mut Context<'_, Self>) {
        self.see(Seen::Low);
    }

    fn stopping(&mut self, _ctx: &mut Context<'_, Self>) {
        self.see(Seen::Stopping);
    }

    fn disconnected(&mut self, reason: CloseReason) {
        self.see(Seen::Disconnected(reason));
    }
}

/// A server of talkers on a port of the system's choice.
pub(crate) struct World {
    pub(crate) server: Server<String>,
    pub(crate) seen: Receiver<Seen>,
    pub(crate) address: SocketAddr,
}

impl World {
    pub(crate) fn new(adjust: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::default();
        config.reactor.threads = 2;
        config.reactor.write_timeout = Some(NEVER);
        config.reactor.close_timeout = NEVER;
        config.reactor.pre_connect_timeout = NEVER;
        adjust(&mut config);
        let (seen, receiver) = mpsc::channel();
        let server = serve(&config, move |_peer| Talker::new(&seen));
        let address = server.local_addrs()[0].inet().unwrap();
        Self {
            server,
            seen: receiver,
            address,
        }
    }

    pub(crate) fn connect(&self) -> Peer {
        Peer::connect(self.address)
    }

    pub(crate) fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits for a connection and returns its handle.
    pub(crate) fn connected(&self) -> Connection<String> {
        loop {
            if let Seen::Connected(connection, _) = self.next() {
                return connection;
            }
        }
    }

    /// Waits for the end of a connection and returns its reason.
    pub(crate) fn disconnected(&self) -> CloseReason {
        loop {
            if let Seen::Disconnected(reason) = self.next() {
                return reason;
            }
        }
    }

    /// Nothing happens for a moment.
    pub(crate) fn is_quiet(&self) -> bool {
        self.seen.recv_timeout(Duration::from_millis(50)).is_err()
    }

    pub(crate) fn wait_for(&self, what: &str, condition: impl FnMut(&Stats) -> bool) {
        wait_for(&self.server, what, condition);
    }
}

/// Waits until the numbers of a server are as they should be.
pub(crate) fn wait_for<M: Send + 'static>(
    server: &Server<M>,
    what: &str,
    condition: impl FnMut(&Stats) -> bool,
) {
    until_numbers(what, || server.stats(), condition);
}

pub(crate) fn serve<H, F>(config: &ServerConfig, make: F) -> Server<H::Message>
where
    H: Handler,
    F: Fn(&Address) -> H + Send + Sync + 'static,
{
    Server::start(config, vec![listener()], make).unwrap()
}

pub(crate) fn listener() -> Listener {
    Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap()
}

/// Whether the machine lacks IPv6, by the system's own word. That the test is skipped is told past
/// the capture of output, in a line that `tests/run` counts.
pub(crate) fn is_without_ipv6(test: &str) -> bool {
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => return false,
        Err(error) => assert!(
            matches!(
                error.kind(),
                ErrorKind::AddrNotAvailable | ErrorKind::Unsupported
            ) || error.raw_os_error() == Some(NO_SUCH_FAMILY),
            "{error}"
        ),
    }
    let line = format!("\nskipped: {test}: this machine has no IPv6\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
    true
}

/// EAFNOSUPPORT, which has no kind.
const NO_SUCH_FAMILY: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };

/// The other end of a connection.
pub(crate) struct Peer {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Peer {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends in two pieces, the second when the server has read the first, so that it reads them
    /// one by one. Nobody else may be sending.
    pub(crate) fn send_cut<M: Send + 'static>(
        &mut self,
        server: &Server<M>,
        stream: &[u8],
        cut: usize,
    ) {
        let before = server.stats().bytes_in;
        self.send(&stream[..cut]);
        wait_for(server, "the first piece", |stats| {
            // More if a layer reads again what was read ahead of it.
            stats.bytes_in >= before + cut as u64
        });
        self.send(&stream[cut..]);
    }

    /// The next line, without its end, which must be CRLF.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.strip_suffix("\r\n")
            .unwrap_or_else(|| panic!("no whole line: {line:?}"))
            .to_owned()
    }

    /// Everything up to the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }

    /// Whether nothing comes for a moment.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let stream = self.socket();
        stream
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let quiet = stream.peek(&mut [0]).is_err();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        quiet
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::Socket::from(self.stream.into_inner());
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl ClientHandler for Talker {}
