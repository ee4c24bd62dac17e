//! Several routers in one thread: a net whose links are made and cut, whose time is moved by hand,
//! and which gives frames one at a time, in an order that a seed decides.

mod endings;
mod hostile;
mod net;
mod scenes;
mod simulation;
