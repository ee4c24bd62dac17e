//! A room in which everybody hears what anybody says: with `serve` the server, and with
//! `join` it is a client that comes back when the connection is lost.
//!
//! `cargo run --example tcp_chat -- serve 127.0.0.1:4000`
//! `cargo run --example tcp_chat -- join 127.0.0.1:4000`, or `nc 127.0.0.1 4000`

use std::error::Error;
use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use bayeux::tcp::client::{ConnectError, Retry};
use bayeux::tcp::codec::{LineDecoder, LineEncoder};
use bayeux::tcp::reactor::CloseReason;
use bayeux::tcp::{
    Client, ClientConfig, ClientHandler, Connections, Context, Handler, ListenOptions, Listener,
    Server, ServerConfig,
};

/// One guest of the room. What is said goes to the others as a message to their connections.
struct Guest {
    name: String,
    room: Option<Connections<Arc<str>>>,
}

impl Handler for Guest {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = Arc<str>;

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        Default::default()
    }

    fn connected(&mut self, ctx: &mut Context<'_, Self>) {
        self.name = format!("guest {}", ctx.id());
        self.room = ctx.connections().cloned();
        if let Some(room) = &self.room {
            room.broadcast(&format!("* {} comes, now we are {}", self.name, room.len()).into());
        }
    }

    fn input(&mut self, line: String, ctx: &mut Context<'_, Self>) {
        if line == "/quit" {
            return ctx.shutdown();
        }
        if let Some(room) = &self.room {
            room.broadcast_except(ctx.id(), &format!("{}: {line}", self.name).into());
        }
    }

    fn message(&mut self, said: Arc<str>, ctx: &mut Context<'_, Self>) {
        if ctx.send(&said).is_err() {
            // Too slow for the room.
            ctx.abort();
        }
    }

    fn stopping(&mut self, ctx: &mut Context<'_, Self>) {
        // A guest to whom this cannot be sent finds out anyway.
        let _ = ctx.send("* the room closes");
        ctx.shutdown();
    }

    fn disconnected(&mut self, reason: CloseReason) {
        if let Some(room) = &self.room {
            room.broadcast(&format!("* {} has left: {reason}", self.name).into());
        }
    }
}

/// The client's end: prints what comes, sends what is posted.
struct Terminal;

impl Handler for Terminal {
    type Decoder = LineDecoder;
    type Encoder = LineEncoder;
    type Message = String;

    fn codec(&mut self) -> (LineDecoder, LineEncoder) {
        Default::default()
    }

    fn input(&mut self, line: String, _ctx: &mut Context<'_, Self>) {
        println!("{line}");
    }

    fn message(&mut self, line: String, ctx: &mut Context<'_, Self>) {
        if let Err(error) = ctx.send(&line) {
            println!("* not sent: {error}");
        }
    }

    fn disconnected(&mut self, reason: CloseReason) {
        println!("* disconnected: {reason}");
    }
}

impl ClientHandler for Terminal {
    fn connect_failed(&mut self, error: &ConnectError) -> Retry {
        println!("* no connection: {error}");
        Retry::Backoff
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let role = args.next().unwrap_or_else(|| "serve".into());
    let address = args.next().unwrap_or_else(|| "127.0.0.1:4000".into());
    if role == "join" {
        let client = Client::start(&ClientConfig::default(), &address, Terminal)?;
        for line in std::io::stdin().lock().lines() {
            if let Err(error) = client.post(line?) {
                println!("* not sent: {error}");
            }
        }
        client.close(Duration::from_secs(5));
        return Ok(());
    }
    let listeners = Listener::bind_all(&address, &ListenOptions::default())?;
    let make = |_peer: &_| Guest {
        name: String::new(),
        room: None,
    };
    let server = Server::start(&ServerConfig::default(), listeners, make)?;
    println!(
        "chat on {:?}; the end of the input closes the room",
        server.local_addrs()
    );
    for line in std::io::stdin().lock().lines() {
        server
            .connections()
            .broadcast(&format!("* {}", line?).into());
    }
    server.shutdown(Duration::from_secs(5));
    Ok(())
}
