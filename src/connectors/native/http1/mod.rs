//! HTTP/1.1, the server's half, as functions of bytes: no socket, no clock, and no allocation for
//! a head.
//!
//! A request is taken in three steps, each of which is given what has arrived so far, says how much
//! of it was consumed, and may say "not yet": [`empty_lines`] skips what may precede a request,
//! [`parse_head`] recognises a [`Head`] in place, and a [`Body`] collects the bytes that follow it.
//! "Not yet" is never an error; everything else that is not exactly right is a [`Refusal`], after
//! which the connection is of no more use, because both sides may see its next request elsewhere.
//!
//! # In scope
//! - `head`: a whole request head, judged; `target`, `fields`, `framing`: its parts.
//! - `body`, `chunk`: bodies of a declared length and in chunks, bounded.
//! - `refusal`: everything that can be wrong, with its status and one line of text.
//!
//! # Out of scope
//! - Methods, paths and types (405, 404, 415): `http`.
//! - Writing responses: `http`. When to read, wait and close: the connection.

mod body;
mod chunk;
mod fields;
mod framing;
mod head;
#[cfg(test)]
mod mutations;
mod refusal;
mod target;

pub(super) use body::{Body, Progress};
pub(super) use framing::Framing;
pub(super) use head::{FieldSlots, Head, empty_lines, parse_head};
pub(super) use refusal::Refusal;
