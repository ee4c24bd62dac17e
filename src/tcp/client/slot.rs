//! One client in its thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{ClientHandler, ConnectError};
use crate::tcp::handler::Inbox;
use crate::tcp::{Address, InvalidAddress};

/// Where a client connects to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Address(Address),
    /// To be resolved for every attempt.
    Name(Arc<str>),
}

impl Target {
    pub(super) fn new(spec: &str) -> Self {
        match spec.parse() {
            Ok(address) => Self::Address(address),
            Err(_) => Self::Name(spec.into()),
        }
    }
}

pub(super) struct Slot<H: ClientHandler> {
    pub(super) target: Target,
    pub(super) inbox: Arc<Inbox<H::Message>>,
    /// Here unless it is with an open connection.
    pub(super) handler: Option<H>,
    pub(super) state: State,
    /// Addresses that were found and not tried yet.
    pub(super) addresses: VecDeque<Address>,
    /// Attempts in a row that did not lead to a connection that lasted.
    pub(super) failures: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Resolving,
    Connecting(Address),
    Open,
    /// Until then, if the time can be expressed.
    Waiting(Option<Instant>),
}

impl<H: ClientHandler> Slot<H> {
    pub(super) fn new(target: Target, handler: H, inbox: Arc<Inbox<H::Message>>) -> Self {
        Self {
            target,
            inbox,
            handler: Some(handler),
            state: State::Waiting(None),
            addresses: VecDeque::new(),
            failures: 0,
        }
    }
}

impl<H: ClientHandler> Drop for Slot<H> {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

/// The result of resolving a name.
pub(super) type Resolved = Result<Vec<Address>, InvalidAddress>;

pub(super) fn resolve(name: &str) -> Resolved {
    Address::resolve(name)
}

impl From<InvalidAddress> for ConnectError {
    fn from(error: InvalidAddress) -> Self {
        Self::Resolve(error)
    }
}
