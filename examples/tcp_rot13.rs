//! Greets, answers each line in rot13, and says goodbye to who says `quit` or nothing for a minute.
//!
//! `cargo run --example tcp_rot13 -- 127.0.0.1:4000`, then `nc 127.0.0.1 4000`.

use std::error::Error;
use std::time::Duration;

use bayeux::tcp::codec::{LineDecoder, LineEncoder};
use bayeux::tcp::{Context, Handler, ListenOptions, Listener, SendError, Server, ServerConfig};

struct Rot13;

impl Rot13 {
    fn farewell(ctx: &mut Context<'_, Self>, words: &str) -> Result<(), SendError> {
        ctx.send(words)?;
        ctx.shutdown();
        Ok(())
    }

    fn answer(line: &str, ctx: &mut Context<'_, Self>) -> Result<(), SendError> {
        ctx.set_timer(SILENCE, Duration::from_secs(60));
        match line {
            "quit" => Self::farewell(ctx, "Tbbqolr!"),
            _ => ctx.send(&line.chars().map(rot13).collect::<String>()),
        }
    }
}

impl Handler for Rot13 {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = ();

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        Default::default()
    }

    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        let greeting = format!("Hello {}, say something!", ctx.peer_addr());
        ctx.set_timer(SILENCE, Duration::from_secs(60));
        if ctx.send(&greeting).is_err() {
            ctx.abort();
        }
    }

    fn input(&mut self, line: String, ctx: &mut Context<'_, Self>) {
        if Self::answer(&line, ctx).is_err() {
            ctx.abort();
        }
    }

    fn timer(&mut self, _timer: u32, ctx: &mut Context<'_, Self>) {
        if Self::farewell(ctx, "Mmm.").is_err() {
            ctx.abort();
        }
    }
}

fn rot13(c: char) -> char {
    let turn = |first: u8| ((c as u8 - first + 13) % 26 + first) as char;
    match c {
        'a'..='z' => turn(b'a'),
        'A'..='Z' => turn(b'A'),
        _ => c,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:4000".into());
    let listeners = Listener::bind_all(&address, &ListenOptions::default())?;
    let server = Server::start(&ServerConfig::default(), listeners, |_peer| Rot13)?;
    println!("rot13 on {:?}", server.local_addrs());
    loop {
        std::thread::park();
    }
}

/// The number of the timer.
const SILENCE: u32 = 0;
