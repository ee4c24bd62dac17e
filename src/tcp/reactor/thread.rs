//! One I/O thread: the loop of turns.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::config::Config;
use super::connection::{Context, Entry, Limits, Phase};
use super::mailbox::{Arrival, Command, Mailbox, Wakes};
use super::poll::Events;
use super::preconnect::Steps;
use super::service::{CloseReason, Service};
use super::slab::Slab;
use super::turn::Turn;
use super::wheel::{Tick, Ticks, Wheel};
use crate::clock::Clock;

pub(super) struct Thread<S: Service> {
    pub(super) service: S,
    pub(super) slab: Slab<Entry<S::Conn>>,
    pub(super) wheel: Wheel,
    pub(super) ctx: Context,
    pub(super) mailbox: Arc<Mailbox>,
    /// All reading goes through this.
    pub(super) scratch: Box<[u8]>,
    /// Keys of connections to look at next turn although nothing may have happened to them.
    pub(super) again: Vec<u64>,
    /// What accepted connections go through before the service gets them.
    pub(super) steps: Steps,
    clock: Arc<dyn Clock>,
    /// Set when the thread is to end: what is open then is aborted.
    pub(super) stop_at: Option<Tick>,
    /// Connections that open now are told at once that they should end.
    pub(super) draining: bool,
    /// How often the service was called.
    pub(super) calls: u64,
    /// The service was called after `turn_ended`, or something was put off, so another turn must
    /// follow at once.
    unfinished: bool,
    lists: Lists,
}

/// Lists that are filled and emptied each turn; kept, so that nothing is allocated.
#[derive(Default)]
struct Lists {
    arrivals: Vec<Arrival>,
    commands: Vec<Command>,
    wakes: Wakes,
    /// How many of `wakes` have been looked after.
    woken: usize,
    again: Vec<u64>,
    due: Vec<u32>,
    touched: Vec<u32>,
}

impl<S: Service> Thread<S> {
    pub(super) fn new(service: S, mailbox: Arc<Mailbox>, config: &Config) -> Self {
        let now = config.clock.now();
        let ctx = Context {
            now,
            tick: 0,
            ticks: Ticks::new(now),
            alarm: 0,
            connects: Vec::new(),
            limits: Limits::new(config),
            bytes_in: 0,
            bytes_out: 0,
        };
        Self {
            service,
            slab: Slab::new(),
            wheel: Wheel::new(),
            ctx,
            mailbox,
            scratch: vec![0; config.read_buffer.max(1024)].into(),
            again: Vec::new(),
            steps: config.pre_connect.clone().into(),
            clock: Arc::clone(&config.clock),
            stop_at: None,
            draining: false,
            calls: 0,
            unfinished: false,
            lists: Lists::default(),
        }
    }

    /// Runs until a stop command has been carried out.
    pub(super) fn run(mut self) {
        let mut events = Events::new();
        loop {
            let timeout = self.timeout();
            let waited = self.mailbox.poll.wait(&mut events, timeout);
            self.ctx.now = self.clock.now();
            self.ctx.tick = self.ctx.ticks.reached(self.ctx.now);
            let mut lists = mem::take(&mut self.lists);
            self.mailbox
                .wake_up(&mut lists.arrivals, &mut lists.commands);
            if let Err(error) = waited {
                log::error!("an I/O thread ends, because its poller fails: {error}");
                self.stop_at = Some(0);
            }
            for event in events.iter() {
                self.ready(&event);
            }
            self.turn(&mut lists);
            self.lists = lists;
            if self
                .stop_at
                .is_some_and(|at| at <= self.ctx.tick || self.slab.occupied() == 0)
            {
                break;
            }
        }
        self.end();
    }

    /// Everything of a turn that follows the events of the sockets.
    fn turn(&mut self, lists: &mut Lists) {
        let few = lists.arrivals.len().min(AT_A_TIME);
        for arrival in lists.arrivals.drain(..few) {
            self.arrive(arrival);
        }
        for command in lists.commands.drain(..) {
            self.obey(&command);
        }
        let behind = self.wake_some(lists);
        mem::swap(&mut self.again, &mut lists.again);
        for key in lists.again.drain(..) {
            self.continue_input(key);
        }
        self.wheel.expire(self.ctx.tick, &mut lists.due);
        let few = lists.due.len().min(AT_A_TIME);
        for slot in lists.due.drain(..few) {
            self.time_has_come(slot);
        }
        self.end_turn(&mut lists.touched);
        // Who waits for the next turn must not wait for an event.
        self.unfinished |= behind || !lists.arrivals.is_empty() || !lists.due.is_empty();
    }

