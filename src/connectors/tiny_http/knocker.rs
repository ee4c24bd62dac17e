//! Knocks at our own door, so that the library looks after all who wait there.
//!
//! The library's pool takes a thread for idle until it has woken up. So of connections that come
//! at once more are queued than there are threads to take them, and those left over stay in the
//! queue until another connection ends, which may be never. A connection that ends at once frees
//! them as well: its thread then takes one of them.
//!
//! One such knock answers each connection whose first request comes in. Whoever is freed sends a
//! request, which frees the next, until nobody is left. Those that stay silent would break that
//! chain, so there is a knock now and then in any case.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

pub(super) struct Knocker {
    door: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// Knocks that are to be made.
    due: usize,
    /// The latest peer at each place, by port: those were heard of before.
    known: Box<[Option<SocketAddr>]>,
    stopped: bool,
}

/// Knocks without a pause in between, and the pause: at most 200 in a second, as each leaves a
/// port behind that cannot be used for a minute. Where more come in a second, some end too.
const AT_A_TIME: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);
/// Knocks that are due at the most: of two seconds.
const MOST: usize = 400;
/// How often there is a knock in any case: a thousandth of a core.
const EVERY: Duration = Duration::from_millis(250);
/// A door that is not opened in this time has others before it.
const PATIENCE: Duration = Duration::from_millis(100);
/// Peers known at a time. One that has been forgotten is taken for new, which costs a knock.
const KNOWN: usize = 4096;

impl Knocker {
    pub(super) fn new(listener: &TcpListener) -> io::Result<Self> {
        let mut door = listener.local_addr()?;
        if door.ip().is_unspecified() {
            door.set_ip(match door {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        Ok(Self {
            door,
            state: Mutex::new(State {
                due: 0,
                known: vec![None; KNOWN].into(),
                stopped: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// A request has come from there.
    pub(super) fn heard_of(&self, peer: SocketAddr) {
        let mut state = self.state.lock();
        let known = &mut state.known[usize::from(peer.port()) % KNOWN];
        if known.replace(peer) != Some(peer) {
            state.due = MOST.min(state.due + 1);
            self.changed.notify_one();
        }
    }

    /// Knocks until it is stopped.
    pub(super) fn run(&self) {
        let mut state = self.state.lock();
        while !state.stopped {
            let idle = |state: &mut State| state.due == 0 && !state.stopped;
            self.changed.wait_while_for(&mut state, idle, EVERY);
            if state.stopped {
                return;
            }
            let knocks = state.due.clamp(1, AT_A_TIME);
            state.due = state.due.saturating_sub(knocks);
            drop(state);
            for _ in 0..knocks {
                // Nobody needs the connection: it ends with this line, if it came about.
                drop(TcpStream::connect_timeout(&self.door, PATIENCE));
            }
            state = self.state.lock();
            let resting = |state: &mut State| !state.stopped;
            self.changed.wait_while_for(&mut state, resting, PAUSE);
        }
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}
