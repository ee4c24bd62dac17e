//! One I/O thread: the loop of turns.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polling::Events;

use super::config::Config;
use super::connection::{Context, Core, Entry, Limits};
use super::io::Io;
use super::mailbox::{Arrival, Command, Mailbox, Wakes};
use super::poll::{Interest, Source};
use super::service::{CloseReason, Service};
use super::slab::{Slab, slot_of};
use super::stream::Stream;
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
    clock: Arc<dyn Clock>,
    /// Set when the thread is to end: what is open then is aborted.
    stop_at: Option<Tick>,
    /// Connections that open now are told at once that they should end.
    draining: bool,
    lists: Lists,
}

/// Lists that are filled and emptied each turn; kept, so that nothing is allocated.
#[derive(Default)]
struct Lists {
    arrivals: Vec<Arrival>,
    commands: Vec<Command>,
    wakes: Wakes,
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
            clock: Arc::clone(&config.clock),
            stop_at: None,
            draining: false,
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
        for arrival in lists.arrivals.drain(..) {
            self.arrive(arrival);
        }
        for command in lists.commands.drain(..) {
            self.obey(&command);
        }
        self.mailbox.take_wakes(&mut lists.wakes);
        for key in lists.wakes.keys() {
            self.on_open_connection(*key, |service, conn, io| service.woken(conn, io));
        }
        lists.wakes.clear();
        mem::swap(&mut self.again, &mut lists.again);
        for key in lists.again.drain(..) {
            self.continue_input(key);
        }
        self.wheel.expire(self.ctx.tick, &mut lists.due);
        for slot in lists.due.drain(..) {
            self.time_has_come(slot);
        }
        self.end_turn(&mut lists.touched);
    }

    fn end_turn(&mut self, touched: &mut Vec<u32>) {
        let mut turn = Turn {
            slab: &mut self.slab,
            ctx: &mut self.ctx,
            touched,
        };
        let service = &mut self.service;
        if catch_unwind(AssertUnwindSafe(|| service.turn_ended(&mut turn))).is_err() {
            self.mailbox.counters.panics.add(1);
        }
        for slot in touched.drain(..) {
            if let Some(entry) = self.slab.take(slot) {
                self.settle(entry, Ok(()));
            }
        }
        self.slab.recycle();
        let counters = &self.mailbox.counters;
        counters.bytes_in.add(mem::take(&mut self.ctx.bytes_in));
        counters.bytes_out.add(mem::take(&mut self.ctx.bytes_out));
        counters.turns.add(1);
    }

    /// How long the next wait may last.
    fn timeout(&self) -> Option<Duration> {
        if !self.again.is_empty() || !self.mailbox.fall_asleep() {
            return Some(Duration::ZERO);
        }
        let next = match (self.wheel.next(), self.stop_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        next.map(|tick| self.ctx.ticks.until(tick, self.ctx.now))
    }

    fn arrive(&mut self, arrival: Arrival) {
        if self.stop_at.is_some() {
            return self.lose();
        }
        let Some(key) = self.slab.reserve() else {
            return self.lose();
        };
        let slot = slot_of(key);
        self.mailbox.set_slots(self.slab.slots());
        let Arrival {
            socket,
            peer,
            listener,
            permit,
        } = arrival;
        let poll = Arc::clone(&self.mailbox.poll);
        let source = match Source::register(poll, socket, slot as usize, Interest::READ) {
            Ok(source) => source,
            Err(error) => {
                log::warn!("a connection from {peer} is lost: {error}");
                self.slab.release(slot);
                return self.lose();
            }
        };
        let core = Core::new(Stream::new(source), key, peer, listener, permit);
        self.open(Box::new(Entry { core, conn: None }));
    }

    fn lose(&self) {
        self.mailbox.counters.failed.add(1);
        self.mailbox.load.fetch_sub(1, Ordering::Relaxed);
    }

    fn open(&mut self, mut entry: Box<Entry<S::Conn>>) {
        let service = &mut self.service;
        let mut io = Io {
            core: &mut entry.core,
            ctx: &mut self.ctx,
        };
        match catch_unwind(AssertUnwindSafe(|| service.open(&mut io))) {
            Ok(Ok(conn)) => {
                entry.conn = Some(conn);
                self.mailbox.counters.opened.add(1);
                let outcome = if self.draining {
                    self.tell(&mut entry)
                } else {
                    Ok(())
                };
                self.settle(entry, outcome);
            }
            Ok(Err(_refuse)) => {
                self.mailbox.counters.refused.add(1);
                self.finish(entry, CloseReason::Closed);
            }
            Err(_) => self.finish(entry, CloseReason::Panic),
        }
    }

    fn obey(&mut self, command: &Command) {
        if let Command::Stop(deadline) = command {
            self.stop_at = Some(self.ctx.ticks.due(*deadline));
        }
        self.draining = true;
        for slot in 0..self.slab.slots() {
            if let Some(mut entry) = self.slab.take(slot) {
                let outcome = self.tell(&mut entry);
                self.settle(entry, outcome);
            }
        }
    }

    fn end(mut self) {
        for arrival in self.mailbox.end() {
            drop(arrival);
            self.lose();
        }
        for slot in 0..self.slab.slots() {
            if let Some(entry) = self.slab.take(slot) {
                let reason = entry.core.reason.unwrap_or(CloseReason::Shutdown);
                self.finish(entry, reason);
            }
        }
    }
}
