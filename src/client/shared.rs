//! The machine behind its lock, and the threads that drive it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::carrier::{Answer, Carrier, Receiver, Request};
use super::dispatch::{Job, Listener};
use super::error::Error;
use super::machine::{Ids, Lane, Machine, Work};
use super::message::Message;
use super::options::Options;
use super::session::State;
use super::traffic;
use super::transport::Via;
use super::wire::{self, Ext};
use crate::clock::Clock;

/// Makes what a handshake carries in `ext`, anew for each.
pub(crate) type Credentials = Box<dyn Fn() -> Result<Ext, Error> + Send + Sync>;

/// What all handles of a client and its threads have in common.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) ids: Ids,
    pub(crate) clock: Arc<dyn Clock>,
    carrier: Box<dyn Carrier>,
    credentials: Credentials,
    locked: Mutex<Locked>,
    poll_ready: Condvar,
    send_ready: Condvar,
    jobs_ready: Condvar,
    state_changed: Condvar,
}

struct Locked {
    machine: Machine,
    /// Of `machine` when the lock was last released.
    state: State,
    threads: usize,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        carrier: Box<dyn Carrier>,
        ways: Vec<Via>,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Self {
        let ids = Ids::default();
        let machine = Machine::new(options.clone(), ways, ids.clone(), clock.now(), seed);
        let (state, threads) = (machine.state(), 0);
        Self {
            options,
            ids,
            clock,
            carrier,
            credentials,
            locked: Mutex::new(Locked {
                machine,
                state,
                threads,
            }),
            poll_ready: Condvar::new(),
            send_ready: Condvar::new(),
            jobs_ready: Condvar::new(),
            state_changed: Condvar::new(),
        }
    }

