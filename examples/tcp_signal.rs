//! Echoes lines until the process is told to end by SIGINT or SIGTERM: then it listens no more,
//! tells who is connected, and waits a while for them to leave. A second signal ends it at once.
//!
//! `cargo run --example tcp_signal -- 127.0.0.1:4000`, then `nc 127.0.0.1 4000`, and Ctrl-C here.

use std::error::Error;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bayeux::tcp::codec::{LineDecoder, LineEncoder};
use bayeux::tcp::{Context, Handler, ListenOptions, Listener, Server, ServerConfig};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// How long the connected have to leave.
const GRACE: Duration = Duration::from_secs(30);

struct Echo;

impl Handler for Echo {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = ();

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        Default::default()
    }

    fn input(&mut self, line: String, ctx: &mut Context<'_, Self>) {
        if ctx.send(&line).is_err() {
            // The peer does not read what it asked for.
            ctx.abort();
        }
    }

    fn stopping(&mut self, ctx: &mut Context<'_, Self>) {
        // Who cannot be told is gone.
        let _ = ctx.send("closing soon: please finish");
    }
}

/// Serves until a signal comes, and then until all have left or the time is over.
pub(crate) fn run(address: &str) -> Result<(), Box<dyn Error>> {
    let (mut told, tell) = UnixStream::pair()?;
    let again = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal only sets what makes the second one deadly.
        flag::register_conditional_default(signal, Arc::clone(&again))?;
        flag::register(signal, Arc::clone(&again))?;
        low_level::pipe::register(signal, tell.try_clone()?)?;
    }
    let listeners = Listener::bind_all(address, &ListenOptions::default())?;
    let server = Server::start(&ServerConfig::default(), listeners, |_peer| Echo)?;
    println!("echo on {}", server.local_addrs()[0]);
    told.read_exact(&mut [0])?;
    println!("closing, {} connected", server.stats().open);
    server.shutdown(GRACE);
    println!("closed");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    run(address.as_deref().unwrap_or("127.0.0.1:4000"))
}
