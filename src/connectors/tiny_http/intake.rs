//! A listener that outlives the library's accept thread, and reminds the library of connections
//! that it has forgotten.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use socket2::SockRef;
use tiny_http::{Request, Server};

use crate::counters::Counter;
use crate::util::from_here;

/// One listening socket and the library's servers on it.
pub(super) struct Intake {
    pub(super) address: SocketAddr,
    listener: TcpListener,
    state: Mutex<State>,
    changed: Condvar,
    pub(super) rebuilds: Counter,
}

struct State {
    /// The last one accepts; those before it failed, and still bring the requests of their
    /// connections. None: closed.
    servers: Vec<Arc<Server>>,
    /// Nudges that are to be made.
    due: usize,
    /// The latest peer at each place, by port: those were heard of before.
    known: Box<[Option<SocketAddr>]>,
}

impl Intake {
    /// Sets what accepted sockets inherit, and starts the library.
    pub(super) fn open(listener: TcpListener, write_timeout: Duration) -> io::Result<Self> {
        let socket = SockRef::from(&listener);
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(write_timeout))?;
        socket.set_tcp_nodelay(true)?;
        let servers = vec![Arc::new(serve(&listener)?)];
        let known = vec![None; KNOWN].into();
        Ok(Self {
            address: listener.local_addr()?,
            listener,
            state: Mutex::new(State {
                servers,
                due: 0,
                known,
            }),
            changed: Condvar::new(),
            rebuilds: Counter::default(),
        })
    }

    /// Waits for a request; `None` once this is closed.
    pub(super) fn next(&self) -> Option<Request> {
        loop {
            let servers = self.state.lock().servers.clone();
            let (current, former) = servers.split_last()?;
            if let Some(request) = former.iter().find_map(|old| old.try_recv().ok()?) {
                return Some(request);
            }
            match current.recv_timeout(if former.is_empty() { LOOK } else { SHORT_LOOK }) {
                Ok(Some(request)) => {
                    if let Some(peer) = request.remote_addr() {
                        self.heard_of(*peer);
                    }
                    return Some(request);
                }
                Ok(None) => {}
                Err(error) => self.rebuild(current, &error),
            }
        }
    }

    /// Starts the library anew on the same socket: after an accept error it accepts no more.
    fn rebuild(&self, failed: &Arc<Server>, error: &io::Error) {
        log::error!("accepting failed, starting again on the same socket: {error}");
        std::thread::park_timeout(BACK_OFF);
        let mut state = self.state.lock();
        if !state
            .servers
            .last()
            .is_some_and(|last| Arc::ptr_eq(last, failed))
        {
            return;
        }
        match serve(&self.listener) {
            Ok(server) => {
                let oldest = (state.servers.len() > FORMER).then(|| state.servers.remove(0));
                state.servers.push(Arc::new(server));
                self.rebuilds.one();
                drop(state);
                drop(oldest);
            }
            // The failed server has nothing more to say: the next look comes here again.
            Err(error) => log::error!("starting again failed: {error}"),
        }
    }

    /// A request has come from there; a new connection owes one nudge.
    fn heard_of(&self, peer: SocketAddr) {
        let mut state = self.state.lock();
        let known = &mut state.known[usize::from(peer.port()) % KNOWN];
        if known.replace(peer) != Some(peer) {
            state.due = MOST_DUE.min(state.due + 1);
            self.changed.notify_one();
        }
    }

    /// Makes the library look after connections that it has left in its queue, until the end.
    ///
    /// Its pool takes a thread for idle until that has woken up. So of connections that come at
    /// once more are queued than there are threads to take them, and those left over stay there
    /// until another connection ends, which may be never. A nudge is a connection that ends at
    /// once: its thread then takes one of them. One answers each connection whose first request
    /// comes in: whoever is freed sends a request, which frees the next. Those that stay silent
    /// would break that chain, so there is a nudge now and then in any case.
    pub(super) fn nudge(&self) {
        loop {
            let mut state = self.state.lock();
            let idle = |state: &mut State| state.due == 0 && !state.servers.is_empty();
            self.changed.wait_while_for(&mut state, idle, EVERY);
            if state.servers.is_empty() {
                return;
            }
            state.due = state.due.saturating_sub(1);
            drop(state);
            drop(TcpStream::connect_timeout(
                &from_here(self.address),
                PATIENCE,
            ));
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Takes no new connections and requests from now on.
    pub(super) fn close(&self) {
        let servers = std::mem::take(&mut self.state.lock().servers);
        self.changed.notify_all();
        drop(servers);
    }
}

fn serve(listener: &TcpListener) -> io::Result<Server> {
    Server::from_listener(listener.try_clone()?, None).map_err(io::Error::other)
}

/// How long a worker waits before it looks whether it is to stop; and the same while there are
/// former servers to be asked in between.
const LOOK: Duration = Duration::from_millis(200);
const SHORT_LOOK: Duration = Duration::from_millis(10);
/// The pause after an error, so that a lasting one does not spin.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Former servers kept at the most. With the oldest go connections that it may still have.
const FORMER: usize = 64;
/// The pause between nudges: at most 200 in a second, as each leaves a port behind that cannot be
/// used for a minute. Where more connections come in a second, some end too.
const PAUSE: Duration = Duration::from_millis(5);
/// Nudges that are due at the most: of two seconds.
const MOST_DUE: usize = 400;
/// How often there is a nudge in any case: a thousandth of a core.
const EVERY: Duration = Duration::from_millis(250);
/// A listener that does not accept in this time has others before it.
const PATIENCE: Duration = Duration::from_millis(100);
/// Peers known at a time. One that has been forgotten is taken for new, which costs a nudge.
const KNOWN: usize = 4096;
