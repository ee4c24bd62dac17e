//! The clients of one I/O thread.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{ClientConfig, ClientHandler, ConnectError, Retry};
use crate::tcp::handler::{Connection, ConnectionId, Owner, Session, SessionConfig};
use crate::tcp::reactor::{CloseReason, Connect, Io, Refuse, Turn, Waker};
use crate::tcp::{Address, InvalidAddress};

/// What other threads leave for the clients of a thread.
pub(super) struct Commands<H: ClientHandler> {
    pub(super) waker: Waker,
    list: Mutex<Vec<Command<H>>>,
}

pub(super) enum Command<H: ClientHandler> {
    Add(ConnectionId, Lifecycle<H>),
    Resolved(ConnectionId, Result<Vec<Address>, InvalidAddress>),
    Reconnect(ConnectionId),
    Shutdown(ConnectionId),
    ShutdownAll,
}

impl<H: ClientHandler> Commands<H> {
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            waker,
            list: Mutex::default(),
        }
    }

    pub(super) fn push(&self, command: Command<H>) {
        self.list.lock().push(command);
        self.waker.nudge();
    }
}

/// One client, from `connect` until it ends for good.
pub(super) struct Lifecycle<H: ClientHandler> {
    /// An address, or a name to be resolved for every attempt.
    target: Arc<str>,
    connection: Connection<H::Message>,
    /// Here unless it is with an open connection.
    handler: Option<H>,
    stage: Stage,
    /// Addresses that were found and not tried yet.
    addresses: VecDeque<Address>,
    /// Attempts in a row that did not lead to a connection that lasted.
    failures: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Resolving,
    Connecting(Address),
    Open,
    /// Until then, if the time can be expressed.
    Waiting(Option<Instant>),
}

impl<H: ClientHandler> Lifecycle<H> {
    pub(super) fn new(target: &str, handler: H, connection: Connection<H::Message>) -> Self {
        Self {
            target: target.into(),
            connection,
            handler: Some(handler),
            stage: Stage::Waiting(None),
            addresses: VecDeque::new(),
            failures: 0,
        }
    }
}

impl<H: ClientHandler> Drop for Lifecycle<H> {
    fn drop(&mut self) {
        self.connection.close();
    }
}

pub(super) struct ClientOwner<H: ClientHandler> {
    commands: Arc<Commands<H>>,
    config: Arc<ClientConfig>,
    session: Arc<SessionConfig>,
    clients: HashMap<ConnectionId, Lifecycle<H>>,
    /// Clients that wait, by the time of their next attempt.
    due: BTreeSet<(Instant, ConnectionId)>,
}

impl<H: ClientHandler> ClientOwner<H> {
    pub(super) fn new(commands: Arc<Commands<H>>, config: Arc<ClientConfig>) -> Self {
        let session = Arc::new(config.session.clone());
        Self {
            commands,
            config,
            session,
            clients: HashMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Not only the ends of turns are told the time, and the last may be long ago.
    fn now(&self) -> Instant {
        self.config.reactor.clock.now()
    }

    fn carry_out(&mut self, command: Command<H>, turn: &mut Turn<'_, Box<Session<H>>>) {
        match command {
            Command::Add(id, client) => {
                self.clients.insert(id, client);
                self.schedule(id, Some(self.now()));
            }
            Command::Resolved(id, resolved) => self.resolved(id, resolved),
            Command::Reconnect(id) => {
                let stage = self.clients.get(&id).map(|client| &client.stage);
                if let Some(Stage::Waiting(until)) = stage {
                    if let Some(until) = until {
                        self.due.remove(&(*until, id));
                    }
                    self.schedule(id, Some(self.now()));
                }
            }
            Command::Shutdown(id) => self.shut_down(id, turn),
            Command::ShutdownAll => {
                let ids: Vec<ConnectionId> = self.clients.keys().copied().collect();
                for id in ids {
                    self.shut_down(id, turn);
                }
            }
        }
    }

    /// Ends a client. Its connection, if it has one, is closed in order; an attempt that is under
    /// way is given up when it leads to something.
    fn shut_down(&mut self, id: ConnectionId, turn: &mut Turn<'_, Box<Session<H>>>) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        match &client.stage {
            Stage::Waiting(Some(until)) => {
                self.due.remove(&(*until, id));
            }
            Stage::Open => {
                turn.with(client.connection.key(), |session, io| session.finish(io));
            }
            _ => {}
        }
    }

    fn resolved(&mut self, id: ConnectionId, resolved: Result<Vec<Address>, InvalidAddress>) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if client.stage != Stage::Resolving {
            return;
        }
        match resolved {
            Ok(addresses) => {
                client.addresses = addresses.into();
                self.schedule(id, Some(self.now()));
            }
            Err(error) => self.failed(id, &ConnectError::Resolve(error)),
        }
    }

