//! The clients of one I/O thread.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::slot::{Resolved, Slot, State, Target, resolve};
use super::{ClientConfig, ClientHandler, ConnectError, Control, Retry};
use crate::tcp::handler::{ConnectionId, Session};
use crate::tcp::reactor::{CloseReason, Connect, Io, Refuse, Service, Turn, Waker};

/// What other threads leave for the clients of a thread.
pub(super) struct Commands<H: ClientHandler> {
    waker: Waker,
    list: Mutex<Vec<Command<H>>>,
}

enum Command<H: ClientHandler> {
    Add(ConnectionId, Slot<H>),
    Resolved(ConnectionId, Resolved),
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

    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    pub(super) fn add(&self, id: ConnectionId, slot: Slot<H>) {
        self.push(Command::Add(id, slot));
    }

    pub(super) fn shut_down_all(&self) {
        self.push(Command::ShutdownAll);
    }

    fn push(&self, command: Command<H>) {
        self.list.lock().push(command);
        self.waker.nudge();
    }
}

impl<H: ClientHandler> Control for Commands<H> {
    fn reconnect(&self, id: ConnectionId) {
        self.push(Command::Reconnect(id));
    }

    fn shutdown(&self, id: ConnectionId) {
        self.push(Command::Shutdown(id));
    }
}

pub(super) struct ClientService<H: ClientHandler> {
    commands: Arc<Commands<H>>,
    config: Arc<ClientConfig>,
    session: Arc<crate::tcp::SessionConfig>,
    clients: HashMap<ConnectionId, Slot<H>>,
    /// Clients that wait, by the end of their wait.
    due: BTreeSet<(Instant, ConnectionId)>,
    /// Clients to be connected at the end of the turn.
    ready: Vec<ConnectionId>,
    now: Instant,
    output: Vec<u8>,
}

/// A session that knows whose it is.
pub(super) struct Owned<H: ClientHandler> {
    id: ConnectionId,
    key: u64,
    session: Session<H>,
}

impl<H: ClientHandler> ClientService<H> {
    pub(super) fn new(commands: Arc<Commands<H>>, config: Arc<ClientConfig>) -> Self {
        let session = Arc::new(config.session.clone());
        let now = config.reactor.clock.now();
        Self {
            commands,
            config,
            session,
            clients: HashMap::new(),
            due: BTreeSet::new(),
            ready: Vec::new(),
            now,
            output: Vec::new(),
        }
    }

