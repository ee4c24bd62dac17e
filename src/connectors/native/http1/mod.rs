//! HTTP/1.1, the server's half: first as functions of bytes, with no socket, no clock, and no
//! allocation for a head; and then a connection that speaks it.
//!
//! A request is taken in three steps, each of which is given what has arrived so far, says how much
//! of it was consumed, and may say "not yet": [`empty_lines`] skips what may precede a request,
//! [`parse_head`] recognises a [`Head`] in place, and a [`Body`] collects the bytes that follow it.
//! "Not yet" is never an error; everything else that is not exactly right is a [`Refusal`], after
//! which the connection is of no more use, because both sides may see its next request elsewhere.
//!
//! # In scope
//! - `head`: a whole request head, checked; `grammar`, `framing`: its parts.
//! - `body`, `chunk`: bodies of a declared length and in chunks, bounded.
//! - `refusal`: everything that can be wrong, with its status and one line of text.
//! - `connection`: what happens when, and time limits; `requests`: executing what was read;
//!   `responses`: their order, and writing them.
//!
//! # Out of scope
//! - Methods, paths and types (405, 404, 415): `http`.
//! - What a request means and what a response says: `http`.

mod body;
mod chunk;
mod connection;
mod framing;
mod grammar;
mod head;
#[cfg(test)]
mod mutations;
mod refusal;
mod requests;
mod responses;

use body::{Body, Progress};
pub(super) use connection::{Becomes, HttpConnection};
use framing::Framing;
use head::{FieldSlots, Head, empty_lines, parse_head};
use refusal::Refusal;