    /// Looks after connections that were woken. Returns whether some are left for the next turn: in
    /// between others are read, and what they send to those who still wait goes out with the rest.
    fn wake_some(&mut self, lists: &mut Lists) -> bool {
        for _ in 0..WAKES_AT_A_TIME {
            if lists.woken == lists.wakes.keys().len() {
                lists.wakes.clear();
                lists.woken = 0;
                self.mailbox.take_wakes(&mut lists.wakes);
            }
            let Some(&key) = lists.wakes.keys().get(lists.woken) else {
                break;
            };
            lists.woken += 1;
            self.on_open_connection(key, |service, conn, io| service.woken(conn, io));
        }
        let behind = lists.woken < lists.wakes.keys().len();
        self.mailbox.announce_backlog(behind);
        behind
    }

    fn end_turn(&mut self, touched: &mut Vec<u32>) {
        self.ctx.alarm = 0;
        let mut turn = Turn {
            slab: &mut self.slab,
            ctx: &mut self.ctx,
            touched,
        };
        let service = &mut self.service;
        if catch_unwind(AssertUnwindSafe(|| service.turn_ended(&mut turn))).is_err() {
            self.mailbox.counters.panics.add(1);
        }
        let calls = self.calls;
        for slot in touched.drain(..) {
            if let Some(entry) = self.slab.take(slot) {
                self.settle(entry, Ok(()));
            }
        }
        for request in mem::take(&mut self.ctx.connects) {
            self.connect(request);
        }
        self.unfinished = self.calls > calls;
        self.slab.recycle();
        let counters = &self.mailbox.counters;
        counters.bytes_in.add(mem::take(&mut self.ctx.bytes_in));
        counters.bytes_out.add(mem::take(&mut self.ctx.bytes_out));
        counters.turns.add(1);
    }

    /// How long the next wait may last.
    fn timeout(&self) -> Option<Duration> {
        if self.unfinished || !self.again.is_empty() || !self.mailbox.fall_asleep() {
            return Some(Duration::ZERO);
        }
        let alarm = Some(self.ctx.alarm).filter(|tick| *tick > 0);
        let next = [self.wheel.next(), self.stop_at, alarm]
            .into_iter()
            .flatten()
            .min();
        let next = next.filter(|tick| *tick < Tick::MAX);
        next.map(|tick| self.ctx.ticks.until(tick, self.ctx.now))
    }

    fn obey(&mut self, command: &Command) {
        if let Command::Stop(deadline) = command {
            self.stop_at = Some(deadline.map_or(Tick::MAX, |at| self.ctx.ticks.due(at)));
        }
        self.draining = true;
        for slot in 0..self.slab.slots() {
            if let Some(mut entry) = self.slab.take(slot) {
                let outcome = match entry.core.phase {
                    Phase::Connecting | Phase::Opening => Err(CloseReason::Shutdown),
                    _ => self.tell(&mut entry),
                };
                self.settle(entry, outcome);
            }
        }
    }

    fn end(mut self) {
        let put_off = mem::take(&mut self.lists.arrivals);
        for arrival in put_off.into_iter().chain(self.mailbox.end()) {
            drop(arrival);
            self.lose();
        }
        for slot in 0..self.slab.slots() {
            if let Some(entry) = self.slab.take(slot) {
                let reason = match entry.core.phase {
                    Phase::Lingering => entry.core.reason.unwrap_or(CloseReason::Closed),
                    _ => CloseReason::Shutdown,
                };
                self.finish(entry, reason);
            }
        }
    }
}

/// New connections, and connections whose time has come, that are looked after in one turn: when
/// thousands come or go together, the others are served in between.
const AT_A_TIME: usize = 16;
/// The same for connections that were woken: a fan-out wakes all of its receivers together.
const WAKES_AT_A_TIME: usize = 64;
