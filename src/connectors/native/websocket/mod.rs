//! WebSocket (RFC 6455), the server's half: first as functions of bytes, with no socket and no
//! clock; and then a connection that speaks it.
//!
//! [`accept`] checks the request that asks for the upgrade. Then a [`Decoder`] turns what arrives
//! into [`Event`]s: whole text messages, checked to be UTF-8, and control frames. It owns memory
//! only while a message is incomplete, and no more than has arrived of it. Everything that is not
//! exactly right is a [`Failure`], which has the close code that the peer is told.
//!
//! # In scope
//! - `upgrade`: the opening handshake.
//! - `decoder`, `mask`: frames to messages; fragmentation, masking, limits.
//! - `encoder`: what the server sends besides messages that are encoded already.
//! - `failure`: everything that can be wrong, with its code and reason.
//! - `connection`: what happens to a connection when; `lifetime`: pings, time limits, the
//!   end; `sessions`: whose messages go there.
//!
//! # Out of scope
//! - What a message means: `http` and below.
//! - Extensions: none is accepted. Subprotocols: Bayeux has none.

mod connection;
mod decoder;
mod encoder;
mod failure;
mod lifetime;
mod mask;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod rules;
mod sessions;
#[cfg(test)]
mod testing;
mod upgrade;

pub(super) use connection::Socket;
use decoder::{Decoder, Event};
use encoder::{write_answer, write_close, write_ping, write_pong};
#[cfg(test)]
use failure::Failure;
pub(super) use upgrade::{Unacceptable, accept, write_accepted};
