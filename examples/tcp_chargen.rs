//! Streams lines of characters for as long as the peer reads them, or so many of them, and ends.
//!
//! The next piece is sent when the kernel has taken the one before, so a peer that reads slowly
//! costs one piece of memory, and one that does not read nothing more.
//!
//! `cargo run --example tcp_chargen -- 127.0.0.1:4000 1000`: address, number of lines (default: no
//! end). Then `nc 127.0.0.1 4000`.

use std::error::Error;

use bayeux::tcp::codec::{Bytes, LineEncoder};
use bayeux::tcp::{Context, Handler, ListenOptions, Listener, Server, ServerConfig};

struct Chargen {
    sent: usize,
    total: usize,
}

impl Chargen {
    fn send_more(&mut self, ctx: &mut Context<'_, Self>) {
        for _ in 0..LINES_PER_PIECE.min(self.total - self.sent) {
            let line: String = (0..72)
                .map(|column| printable(self.sent + column))
                .collect();
            if ctx.send(&line).is_err() {
                return ctx.abort();
            }
            self.sent += 1;
        }
        if self.sent == self.total {
            ctx.shutdown();
        } else {
            ctx.notify_when_flushed();
        }
    }
}

impl Handler for Chargen {
    /// What the peer says does not matter.
    type Decoder = Bytes;
    type Encoder = LineEncoder;
    type Message = ();

    fn codec(&mut self) -> (Bytes, LineEncoder) {
        Default::default()
    }

    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        self.send_more(ctx);
    }

    fn input(&mut self, _bytes: Vec<u8>, _ctx: &mut Context<'_, Self>) {}

    fn end_of_input(&mut self, _ctx: &mut Context<'_, Self>) {
        // It may still read.
    }

    fn flushed(&mut self, ctx: &mut Context<'_, Self>) {
        self.send_more(ctx);
    }
}

fn printable(n: usize) -> char {
    (b' ' + (n % 95) as u8) as char
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:4000".into());
    let total = args.next().map_or(Ok(usize::MAX), |n| n.parse())?;
    let listeners = Listener::bind_all(&address, &ListenOptions::default())?;
    let make = move |_peer: &_| Chargen { sent: 0, total };
    let server = Server::start(&ServerConfig::default(), listeners, make)?;
    println!("chargen on {:?}", server.local_addrs());
    loop {
        std::thread::park();
    }
}

const LINES_PER_PIECE: usize = 200;
