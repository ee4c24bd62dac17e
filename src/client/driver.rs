//! The model behind its lock, and the threads that drive it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::error::{Error, Failure};
use super::event::State;
use super::message::Message;
use super::model::{Answer, Exchange, Handshake, Ids, Model, Request};
use super::network::Network;
use super::options::Options;
use super::subscriptions::{Job, Listener};
use super::transport::Transport;
use super::websocket::Owner;
use super::wire::{self, Ext};
use crate::clock::{Clock, later};

/// Makes what a handshake carries in `ext`, anew for each.
pub(crate) type Credentials = Box<dyn Fn() -> Result<Ext, Error> + Send + Sync>;

/// What all handles of a client and its threads have in common.
pub(crate) struct Driver {
    pub(crate) options: Arc<Options>,
    pub(crate) ids: Ids,
    clock: Arc<dyn Clock>,
    network: Box<dyn Network>,
    credentials: Credentials,
    locked: Mutex<Locked>,
    connect_ready: Condvar,
    send_ready: Condvar,
    jobs_ready: Condvar,
    state_changed: Condvar,
}

struct Locked {
    model: Model,
    /// Of the model when the lock was last released.
    state: State,
}

/// A thread, and a channel that ends with it.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Driver {
    pub(crate) fn new(
        options: Arc<Options>,
        transport: Transport,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
        seed: u64,
        network: impl FnOnce(&Weak<Self>) -> Box<dyn Network>,
    ) -> Arc<Self> {
        let ids = Ids::default();
        let now = clock.now();
        let model = Model::new(Arc::clone(&options), transport, ids.clone(), now, seed);
        let state = model.session.state();
        Arc::new_cyclic(|this| Self {
            options,
            ids,
            clock,
            network: network(this),
            credentials,
            locked: Mutex::new(Locked { model, state }),
            connect_ready: Condvar::new(),
            send_ready: Condvar::new(),
            jobs_ready: Condvar::new(),
            state_changed: Condvar::new(),
        })
    }

    /// Works on the model for the user, then wakes whom the change concerns.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Model, Instant) -> R) -> R {
        let (result, trash) = self.change(|model, now| {
            let result = change(model, now);
            (result, model.subscriptions.take_trash())
        });
        // Dropping callbacks runs user code, whose failures are no fault of the caller.
        if catch_unwind(AssertUnwindSafe(move || drop(trash))).is_err() {
            log::error!("dropping a callback of the Bayeux client panicked");
        }
        result
    }

    /// As `update`, but for threads that must not wait for user code: what ends is left to the
    /// thread of the callbacks.
    fn change<R>(&self, change: impl FnOnce(&mut Model, Instant) -> R) -> R {
        let now = self.clock.now();
        let mut locked = self.locked.lock();
        let result = change(&mut locked.model, now);
        self.release(locked);
        result
    }

    /// Looks at the model.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Model) -> R) -> R {
        look(&self.locked.lock().model)
    }

    /// Waits until the state suits.
    pub(crate) fn wait_for(&self, timeout: Duration, wanted: impl Fn(State) -> bool) -> bool {
        let mut locked = self.locked.lock();
        let waiting = |locked: &mut Locked| !wanted(locked.model.session.state());
        !self
            .state_changed
            .wait_while_for(&mut locked, waiting, timeout)
            .timed_out()
    }

    /// Starts the threads; none runs if one cannot be started.
    pub(crate) fn start(self: &Arc<Self>) -> Result<Vec<Thread>, Error> {
        type Body = fn(&Driver);
        let bodies: [(&str, Body); 3] = [
            ("bayeux-poll", |this| this.run(Exchange::Connect)),
            ("bayeux-send", |this| this.run(Exchange::Send)),
            ("bayeux-notify", Self::run_callbacks),
        ];
        let mut threads = Vec::new();
        for (name, body) in bodies {
            let (this, (running, ended)) = (Arc::clone(self), bounded(0));
            let body = move || {
                let _running = running;
                body(&this);
            };
            match thread::Builder::new().name(name.into()).spawn(body) {
                Ok(handle) => threads.push(Thread { handle, ended }),
                Err(error) => {
                    self.stop(threads);
                    return Err(Error::Thread(error.to_string()));
                }
            }
        }
        Ok(threads)
    }

    /// Closes, and waits for the threads; those that user code or the system's name resolution
    /// keeps longer than the linger time are left to end by themselves.
    pub(crate) fn stop(&self, threads: Vec<Thread>) {
        self.update(|model, _| model.close(&Error::Closed));
        let deadline = later(self.clock.now(), self.options.linger);
        for Thread { handle, ended } in threads {
            let own = handle.thread().id() == thread::current().id();
            if !own && ended.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected) {
                let _ = handle.join();
            }
        }
        let rest = deadline.saturating_duration_since(self.clock.now());
        self.network.join(rest);
    }

    fn release(&self, mut locked: MutexGuard<'_, Locked>) {
        let state = locked.model.session.state();
        let changed = locked.state != state;
        locked.state = state;
        let jobs = locked.model.subscriptions.has_jobs();
        let told = locked.model.subscriptions.take_told();
        // Not for each message that comes: a thread would look, and sleep again.
        let connect = locked.model.is_wanted(Exchange::Connect);
        let send = locked.model.is_wanted(Exchange::Send);
        drop(locked);
        if changed {
            self.state_changed.notify_all();
        }
        if jobs || changed {
            self.jobs_ready.notify_one();
        }
        if connect {
            self.connect_ready.notify_one();
        }
        if send {
            self.send_ready.notify_one();
        }
        for event in told {
            log::debug!("{event:?}");
        }
        if changed && state == State::Closed {
            self.network.close();
        }
    }

    fn run(&self, exchange: Exchange) {
        while let Some(request) = self.wait_for_request(exchange) {
            if let Some(answer) = self.carry_out(request) {
                self.change(|model, now| model.answered(now, exchange, answer));
            }
        }
    }

    fn wait_for_request(&self, exchange: Exchange) -> Option<Request> {
        let ready = match exchange {
            Exchange::Connect => &self.connect_ready,
            Exchange::Send => &self.send_ready,
        };
        let mut locked = self.locked.lock();
        loop {
            if locked.model.ended.is_some() {
                return None;
            }
            let now = self.clock.now();
            if locked.model.expire(now, exchange) {
                self.release(locked);
                locked = self.locked.lock();
                continue;
            }
            if let Some(request) = locked.model.next(now, exchange) {
                return Some(request);
            }
            match locked.model.due(exchange) {
                Some(due) => drop(ready.wait_until(&mut locked, due)),
                None => ready.wait(&mut locked),
            }
        }
    }

    fn carry_out(&self, mut request: Request) -> Option<Result<Answer, Error>> {
        if let Some(Handshake { id, offer }) = request.handshake {
            let ext = catch_unwind(AssertUnwindSafe(|| (self.credentials)()))
                .unwrap_or_else(|_| Err(Error::Credentials("the callback panicked".into())));
            match ext {
                Ok(ext) => request.body = wire::handshake(id, offer, &ext),
                Err(error) => return Some(Err(error)),
            }
        }
        let transport = match request.socket {
            Some(_) => Transport::WebSocket,
            None => Transport::LongPolling,
        };
        wire::log_sent(transport, &request.body);
        let answer = self.network.send(request)?;
        if let Ok(answer) = &answer {
            wire::log_received(transport, &answer.messages);
        }
        Some(answer.map_err(Error::Failed))
    }

    fn run_callbacks(&self) {
        while let Some(job) = self.wait_for_job() {
            // By value, as dropping the last of a callback runs user code as well.
            let run = AssertUnwindSafe(move || match job {
                Job::Message(callback, message) => callback.run(&message),
                Job::Event(Listener(listener), event) => listener(&event),
                Job::Drop(trash) => drop(trash),
                Job::CaughtUp(receipt) => receipt.settle(Ok(Message::local_success())),
            });
            if catch_unwind(run).is_err() {
                log::error!("a callback of the Bayeux client panicked");
                self.update(|model, _| model.subscriptions.stats.callbacks_panicked += 1);
            }
        }
    }

    fn wait_for_job(&self) -> Option<Job> {
        let mut locked = self.locked.lock();
        loop {
            if let Some(job) = locked.model.subscriptions.next_job() {
                return Some(job);
            }
            if locked.model.ended.is_some() {
                return None;
            }
            self.jobs_ready.wait(&mut locked);
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Driver({:?})", self.look(|model| model.session.state()))
    }
}

impl Owner for Driver {
    fn opened(&self, socket: u64) {
        self.change(|model, now| model.opened(now, socket));
        // They wait for an answer now, which has another time limit.
        self.connect_ready.notify_one();
        self.send_ready.notify_one();
    }

    fn departs(&self, request: u64) -> bool {
        self.locked.lock().model.departs(request)
    }

    fn received(&self, messages: &[Message]) {
        wire::log_received(Transport::WebSocket, messages);
        self.change(|model, now| model.received(now, messages));
    }

    fn closed(&self, socket: u64, failure: &Failure) {
        self.change(|model, now| model.closed(now, socket, failure));
    }
}

#[cfg(test)]
mod tests;
