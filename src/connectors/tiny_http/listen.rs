//! A listener that outlives the library's accept thread.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::SockRef;
use tiny_http::{Request, Server};

use super::knocker::Knocker;

/// One listening socket and the library's server on it. After an accept error the library accepts
/// no more, so a new server is started on the same socket. The connections of the old one still
/// send their requests to it, so it is kept and asked too.
pub(super) struct Intake {
    listener: TcpListener,
    knocker: Knocker,
    state: Mutex<State>,
}

struct State {
    /// The server that accepts; none when closed.
    current: Option<Arc<Server>>,
    /// Those that accepted before.
    former: Arc<[Arc<Server>]>,
    rebuilds: u64,
}

/// What a worker gets.
pub(super) enum Received {
    Request(Request),
    /// The library failed and has been started anew.
    Rebuilt,
    /// Look again.
    Nothing,
    Closed,
}

/// How long a worker waits before it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(200);
/// The same while there are former servers to be asked in between.
const SHORT_LOOK: Duration = Duration::from_millis(10);
/// The pause after an error, so that a lasting one does not spin.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Former servers kept at the most. The oldest is given up, and with it connections that it may
/// still have.
const FORMER: usize = 64;

impl Intake {
    /// Sets what accepted sockets inherit, and starts the library.
    pub(super) fn open(listener: TcpListener, write_timeout: Duration) -> io::Result<Self> {
        let socket = SockRef::from(&listener);
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(write_timeout))?;
        socket.set_tcp_nodelay(true)?;
        let current = Some(Arc::new(serve(&listener)?));
        let state = State {
            current,
            former: Arc::default(),
            rebuilds: 0,
        };
        Ok(Self {
            knocker: Knocker::new(&listener)?,
            listener,
            state: Mutex::new(state),
        })
    }

    /// Waits a little for a request.
    pub(super) fn receive(&self) -> Received {
        let (current, former, rebuilds) = {
            let state = self.state.lock();
            let Some(current) = &state.current else {
                return Received::Closed;
            };
            (
                Arc::clone(current),
                Arc::clone(&state.former),
                state.rebuilds,
            )
        };
        for server in former.iter() {
            if let Ok(Some(request)) = server.try_recv() {
                return Received::Request(request);
            }
        }
        match current.recv_timeout(if former.is_empty() { LOOK } else { SHORT_LOOK }) {
            Ok(Some(request)) => {
                if let Some(peer) = request.remote_addr() {
                    self.knocker.heard_of(*peer);
                }
                Received::Request(request)
            }
            Ok(None) => Received::Nothing,
            Err(error) => self.rebuild(rebuilds, &error),
        }
    }

    /// Reminds the library of connections that it has queued, until this is closed.
    pub(super) fn knock(&self) {
        self.knocker.run();
    }

    /// Starts the library anew, once for each failure.
    fn rebuild(&self, seen: u64, error: &io::Error) -> Received {
        log::error!("accepting failed, starting again on the same socket: {error}");
        std::thread::park_timeout(BACK_OFF);
        let mut state = self.state.lock();
        if state.rebuilds != seen {
            return Received::Nothing;
        }
        let Some(failed) = state.current.clone() else {
            return Received::Closed;
        };
        match serve(&self.listener) {
            Ok(server) => {
                let first = (state.former.len() + 1).saturating_sub(FORMER);
                let kept = state.former.iter().skip(first).cloned().chain([failed]);
                state.former = kept.collect();
                state.current = Some(Arc::new(server));
                state.rebuilds += 1;
                Received::Rebuilt
            }
            // The failed server has nothing more to say: the next look comes here again.
            Err(error) => {
                log::error!("starting again failed: {error}");
                Received::Nothing
            }
        }
    }

    /// Takes no new connections and requests from now on.
    pub(super) fn close(&self) {
        self.knocker.stop();
        let (current, former) = {
            let mut state = self.state.lock();
            (state.current.take(), std::mem::take(&mut state.former))
        };
        drop((current, former));
    }
}

fn serve(listener: &TcpListener) -> io::Result<Server> {
    Server::from_listener(listener.try_clone()?, None).map_err(io::Error::other)
}