    /// Works on the machine for the user, then wakes whom the change concerns.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        let (result, trash) = self.change(|machine, now| {
            let result = change(machine, now);
            (result, machine.dispatch().take_trash())
        });
        // Dropping callbacks runs user code, whose failures are no fault of the caller.
        if catch_unwind(AssertUnwindSafe(move || drop(trash))).is_err() {
            log::error!("dropping a callback of the Bayeux client panicked");
        }
        result
    }

    /// As `update`, but for threads that must not wait for user code: what ends is left to the
    /// thread of the callbacks.
    fn change<R>(&self, change: impl FnOnce(&mut Machine, Instant) -> R) -> R {
        let now = self.clock.now();
        let mut locked = self.locked.lock();
        let result = change(&mut locked.machine, now);
        self.release(locked);
        result
    }

    /// Looks at the machine.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        look(&self.locked.lock().machine)
    }

    /// Waits until the state suits.
    pub(crate) fn wait_for(&self, timeout: Duration, wanted: impl Fn(State) -> bool) -> bool {
        let mut locked = self.locked.lock();
        let waiting = |locked: &mut Locked| !wanted(locked.machine.state());
        !self
            .state_changed
            .wait_while_for(&mut locked, waiting, timeout)
            .timed_out()
    }

    /// Starts the threads; none runs if one cannot be started.
    pub(crate) fn start(self: &Arc<Self>) -> Result<Vec<JoinHandle<()>>, Error> {
        type Run = fn(&Shared);
        let weak = Arc::downgrade(self);
        self.carrier.attach(weak);
        let threads: [(&str, Run); 3] = [
            ("bayeux-poll", |shared| shared.run_lane(Lane::Poll)),
            ("bayeux-send", |shared| shared.run_lane(Lane::Send)),
            ("bayeux-callback", Self::run_callbacks),
        ];
        let mut handles = Vec::new();
        for (name, run) in threads {
            let shared = Arc::clone(self);
            self.locked.lock().threads += 1;
            let body = move || {
                let _leaving = Leaving(&shared);
                run(&shared);
            };
            match thread::Builder::new().name(name.into()).spawn(body) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    self.locked.lock().threads -= 1;
                    self.stop(handles);
                    return Err(Error::Thread(error.to_string()));
                }
            }
        }
        Ok(handles)
    }

    /// Closes, and waits for the threads; those that user code or the system's name resolution
    /// keeps longer than the linger time are left to end by themselves.
    pub(crate) fn stop(&self, handles: Vec<JoinHandle<()>>) {
        self.update(|machine, _| machine.close(&Error::Closed));
        let me = thread::current().id();
        let mine = handles
            .iter()
            .filter(|handle| handle.thread().id() == me)
            .count();
        let mut locked = self.locked.lock();
        let running = |locked: &mut Locked| locked.threads > mine;
        self.state_changed
            .wait_while_for(&mut locked, running, self.options.linger);
        let all_gone = locked.threads <= mine;
        drop(locked);
        for handle in handles {
            if handle.thread().id() != me && (all_gone || handle.is_finished()) {
                let _ = handle.join();
            }
        }
        self.carrier.join(self.options.linger);
    }

    fn release(&self, mut locked: MutexGuard<'_, Locked>) {
        let state = locked.machine.state();
        let changed = locked.state != state;
        locked.state = state;
        let jobs = locked.machine.dispatch().has_jobs();
        // Not for each message that comes: a lane would look, and sleep again.
        let [poll, send] = [Lane::Poll, Lane::Send].map(|lane| locked.machine.is_wanted(lane));
        drop(locked);
        if changed {
            self.state_changed.notify_all();
        }
        if jobs || changed {
            self.jobs_ready.notify_one();
        }
        if poll {
            self.poll_ready.notify_one();
        }
        if send {
            self.send_ready.notify_one();
        }
        if changed && state == State::Closed {
            self.carrier.close();
        }
    }

    fn run_lane(&self, lane: Lane) {
        while let Some(work) = self.wait_for_work(lane) {
            let result = self.carry_out(lane, work);
            self.change(|machine, now| match result {
                Ok(Answer { messages, pause }) => {
                    machine.receive(now, &messages);
                    machine.finish(now, lane, Ok(()), pause);
                }
                Err(error) => {
                    let pause = match &error {
                        Error::Failed(failure) => failure.retry_after(),
                        _ => None,
                    };
                    machine.finish(now, lane, Err(error), pause);
                }
            });
        }
    }

    fn wait_for_work(&self, lane: Lane) -> Option<Work> {
        let ready = match lane {
            Lane::Poll => &self.poll_ready,
            Lane::Send => &self.send_ready,
        };
        let mut locked = self.locked.lock();
        loop {
            if locked.machine.ended().is_some() {
                return None;
            }
            if let Some(work) = locked.machine.next(self.clock.now(), lane) {
                return Some(work);
            }
            match locked.machine.due(lane) {
                Some(due) => drop(ready.wait_until(&mut locked, due)),
                None => ready.wait(&mut locked),
            }
        }
    }

    fn carry_out(&self, lane: Lane, work: Work) -> Result<Answer, Error> {
        let request = match work {
            Work::Request(request) => request,
            Work::Handshake { id, offer } => self.handshake(id, &offer)?,
        };
        traffic::leaves(request.via, &request.body);
        let answer = self.carrier.exchange(lane, &request);
        if let Ok(answer) = &answer {
            traffic::came(request.via, &answer.messages);
        }
        answer.map_err(Error::Failed)
    }

    fn handshake(&self, id: u64, offer: &[Via]) -> Result<Request, Error> {
        let ext = catch_unwind(AssertUnwindSafe(|| (self.credentials)()))
            .unwrap_or_else(|_| Err(Error::Credentials("the callback panicked".into())))?;
        let types: Vec<_> = offer.iter().map(|via| via.name()).collect();
        Ok(Request {
            body: wire::handshake(id, &types, &ext),
            ids: vec![id],
            hold: Duration::ZERO,
            via: offer.first().copied().unwrap_or(Via::LongPolling),
        })
    }

    fn run_callbacks(&self) {
        while let Some(job) = self.wait_for_job() {
            // By value, as dropping the last of a callback runs user code as well.
            let run = AssertUnwindSafe(move || match job {
                Job::Message(callback, message) => callback.run(&message),
                Job::Event(Listener(listener), event) => listener(&event),
                Job::Drop(trash) => drop(trash),
                Job::CaughtUp(slot) => slot.settle(Ok(Message::local_success())),
            });
            if catch_unwind(run).is_err() {
                log::error!("a callback of the Bayeux client panicked");
                self.update(|machine, _| machine.dispatch().stats.callbacks_panicked += 1);
            }
        }
    }

    fn wait_for_job(&self) -> Option<Job> {
        let mut locked = self.locked.lock();
        loop {
            if let Some(job) = locked.machine.dispatch().next_job() {
                return Some(job);
            }
            if locked.machine.ended().is_some() {
                return None;
            }
            self.jobs_ready.wait(&mut locked);
        }
    }
}

impl Receiver for Shared {
    fn receive(&self, messages: &[Message]) {
        traffic::came(Via::WebSocket, messages);
        self.change(|machine, now| machine.receive(now, messages));
    }
}

/// Counts a thread out, however it ends.
struct Leaving<'a>(&'a Shared);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.locked.lock().threads -= 1;
        self.0.state_changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
