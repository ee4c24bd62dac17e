//! Linked processes as part of a Bayeux server: they subscribe and publish as local clients, push
//! to one client, handle `/service/NAME`, and decide what clients may do.
//!
//! In scope: what the server exports under [`ALIAS`], what it does with the aliases of others, and
//! a small client for those others. Out of scope: links (`link`), sessions and channels (`broker`).
//!
//! | A linked process | does |
//! |---|---|
//! | calls `bayeux`, `publish`, `[channel, data]` | publishes; the answer: how many receivers |
//! | calls `bayeux`, `push`, `[client id, channel, data]` | sends to one client |
//! | posts to `bayeux`, `subscribe`, `pattern`, in the name of an alias | gets `message` there |
//! | posts to `bayeux`, `unsubscribe`, `pattern`, in that name | gets no more |
//! | exports `service:NAME` | gets the event `call` for what clients send to `/service/NAME` |
//! | exports the alias of the setting `link_authoriser` | gets the event `judge` |
//!
//! When a process goes, its subscriptions and services go with it; its [`Remote`] brings them back
//! when either end returns. While there is no authoriser, everything is denied.
//!
//! A linked service takes the place of one that the server has, for clients with a session, and
//! gives it back when it goes. Of several processes the first handles a service and the others are
//! refused ([`Remote::serve`]), or all do, in turn, if each agrees ([`Remote::serve_shared`]).

mod policy;
mod remote;
mod server;
mod service;
mod services;

pub use policy::LinkedPolicy;
pub use remote::{Asked, Judgement, Remote, Request};
pub use server::Bridge;

/// The alias of the server.
pub const ALIAS: &str = "bayeux";
/// What the aliases of services begin with; `service:a:b` handles `/service/a/b`.
pub const SERVICE: &str = "service:";
