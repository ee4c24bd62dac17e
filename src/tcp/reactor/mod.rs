//! The lowest layer: I/O threads with one poller each, and a service per thread that gets every
//! event of the thread's connections.
//!
//! In scope: accepting within limits, distributing connections, reading, writing, timers, waking,
//! closing, stopping. Out of scope: codecs, and what the bytes mean.
//!
//! | File | What it holds |
//! |---|---|
//! | `handle` | [`Reactor`]: start, stop, figures |
//! | `service`, `io`, `turn` | what a user implements, and what is lent to the callbacks |
//! | `accept_loop`, `acceptor`, `admission` | accepting, limits |
//! | `connect`, `preconnect`, `opening` | connecting; the way to `Service::open` |
//! | `thread`, `events` | an I/O thread: its turns; what happens to a connection |
//! | `connection`, `output`, `stream` | one connection: state, unsent bytes, socket and layer |
//! | `receipt` | what its peer has acknowledged |
//! | `mailbox` | what other threads leave for an I/O thread; [`Waker`] |
//! | `slab`, `wheel`, `counters`, `poll` | slots and keys, deadlines, figures, the poller |
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

mod accept_loop;
mod acceptor;
mod admission;
mod config;
mod connect;
mod connection;
mod counters;
mod events;
mod handle;
mod io;
mod mailbox;
mod opening;
mod output;
mod poll;
mod preconnect;
mod receipt;
mod service;
mod slab;
mod stream;
mod thread;
mod turn;
mod wheel;

pub use accept_loop::{AcceptLoop, Accepted};
pub use admission::Permit;
pub use config::{AcceptErrorHook, AfterError, Config, OverLimitHook};
pub use connect::{Connect, ConnectOptions};
pub use connection::WriteError;
pub use counters::Stats;
pub use handle::{Reactor, Stopped};
pub use io::{Io, SecondLayer};
pub use mailbox::Waker;
pub use preconnect::{Early, PreConnect, Preamble, Progress, Step};
pub use service::{CloseReason, Refuse, Service};
pub use stream::{Layer, Wire};
pub use turn::Turn;
