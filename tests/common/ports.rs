//! Ports that a server comes back to.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

use super::wait::eventually;

/// An address that neither an outgoing connection nor another test is given while nobody listens
/// there: below the range from which systems take such ports, and another one at each call.
pub(crate) fn lasting_address() -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Another process of tests may run.
    let first = 12_000 + (std::process::id() % 1000) as u16 * 20;
    let next = || first + TAKEN.fetch_add(1, Ordering::Relaxed);
    let mut addresses = std::iter::repeat_with(|| SocketAddr::from(([127, 0, 0, 1], next())));
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    addresses.find(is_free).expect("endless")
}

/// Waits until nobody listens there any more. A moment longer than the listener itself a process
/// may have it that another test is just starting, or a thread of `tiny_http`; and at a port that
/// the system chose, another test may listen by now.
#[track_caller]
pub(crate) fn closed(address: SocketAddr) {
    eventually("nobody to listen", || TcpStream::connect(address).is_err());
}
