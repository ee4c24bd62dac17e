//! One I/O thread: the loop of turns.

use std::collections::VecDeque;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::accept::Accepted;
use super::config::Config;
use super::connection::{Entry, Env, Phase};
use super::io::Turn;
use super::mailbox::{Command, Mailbox, Wakes};
use super::open::Steps;
use super::poll::Events;
use super::service::{CloseReason, Service};
use super::slab::Slab;
use super::timer::{Tick, Ticks, Timers};

pub(super) struct Thread<S: Service> {
    pub(super) service: S,
    pub(super) slab: Slab<Entry<S::Conn>>,
    pub(super) timers: Timers,
    pub(super) env: Env,
    pub(super) mailbox: Arc<Mailbox>,
    /// All reading goes through this.
    pub(super) scratch: Box<[u8]>,
    /// What accepted connections go through before the service gets them.
    pub(super) steps: Steps,
    /// Set when the thread is to end: what is open then is aborted.
    pub(super) stop_at: Option<Tick>,
    /// Connections that open now are told at once that they should end.
    pub(super) draining: bool,
    /// How often the service was called.
    pub(super) calls: u64,
    /// The service was called after `turn_ended`, so another turn must follow at once.
    unfinished: bool,
    /// Connections that have come and had no turn yet.
    arrivals: VecDeque<Accepted>,
    /// Connections that were woken and had no turn yet.
    wakes: Wakes,
    /// Keys of connections to look at next turn although nothing may have happened to them.
    pub(super) again: Vec<u64>,
    /// Connections that the service has used at the end of the turn.
    touched: Vec<u32>,
}

impl<S: Service> Thread<S> {
    pub(super) fn new(service: S, mailbox: Arc<Mailbox>, config: &Config) -> Self {
        let now = config.clock.now();
        let env = Env {
            config: config.clone(),
            now,
            tick: 0,
            ticks: Ticks::new(now),
            alarm: 0,
            gathered: Vec::new(),
            connects: Vec::new(),
            bytes_in: 0,
            bytes_out: 0,
        };
        Self {
            service,
            slab: Slab::new(),
            timers: Timers::default(),
            env,
            mailbox,
            scratch: vec![0; config.read_buffer.max(1024)].into(),
            steps: config.pre_connect.clone().into(),
            stop_at: None,
            draining: false,
            calls: 0,
            unfinished: false,
            arrivals: VecDeque::new(),
            wakes: Wakes::default(),
            again: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Runs until a stop command has been carried out.
    pub(super) fn run(mut self) {
        let mut events = Events::new();
        while !self.is_over() {
            let timeout = self.timeout();
            let waited = self.mailbox.poll.wait(&mut events, timeout);
            self.env.now = self.env.config.clock.now();
            self.env.tick = self.env.ticks.reached(self.env.now);
            let command = self.mailbox.wake_up(&mut self.arrivals);
            if let Err(error) = waited {
                log::error!("an I/O thread ends, because its poller fails: {error}");
                self.stop_at = Some(0);
            }
            for event in events.iter() {
                self.ready(&event);
            }
            self.turn(command);
        }
        self.end();
    }

    fn is_over(&self) -> bool {
        let idle = self.slab.occupied() == 0;
        self.stop_at.is_some_and(|at| idle || at <= self.env.tick)
    }

    /// Everything of a turn that follows the events of the sockets.
    fn turn(&mut self, command: Option<Command>) {
        for _ in 0..AT_A_TIME {
            let Some(accepted) = self.arrivals.pop_front() else {
                break;
            };
            self.arrive(accepted);
        }
        if let Some(command) = command {
            self.drain(command);
        }
        // In between others are read, and what they send to those who still wait to be woken goes
        // out with the rest.
        // Who is woken meanwhile, perhaps by itself, has its turn after them.
        self.mailbox.take_wakes(&mut self.wakes);
        for _ in 0..WAKES_AT_A_TIME {
            let Some(key) = self.wakes.next() else {
                break;
            };
            self.on_open_connection(key, |service, conn, io| service.woken(conn, io));
        }
        self.mailbox.announce_backlog(!self.wakes.is_empty());
        let again = self.again.len();
        for index in 0..again {
            self.continue_input(self.again[index]);
        }
        self.again.drain(..again);
        for _ in 0..AT_A_TIME {
            let Some(slot) = self.timers.pop_due(self.env.tick) else {
                break;
            };
            self.timer_due(slot);
        }
        self.end_turn();
    }

    fn end_turn(&mut self) {
        self.env.alarm = 0;
        let mut turn = Turn {
            slab: &mut self.slab,
            env: &mut self.env,
            touched: &mut self.touched,
        };
        let service = &mut self.service;
        if catch_unwind(AssertUnwindSafe(|| service.turn_ended(&mut turn))).is_err() {
            self.mailbox.counters.panics.one();
        }
        let calls = self.calls;
        for index in 0..self.touched.len() {
            if let Some(entry) = self.slab.take(self.touched[index]) {
                self.put_back(entry, Ok(()));
            }
        }
        self.touched.clear();
        for request in mem::take(&mut self.env.connects) {
            self.connect(request);
        }
        self.unfinished = self.calls > calls;
        self.slab.recycle();
        let counters = &self.mailbox.counters;
        counters.bytes_in.add(mem::take(&mut self.env.bytes_in));
        counters.bytes_out.add(mem::take(&mut self.env.bytes_out));
        counters.turns.one();
    }

    /// How long the next wait may last.
    fn timeout(&self) -> Option<Duration> {
        let behind = self.unfinished
            || !self.again.is_empty()
            || !self.arrivals.is_empty()
            || !self.wakes.is_empty();
        if behind || !self.mailbox.fall_asleep() {
            return Some(Duration::ZERO);
        }
        let alarm = Some(self.env.alarm).filter(|tick| *tick > 0);
        let all = [self.timers.next(), self.stop_at, alarm];
        let next = all.into_iter().flatten().min();
        let next = next.filter(|tick| *tick < Tick::MAX);
        next.map(|tick| self.env.ticks.until(tick, self.env.now))
    }

    fn drain(&mut self, command: Command) {
        if let Command::Stop(deadline) = command {
            self.stop_at = Some(deadline.map_or(Tick::MAX, |at| self.env.ticks.due(at)));
        }
        self.draining = true;
        for slot in 0..self.slab.slots() {
            if let Some(mut entry) = self.slab.take(slot) {
                let outcome = match entry.core.phase {
                    Phase::Connecting | Phase::Opening => Err(CloseReason::Shutdown),
                    _ => self.tell_stopping(&mut entry),
                };
                self.put_back(entry, outcome);
            }
        }
    }

    fn end(mut self) {
        self.arrivals.append(&mut self.mailbox.end());
        while let Some(accepted) = self.arrivals.pop_front() {
            drop(accepted);
            self.count_lost();
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
