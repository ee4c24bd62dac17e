//! The listener: `tiny_http` on a loopback address, with precautions.
//!
//! Its library may leave a connection waiting behind others that are kept open, ends its acceptor
//! at the first error or panics there without a word, and reserves memory for whatever length an
//! unread body declares. So each answer asks the client to close, a request to ourselves now and
//! then makes the library go on and shows that it does, the acceptor is replaced when it ends, and
//! requests with bodies go another way (see `unread`).
//! What a program on the same machine can still do is hold its own connections open; the public
//! listener has none of this.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use tiny_http::{Request, Server};

use super::routes::{Reply, reply};
use super::snapshot::Snapshot;
use super::unread::Unread;
use crate::clock::Clock;

/// Threads that answer. Two, so that a reader that stops does not hide the server's health.
const ANSWERERS: usize = 2;
/// Requests that wait for one of them; beyond these the clients wait in their connections.
const WAITING: usize = 32;
/// How long a client may take none of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before a new acceptor after an error: most often there are no files left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// After so long without a request one to ourselves makes the library look for connections that it
/// has accepted and left to threads that are not free.
const NUDGE: Duration = Duration::from_secs(1);
/// So many of these in a row that do not arrive mean that the acceptor is gone: it ends without an
/// error when it has taken the last file descriptor.
const LOST_NUDGES: u32 = 3;

/// Who knows the numbers.
pub trait Source: Send + Sync + 'static {
    /// Whether new clients are welcome: not while draining.
    fn is_ready(&self) -> bool;

    /// The numbers now. Called for each request of `/metrics`, from any thread; what the system
    /// says about the process is added by the caller.
    fn snapshot(&self) -> Snapshot;
}

/// A running operations listener. Stops when dropped, without waiting.
pub struct OpsListener {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Disconnected when the last thread has ended.
    ended: Receiver<()>,
}

struct Shared {
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    listener: TcpListener,
    /// Replaced when its acceptor ends.
    server: Mutex<Arc<Server>>,
    stopping: AtomicBool,
    unread: Unread,
}

impl OpsListener {
    /// Listens on an address, which must be of this machine only.
    pub fn start(
        address: SocketAddr,
        source: Arc<dyn Source>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            let message = format!("{address} is no loopback address");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = listen(address)?;
        let server = Mutex::new(Arc::new(accept_from(&listener)?));
        let address = listener.local_addr()?;
        let stopping = AtomicBool::new(false);
        let unread = Unread::default();
        let shared = Arc::new(Shared {
            source,
            clock,
            listener,
            server,
            stopping,
            unread,
        });
        let (running, ended) = bounded(0);
        let started = Self {
            address,
            shared,
            ended,
        };
        started.spawn_threads(&running)?;
        Ok(started)
    }

    /// Starts the threads; each holds a clone of `running` while it lives.
    fn spawn_threads(&self, running: &Sender<()>) -> io::Result<()> {
        let (requests, waiting) = bounded::<Request>(WAITING);
        let (shared, held) = (Arc::clone(&self.shared), running.clone());
        thread::Builder::new()
            .name("ops-receive".to_owned())
            .spawn(move || {
                shared.receive(&requests);
                drop(held);
            })?;
        for n in 0..ANSWERERS {
            let (shared, held) = (Arc::clone(&self.shared), running.clone());
            let waiting = waiting.clone();
            thread::Builder::new()
                .name(format!("ops-answer-{n}"))
                .spawn(move || {
                    for request in waiting {
                        shared.answer(request);
                    }
                    drop(held);
                })?;
        }
        Ok(())
    }

    /// The address; with the port that was taken if port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, and waits until the threads have ended, but no longer than this. Tells
    /// whether they have.
    pub fn stop(self, deadline: Duration) -> bool {
        self.shared.stop();
        self.ended.recv_timeout(deadline) == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
    }
}

impl Drop for OpsListener {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let server = Arc::clone(&self.server.lock());
        server.unblock();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Passes requests on until it is told to stop.
    fn receive(&self, requests: &Sender<Request>) {
        let mut lost = 0;
        while !self.is_stopping() {
            let server = Arc::clone(&self.server.lock());
            match server.recv_timeout(NUDGE) {
                Ok(Some(request)) => {
                    lost = 0;
                    if requests.send(request).is_err() {
                        return;
                    }
                }
                _ if self.is_stopping() => return,
                Ok(None) if lost < LOST_NUDGES => lost += u32::from(self.nudge()),
                Ok(None) => {
                    lost = 0;
                    self.replace_acceptor(&server, "nothing is accepted", requests);
                }
                Err(error) => self.replace_acceptor(&server, &error.to_string(), requests),
            }
        }
    }

