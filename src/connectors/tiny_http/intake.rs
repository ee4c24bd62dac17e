//! A listener that outlives the library's accept thread, and reminds the library of connections
//! that it has forgotten.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::park_timeout;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use socket2::SockRef;
use tiny_http::{Request, Server};

use crate::util::from_here;

/// One listening socket and the library's servers on it.
pub(super) struct Intake {
    pub(super) address: SocketAddr,
    listener: TcpListener,
    /// The last one accepts; those before it failed, and still bring the requests of their
    /// connections. None: closed.
    servers: Mutex<Vec<Arc<Server>>>,
    /// The latest peer at each place, by port: those were heard of before.
    known: Mutex<Box<[Option<SocketAddr>]>>,
    /// Held from waiting for a request until the request has its turn.
    pub(super) order: Mutex<()>,
    /// Nudges that are to be made.
    due: (Sender<()>, Receiver<()>),
}

impl Intake {
    /// Sets what accepted sockets inherit, and starts the library.
    pub(super) fn open(listener: TcpListener, write_timeout: Duration) -> io::Result<Self> {
        let socket = SockRef::from(&listener);
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(write_timeout))?;
        socket.set_tcp_nodelay(true)?;
        Ok(Self {
            address: listener.local_addr()?,
            servers: Mutex::new(vec![serve(&listener)?]),
            listener,
            known: Mutex::new(vec![None; KNOWN].into()),
            order: Mutex::default(),
            due: bounded(MOST_DUE),
        })
    }

    /// Waits for a request; `None` once this is closed.
    pub(super) fn next(&self) -> Option<Request> {
        loop {
            let servers = self.servers.lock().clone();
            let (current, former) = servers.split_last()?;
            if let Some(request) = former.iter().find_map(|old| old.try_recv().ok()?) {
                return Some(request);
            }
            match current.recv_timeout(if former.is_empty() { LOOK } else { LOOK / 20 }) {
                Ok(Some(request)) => {
                    self.heard_of(request.remote_addr());
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
        park_timeout(LOOK); // so that a lasting one does not spin
        let mut servers = self.servers.lock();
        if !servers.last().is_some_and(|last| Arc::ptr_eq(last, failed)) {
            return;
        }
        match serve(&self.listener) {
            Ok(server) => {
                let oldest = (servers.len() > FORMER).then(|| servers.remove(0));
                servers.push(server);
                drop(servers);
                drop(oldest);
            }
            // The failed server has nothing more to say: the next look comes here again.
            Err(error) => log::error!("starting again failed: {error}"),
        }
    }

    /// A request has come from there; a new connection owes one nudge.
    fn heard_of(&self, peer: Option<&SocketAddr>) {
        let Some(&peer) = peer else { return };
        let known = &mut self.known.lock()[usize::from(peer.port()) % KNOWN];
        if known.replace(peer) != Some(peer) {
            let _many_already = self.due.0.try_send(());
        }
    }

    /// Makes the library look after connections that it has left in its queue, until the end.
    ///
    /// Its pool takes a thread for idle until that has woken up. So of connections that come at
    /// once more are queued than there are threads, and the rest stay there until another ends. A
    /// nudge is a connection that ends at once: its thread then takes one of them. There is one for
    /// each new connection that sends a request, and now and then one for those that are silent.
    pub(super) fn nudge(&self) {
        loop {
            let _due_or_not = self.due.1.recv_timeout(EVERY);
            if self.servers.lock().is_empty() {
                return;
            }
            drop(TcpStream::connect_timeout(&from_here(self.address), EVERY));
            park_timeout(PAUSE);
        }
    }

    /// Takes no new connections and requests from now on.
    pub(super) fn close(&self) {
        let servers = std::mem::take(&mut *self.servers.lock());
        drop(servers);
    }
}

fn serve(listener: &TcpListener) -> io::Result<Arc<Server>> {
    let server = Server::from_listener(listener.try_clone()?, None);
    server.map(Arc::new).map_err(io::Error::other)
}

/// How long a worker waits before it looks whether it is to stop; shorter while former servers are
/// to be asked in between.
const LOOK: Duration = Duration::from_millis(200);
/// Former servers kept at the most. With the oldest go connections that it may still have.
const FORMER: usize = 64;
/// The pause between nudges: at most 200 in a second, as each leaves a port behind that cannot be
/// used for a minute. Where more connections come in a second, some end too.
const PAUSE: Duration = Duration::from_millis(5);
/// Nudges that are due at the most: of two seconds.
const MOST_DUE: usize = 400;
/// How often there is a nudge in any case: a thousandth of a core. A listener that does not accept
/// it in this time has others before it.
const EVERY: Duration = Duration::from_millis(250);
/// Peers known at a time. One that has been forgotten is taken for new, which costs a nudge.
const KNOWN: usize = 4096;
