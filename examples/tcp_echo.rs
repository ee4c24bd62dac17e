//! Echoes lines.
//!
//! `cargo run --example tcp_echo -- 127.0.0.1:4000`, then `nc 127.0.0.1 4000`.

use std::error::Error;

use bayeux::tcp::codec::{LineDecoder, LineEncoder};
use bayeux::tcp::{Context, Handler, ListenOptions, Listener, Server, ServerConfig};

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
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:4000".into());
    let listeners = Listener::bind_all(&address, &ListenOptions::default())?;
    let server = Server::start(&ServerConfig::default(), listeners, |_peer| Echo)?;
    println!("echo on {:?}", server.local_addrs());
    loop {
        std::thread::park();
    }
}