    /// The library starts a thread for a connection when it sees none free. In a burst it sees some
    /// that are about to be taken, and the rest of the burst waits for these. A connection that
    /// comes later gets a new thread, which then takes what waits. Tells whether a request is on
    /// its way.
    fn nudge(&self) -> bool {
        let address = self.listener.local_addr();
        let stream = address.and_then(|at| TcpStream::connect_timeout(&at, ACCEPT_PAUSE));
        stream
            .and_then(|mut stream| stream.write_all(b"HEAD /healthz HTTP/1.0\r\n\r\n"))
            .is_ok()
    }

    /// The library's acceptor has ended: start another on the kept listener. What the old one has
    /// received is still answered.
    fn replace_acceptor(&self, old: &Server, error: &str, requests: &Sender<Request>) {
        log::warn!("operations listener: accept failed, starting anew: {error}");
        while let Ok(Some(request)) = old.try_recv() {
            let _ = requests.send(request);
        }
        while !self.is_stopping() {
            thread::park_timeout(ACCEPT_PAUSE);
            match accept_from(&self.listener) {
                Ok(server) => {
                    *self.server.lock() = Arc::new(server);
                    return;
                }
                Err(error) => log::debug!("operations listener: {error}"),
            }
        }
    }

    fn answer(&self, request: Request) {
        let Some(request) = self.unread.keep_if_read(request) else {
            return;
        };
        let head_only = request.method().as_str() == "HEAD";
        let reply = reply(request.method().as_str(), request.url(), &*self.source);
        let bytes = self.encode(&reply, head_only);
        let mut writer = request.into_writer();
        if let Err(error) = writer.write_all(&bytes).and_then(|()| writer.flush()) {
            log::debug!("operations listener: answer not written: {error}");
        }
    }