    fn obey(&mut self, command: Command<H>, turn: &mut Turn<'_, Owned<H>>) {
        match command {
            Command::Add(id, slot) => {
                self.clients.insert(id, slot);
                self.ready.push(id);
            }
            Command::Resolved(id, resolved) => self.resolved(id, resolved),
            Command::Reconnect(id) => {
                if let Some(Slot {
                    state: State::Waiting(until),
                    ..
                }) = self.clients.get(&id)
                {
                    if let Some(until) = until {
                        self.due.remove(&(*until, id));
                    }
                    // It may be about to be connected anyway.
                    if !self.ready.contains(&id) {
                        self.ready.push(id);
                    }
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
    fn shut_down(&mut self, id: ConnectionId, turn: &mut Turn<'_, Owned<H>>) {
        let Some(slot) = self.clients.remove(&id) else {
            return;
        };
        match &slot.state {
            State::Waiting(Some(until)) => {
                self.due.remove(&(*until, id));
            }
            State::Open => {
                let key = slot.inbox.key();
                let output = &mut self.output;
                turn.with(key, |owned, io| owned.session.finish(io, output));
            }
            _ => {}
        }
    }

    fn resolved(&mut self, id: ConnectionId, resolved: Resolved) {
        let Some(slot) = self
            .clients
            .get_mut(&id)
            .filter(|s| s.state == State::Resolving)
        else {
            return;
        };
        match resolved {
            Ok(addresses) => {
                slot.addresses = addresses.into();
                self.ready.push(id);
            }
            Err(error) => self.failed(id, &error.into()),
        }
    }

    /// Takes the next step towards a connection.
    fn advance(&mut self, id: ConnectionId, turn: &mut Turn<'_, Owned<H>>) {
        let Some(slot) = self.clients.get_mut(&id) else {
            return;
        };
        if slot.addresses.is_empty() {
            match &slot.target {
                Target::Address(address) => slot.addresses.push_back(address.clone()),
                Target::Name(name) => {
                    slot.state = State::Resolving;
                    let name = Arc::clone(name);
                    return self.resolve(id, name);
                }
            }
        }
        let Some(address) = slot.addresses.pop_front() else {
            return;
        };
        slot.state = State::Connecting(address.clone());
        turn.connect(Connect {
            address,
            ticket: id.0,
            timeout: self.config.connect_timeout,
            options: self.config.connect.clone(),
        });
    }

    /// Resolving blocks, so it has a thread to itself for as long as it takes.
    fn resolve(&self, id: ConnectionId, name: Arc<str>) {
        let commands = Arc::clone(&self.commands);
        let thread_name = format!("{}-resolve", self.config.reactor.name);
        let spec = Arc::clone(&name);
        let spawned = std::thread::Builder::new()
            .name(thread_name)
            .spawn(move || {
                commands.push(Command::Resolved(id, resolve(&name)));
            });
        if let Err(error) = spawned {
            let spec = (*spec).into();
            let error = crate::tcp::InvalidAddress {
                spec,
                reason: error.to_string(),
            };
            self.commands.push(Command::Resolved(id, Err(error)));
        }
    }

    fn failed(&mut self, id: ConnectionId, error: &ConnectError) {
        let Some(slot) = self.clients.get_mut(&id) else {
            return;
        };
        let Some(handler) = &mut slot.handler else {
            return;
        };
        let retry = catch_unwind(AssertUnwindSafe(|| handler.connect_failed(error)));
        self.again(id, retry.unwrap_or(Retry::Never));
    }

    fn again(&mut self, id: ConnectionId, retry: Retry) {
        let Some(slot) = self.clients.get_mut(&id) else {
            return;
        };
        let wait = match retry {
            Retry::Never => {
                self.clients.remove(&id);
                return;
            }
            Retry::Now => Duration::ZERO,
            Retry::After(wait) => wait,
            Retry::Backoff => self.config.backoff.shortened(slot.failures, random()),
        };
        slot.failures = slot.failures.saturating_add(1);
        let until = self.now.checked_add(wait);
        slot.state = State::Waiting(until);
        match until {
            _ if wait.is_zero() => {
                slot.state = State::Waiting(None);
                self.ready.push(id);
            }
            Some(until) => {
                self.due.insert((until, id));
            }
            // A wait that cannot be expressed lasts until `reconnect`.
            None => {}
        }
    }
}

impl<H: ClientHandler> Service for ClientService<H> {
    type Conn = Owned<H>;

    fn open(&mut self, io: &mut Io<'_>) -> Result<Owned<H>, Refuse> {
        self.now = io.now();
        let id = ConnectionId(io.ticket().ok_or(Refuse)?);
        // Shut down in the meantime.
        let slot = self.clients.get_mut(&id).ok_or(Refuse)?;
        let handler = slot.handler.take().ok_or(Refuse)?;
        slot.state = State::Open;
        slot.addresses.clear();
        let inbox = Arc::clone(&slot.inbox);
        inbox.attach(io.key());
        let mut session = Session::new(handler, inbox, None, &self.session, io.now());
        session.connected_or_panic(io, &mut self.output);
        Ok(Owned {
            id,
            key: io.key(),
            session,
        })
    }

    fn input(&mut self, conn: &mut Owned<H>, io: &mut Io<'_>, input: &[u8]) -> usize {
        conn.session.input(io, &mut self.output, input)
    }

    fn end_of_input(&mut self, conn: &mut Owned<H>, io: &mut Io<'_>) {
        conn.session.end_of_input(io, &mut self.output);
    }

    fn woken(&mut self, conn: &mut Owned<H>, io: &mut Io<'_>) {
        conn.session.woken(io, &mut self.output);
    }

    fn timer(&mut self, conn: &mut Owned<H>, io: &mut Io<'_>) {
        conn.session.timer(io, &mut self.output);
    }

    fn progress(&mut self, conn: &mut Owned<H>, io: &mut Io<'_>) {
        conn.session.progress(io, &mut self.output);
    }

    fn drained(&mut self, conn: &mut Owned<H>, io: &mut Io<'_>) {
        conn.session.drained(io, &mut self.output);
    }

    fn stopping(&mut self, conn: &mut Owned<H>, io: &mut Io<'_>) {
        conn.session.finish(io, &mut self.output);
    }

    fn closed(&mut self, conn: Owned<H>, reason: CloseReason) {
        let Owned { id, key, session } = conn;
        let lasted = self.now.saturating_duration_since(session.opened_at());
        if let Some(slot) = self.clients.get_mut(&id) {
            if slot.inbox.key() == key {
                slot.inbox.detach();
            }
            if slot.failures > 0 && lasted > self.config.backoff.full(slot.failures - 1) {
                slot.failures = 0;
            }
        }
        let told = catch_unwind(AssertUnwindSafe(|| {
            let mut handler = session.closed(reason);
            let retry = handler.after_disconnect(reason);
            (handler, retry)
        }));
        match told {
            Ok((handler, retry)) => {
                if let Some(slot) = self.clients.get_mut(&id) {
                    slot.handler = Some(handler);
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
        let Some(slot) = self.clients.get_mut(&id) else {
            return;
        };
        let State::Connecting(address) = &slot.state else {
            return;
        };
        if slot.addresses.is_empty() {
            let error = ConnectError::Failed {
                address: address.clone(),
                reason,
            };
            self.failed(id, &error);
        } else {
            self.ready.push(id);
        }
    }

    fn turn_ended(&mut self, turn: &mut Turn<'_, Owned<H>>) {
        self.now = turn.now();
        let commands = mem::take(&mut *self.commands.list.lock());
        for command in commands {
            self.obey(command, turn);
        }
        while let Some(&(until, id)) = self.due.first().filter(|(until, _)| *until <= self.now) {
            self.due.remove(&(until, id));
            self.ready.push(id);
        }
        for id in mem::take(&mut self.ready) {
            self.advance(id, turn);
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