    /// Takes the next step towards a connection.
    fn attempt(&mut self, id: ConnectionId, turn: &mut Turn<'_, Box<Session<H>>>) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let next = client.addresses.pop_front();
        let Some(address) = next.or_else(|| client.target.parse().ok()) else {
            client.stage = Stage::Resolving;
            let target = Arc::clone(&client.target);
            return self.resolve(id, &target);
        };
        client.stage = Stage::Connecting(address.clone());
        turn.connect(Connect {
            address,
            ticket: id.0,
            timeout: self.config.connect_timeout,
            options: self.config.connect.clone(),
        });
    }

    /// Resolving blocks, so it has a thread to itself for as long as it takes.
    fn resolve(&self, id: ConnectionId, name: &Arc<str>) {
        let (commands, target) = (Arc::clone(&self.commands), Arc::clone(name));
        let thread = std::thread::Builder::new();
        let thread = thread.name(format!("{}-resolve", self.config.reactor.name));
        let spawned = thread.spawn(move || {
            commands.push(Command::Resolved(id, Address::resolve(&target)));
        });
        if let Err(error) = spawned {
            let error = InvalidAddress::new(name, error.to_string());
            self.commands.push(Command::Resolved(id, Err(error)));
        }
    }

    fn failed(&mut self, id: ConnectionId, error: &ConnectError) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let Some(handler) = &mut client.handler else {
            return;
        };
        let retry = catch_unwind(AssertUnwindSafe(|| handler.connect_failed(error)));
        self.again(id, retry.unwrap_or(Retry::Never));
    }

    fn again(&mut self, id: ConnectionId, retry: Retry) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let wait = match retry {
            Retry::Never => {
                self.clients.remove(&id);
                return;
            }
            Retry::Now => Duration::ZERO,
            Retry::After(wait) => wait,
            Retry::Backoff => self.config.backoff.shortened(client.failures, random()),
        };
        client.failures = client.failures.saturating_add(1);
        // A wait that cannot be expressed lasts until `reconnect`.
        self.schedule(id, self.now().checked_add(wait));
    }

    /// Sets the time of the next attempt.
    fn schedule(&mut self, id: ConnectionId, at: Option<Instant>) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.stage = Stage::Waiting(at);
            self.due.extend(at.map(|at| (at, id)));
        }
    }
}

impl<H: ClientHandler> Owner for ClientOwner<H> {
    type Handler = H;

    fn begin(&mut self, io: &mut Io<'_>) -> Result<Session<H>, Refuse> {
        let id = ConnectionId(io.ticket().ok_or(Refuse)?);
        // Shut down in the meantime.
        let client = self.clients.get_mut(&id).ok_or(Refuse)?;
        let handler = client.handler.take().ok_or(Refuse)?;
        client.stage = Stage::Open;
        client.addresses.clear();
        let connection = client.connection.clone();
        Ok(Session::new(handler, connection, None, &self.session, io))
    }

    fn stopping(&mut self, session: &mut Session<H>, io: &mut Io<'_>) {
        session.finish(io);
    }

    fn ended(&mut self, session: Session<H>, reason: CloseReason) {
        let id = session.connection().id();
        let lasted = self.now().saturating_duration_since(session.opened_at());
        if let Some(client) = self.clients.get_mut(&id) {
            if client.failures > 0 && lasted > self.config.backoff.full(client.failures - 1) {
                client.failures = 0;
            }
        }
        let told = catch_unwind(AssertUnwindSafe(|| {
            let mut handler = session.closed(reason);
            let retry = handler.after_disconnect(reason);
            (handler, retry)
        }));
        match told {
            Ok((handler, retry)) => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.handler = Some(handler);
                    self.again(id, retry);
                }
            }
            Err(panic) => {
                // The handler is gone, and the client with it.
                self.clients.remove(&id);
                resume_unwind(panic);
            }
        }
    }

    fn connect_failed(&mut self, ticket: u64, reason: CloseReason) {
        let id = ConnectionId(ticket);
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let Stage::Connecting(address) = &client.stage else {
            // Its handler was lost by a panic when the connection was opened.
            self.clients.remove(&id);
            return;
        };
        if client.addresses.is_empty() {
            let error = ConnectError::Failed {
                address: address.clone(),
                reason,
            };
            self.failed(id, &error);
        } else {
            self.schedule(id, Some(self.now()));
        }
    }

    fn turn_ended(&mut self, turn: &mut Turn<'_, Box<Session<H>>>) {
        let commands = mem::take(&mut *self.commands.list.lock());
        for command in commands {
            self.carry_out(command, turn);
        }
        let now = self.now();
        while let Some(&(until, id)) = self.due.first().filter(|(until, _)| *until <= now) {
            self.due.remove(&(until, id));
            self.attempt(id, turn);
        }
        if let Some((until, _)) = self.due.first() {
            turn.wake_at(*until);
        }
    }
}

/// For jitter; if the system has no random numbers, none.
fn random() -> u32 {
    getrandom::u32().unwrap_or(0)
}
