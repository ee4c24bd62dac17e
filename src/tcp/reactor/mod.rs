//! The lowest layer: I/O threads with one poller each, and a service per thread that gets every
//! event of the thread's connections.
//!
//! In scope: accepting within limits, distributing connections, reading, writing, timers, waking,
//! closing, stopping. Out of scope: codecs, and what the bytes mean.
//!
//! | File | What it holds |
//! |---|---|
//! | `handle` | [`Reactor`]: start, stop, figures; which thread gets a connection |
//! | `config` | [`Config`]; what is counted, and [`Stats`] |
//! | `service`, `io` | what a user implements; what is lent to the callbacks |
//! | `accept`, `admission` | [`AcceptLoop`]; how many there may be, [`Permit`] |
//! | `thread` | an I/O thread: its turns |
//! | `open` | from accepting or connecting, through the steps before, to `Service::open` |
//! | `events` | what happens to an open connection, until `Service::closed` |
//! | `connection` | its state: phases, deadlines, what is unsent |
//! | `progress` | what the peer has acknowledged, and how long it is waited for |
//! | `stream` | its socket, with a [`Layer`] such as TLS; the queue of unsent bytes |
//! | `mailbox` | what other threads leave for an I/O thread; [`Waker`] |
//! | `slab`, `timer`, `poll` | slots and keys, deadlines, the poller |
//!
//! The way of a byte in: `poll` reports the socket, `events` (`readable`, `read_once`) reads once
//! through `stream` into the thread's buffer, `offer` gives it to `Service::input`, and what that
//! leaves is kept in `Core::input`. The way out: `Io::write`, `Core::send`, at once to the kernel;
//! what that leaves is kept in `Core::output`, until `poll` reports that there is room (`flush`)
//! and the service is told (`progress`, `drained`).
//!
//! A connection stays on the thread that it was given to. While it is idle it owns no buffers:
//! input is read into a buffer of the thread, output goes to the kernel at once, and only what is
//! left over in either direction is kept with the connection.
//!
//! ```
//! use std::io::{Read, Write};
//! use bayeux::tcp::reactor::{Config, Io, Reactor, Refuse, Service};
//! use bayeux::tcp::{Address, ListenOptions, Listener};
//!
//! struct Echo;
//!
//! impl Service for Echo {
//!     type Conn = ();
//!
//!     fn open(&mut self, _io: &mut Io<'_>) -> Result<(), Refuse> {
//!         Ok(())
//!     }
//!
//!     fn input(&mut self, _conn: &mut (), io: &mut Io<'_>, input: &[u8]) -> usize {
//!         match io.write(input) {
//!             Ok(()) => input.len(),
//!             Err(_) => 0,
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let address: Address = "127.0.0.1:0".parse()?;
//! let listener = Listener::bind(&address, &ListenOptions::default())?;
//! let reactor = Reactor::start(&Config::default(), vec![listener], |_, _| Echo)?;
//! let address = reactor.local_addrs()[0].inet().ok_or("an IP address was asked for")?;
//! let mut client = std::net::TcpStream::connect(address)?;
//! client.write_all(b"hello")?;
//! let mut answer = [0; 5];
//! client.read_exact(&mut answer)?;
//! assert_eq!(&answer, b"hello");
//! # Ok(())
//! # }
//! ```

mod accept;
mod admission;
mod config;
mod connection;
mod events;
mod handle;
mod io;
mod mailbox;
mod open;
mod poll;
mod progress;
mod service;
mod slab;
mod stream;
mod thread;
mod timer;

pub use accept::{AcceptLoop, Accepted};
pub use admission::Permit;
pub use config::{AcceptErrorHook, AfterError, Config, OverLimitHook, Stats};
pub use handle::{Reactor, Stopped};
pub use io::{Connect, ConnectOptions, Io, SecondLayer, Turn, WriteError};
pub use mailbox::Waker;
pub use open::{Early, PreConnect, Preamble, Progress, Step};
pub use service::{CloseReason, Refuse, Service};
pub use stream::{Layer, Wire};