    /// The whole response. The library's own would leave out `Connection`.
    fn encode(&self, reply: &Reply, head_only: bool) -> Vec<u8> {
        let Reply {
            status,
            reason,
            headers,
            content_type,
            body,
        } = reply;
        let date = httpdate::fmt_http_date(self.clock.wall());
        let length = body.len();
        let mut bytes = format!(
            "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\n{headers}Connection: close\r\n\r\n"
        )
        .into_bytes();
        if !head_only {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }
}

/// Accepted connections inherit the socket's options, and the library gives no other way to them.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

fn accept_from(listener: &TcpListener) -> io::Result<Server> {
    Server::from_listener(listener.try_clone()?, None).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::clock::SystemClock;

    struct Nothing;

    impl Source for Nothing {
        fn is_ready(&self) -> bool {
            true
        }

        fn snapshot(&self) -> Snapshot {
            Snapshot::default()
        }
    }

    fn start() -> OpsListener {
        let address = "127.0.0.1:0".parse().unwrap();
        OpsListener::start(address, Arc::new(Nothing), Arc::new(SystemClock)).unwrap()
    }

    fn send(address: SocketAddr, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// The answer up to where its length says that it ends.
    fn read_answer(stream: &mut TcpStream, with_body: bool) -> String {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.split("Content-Length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                if !with_body || body.len() >= length {
                    return text.into_owned();
                }
            }
            let count = stream.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "closed after {text:?}");
            bytes.extend_from_slice(&buffer[..count]);
        }
    }

    fn get(address: SocketAddr, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        read_answer(&mut send(address, &request), true)
    }

    #[test]
    fn answers_over_a_socket() {
        let listener = start();
        let answer = get(listener.local_addr(), "/healthz");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        let request = "HEAD /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut rest = String::new();
        send(listener.local_addr(), request)
            .read_to_string(&mut rest)
            .unwrap();
        assert!(
            rest.contains("\r\nContent-Length: 6\r\n") && rest.ends_with("\r\n\r\n"),
            "{rest}"
        );
        assert!(get(listener.local_addr(), "/metrics").contains("# TYPE bayeux_sessions gauge\n"));
        assert!(listener.stop(Duration::from_secs(10)));
    }

    #[test]
    fn only_loopback() {
        let address = "0.0.0.0:0".parse().unwrap();
        let error = OpsListener::start(address, Arc::new(Nothing), Arc::new(SystemClock));
        assert_eq!(error.err().unwrap().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn many_at_once_are_all_answered() {
        let listener = start();
        let request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let mut streams: Vec<TcpStream> = (0..60)
            .map(|_| send(listener.local_addr(), request))
            .collect();
        for stream in streams.drain(..) {
            let mut stream = stream;
            assert!(read_answer(&mut stream, true).ends_with("ok\n"));
        }
    }

    #[test]
    fn bodies_do_no_harm() {
        let listener = start();
        let address = listener.local_addr();
        // Each keeps its connection open and never sends the body.
        let open = |head: &str| {
            send(
                address,
                &format!("POST /x HTTP/1.1\r\nHost: x\r\n{head}\r\n"),
            )
        };
        let huge = open("Content-Length: 200000000000000\r\n");
        let mut waiting: Vec<TcpStream> =
            (0..3).map(|_| open("Content-Length: 5000\r\n")).collect();
        let mut expecting = open("Content-Length: 10\r\nExpect: 100-continue\r\n");
        for stream in &mut waiting {
            assert!(read_answer(stream, false).starts_with("HTTP/1.1 413 "));
        }
        assert!(read_answer(&mut expecting, false).starts_with("HTTP/1.1 413 "));
        let mut chunked = open("Transfer-Encoding: chunked\r\n");
        assert!(read_answer(&mut chunked, true).starts_with("HTTP/1.1 405 "));
        assert!(get(address, "/healthz").ends_with("ok\n"));
        drop(huge);
        assert!(listener.stop(Duration::from_secs(10)));
    }

    #[test]
    fn another_acceptor_takes_over() {
        let listener = start();
        let shared = &listener.shared;
        let old = Arc::clone(&shared.server.lock());
        let (requests, _waiting) = bounded(1);
        shared.replace_acceptor(&old, "no files left", &requests);
        assert!(!Arc::ptr_eq(&old, &shared.server.lock()));
        drop(old);
        // The receiver may still wait for the old one, whose acceptor may still take a connection.
        let request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        let answered = (0..100).any(|_| {
            let mut stream = send(listener.local_addr(), request);
            stream
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            stream.read(&mut [0; 16]).is_ok_and(|count| count == 16)
        });
        assert!(answered);
        assert!(listener.stop(Duration::from_secs(10)));
    }

    /// Waking the receiver without a request is what the end of its patience looks like to it.
    #[test]
    fn idleness_changes_nothing() {
        let listener = start();
        let server = || Arc::clone(&listener.shared.server.lock());
        let first = server();
        for _ in 0..2 {
            first.unblock();
            assert!(get(listener.local_addr(), "/healthz").ends_with("ok\n"));
        }
        assert!(Arc::ptr_eq(&first, &server()));
    }

    #[test]
    fn an_acceptor_that_loses_requests_is_replaced() {
        let listener = start();
        let shared = &listener.shared;
        // The receiver now looks where nothing arrives; what it sends itself goes to the old one.
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let deaf = Arc::new(accept_from(&elsewhere).unwrap());
        let old = std::mem::replace(&mut *shared.server.lock(), Arc::clone(&deaf));
        old.unblock();
        let replaced = (0..1000).any(|_| {
            deaf.unblock();
            thread::park_timeout(Duration::from_millis(10));
            !Arc::ptr_eq(&deaf, &shared.server.lock())
        });
        assert!(replaced);
        // The receiver may have been gone before it could be woken: then that is still there.
        let next = || old.recv_timeout(Duration::from_secs(10)).unwrap();
        let nudge = next().or_else(next).unwrap();
        assert_eq!((nudge.method().as_str(), nudge.url()), ("HEAD", "/healthz"));
    }

    #[test]
    fn dropped_it_ends_too() {
        let listener = start();
        let ended = listener.ended.clone();
        drop(listener);
        let ended = ended.recv_timeout(Duration::from_secs(10));
        assert!(ended.is_err_and(|error| error.is_disconnected()));
    }

    #[test]
    fn a_stop_tells_that_somebody_is_still_answering() {
        struct Stuck(Sender<()>, Receiver<()>);
        impl Source for Stuck {
            fn is_ready(&self) -> bool {
                true
            }
            fn snapshot(&self) -> Snapshot {
                let _ = self.0.send(());
                let _ = self.1.recv();
                Snapshot::default()
            }
        }
        let (entered, asked) = bounded(1);
        let (leave, left) = bounded(0);
        let source = Arc::new(Stuck(entered, left));
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = OpsListener::start(address, source, Arc::new(SystemClock)).unwrap();
        let _asking = send(
            listener.local_addr(),
            "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        );
        asked.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(!listener.stop(Duration::from_millis(1)));
        drop(leave);
    }

    #[test]
    fn the_port_is_free_after_a_stop() {
        let listener = start();
        let address = listener.local_addr();
        assert!(get(address, "/healthz").ends_with("ok\n"));
        assert!(listener.stop(Duration::from_secs(10)));
        // The library's acceptor ends on its own, a moment later.
        let free = (0..200).any(|_| {
            thread::park_timeout(Duration::from_millis(20));
            listen(address).is_ok()
        });
        assert!(free);
    }
}
