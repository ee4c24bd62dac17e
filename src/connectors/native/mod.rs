//! The native connector: HTTP/1.1, WebSocket and EventSource on the I/O threads of `tcp`.
//!
//! # Files
//! | | |
//! |---|---|
//! | `config` | its settings |
//! | `server` | start, stop, figures |
//! | `dispatch` | the connections of one I/O thread: gives each event to the connection's kind |
//! | `http1` | a connection that speaks HTTP: parsing, executing in order, responses in order |
//! | `websocket` | one that has become a WebSocket: handshake, frames, pings |
//! | `events` | one that has become a stream of events |
//! | `outbound` | what leaves a connection of any kind, and the fate of the messages in it |
//! | `thread` | what the connections of a thread have in common, and those of all |
//!
//! # The way of a request
//! 1. The reactor tells `dispatch` that bytes have come, which gives them to `http1::connection`.
//! 2. `http1::requests` finds a whole head in them, and has the site route it. The body is taken
//!    in place, or collected first.
//! 3. The site executes it. The response is there, or `http1::responses` expects it: a connect is
//!    held, or user code is at work. Whoever has it then wakes the connection.
//! 4. In the order of the requests, each response that is there is written into the thread's buffer
//!    (`outbound::Ready`), which leaves in one write.
//! 5. `outbound::Outbound` commits its messages when the kernel has the last byte. When the
//!    connection breaks before, `dispatch` calls its `abort`, and they wait again in their queues.
//!
//! A message that a WebSocket or a stream of events gets takes the last two steps only: the
//! connection is woken and collects it from the session, by its `Attachment`, which also aborts
//! when the connection breaks.
//!
//! # Out of scope
//! - What a request means and what an answer says: `http`.
//! - Sockets, threads and pollers: `tcp`.

mod config;
mod dispatch;
mod events;
mod http1;
mod outbound;
mod server;
mod thread;
mod websocket;

pub use config::NativeConfig;
pub use server::{NativeStats, Running, start};
