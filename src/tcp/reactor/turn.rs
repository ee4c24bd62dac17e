//! The end of a turn, when a service may reach any connection of its thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::connect::Connect;
use super::connection::{Context, Entry, Phase};
use super::io::Io;
use super::service::CloseReason;
use super::slab::{Slab, slot_of};

/// Given to [`Service::turn_ended`](super::Service::turn_ended).
pub struct Turn<'a, C> {
    pub(super) slab: &'a mut Slab<Entry<C>>,
    pub(super) ctx: &'a mut Context,
    /// Slots whose connections must be looked after when the service is done.
    pub(super) touched: &'a mut Vec<u32>,
}

impl<C> Turn<'_, C> {
    /// The time, read once per turn.
    pub fn now(&self) -> Instant {
        self.ctx.now
    }

    /// Wants a turn at that time at the latest. Holds until `turn_ended` is called again.
    pub fn wake_at(&mut self, at: Instant) {
        let tick = self.ctx.ticks.due(at);
        if self.ctx.alarm == 0 || tick < self.ctx.alarm {
            self.ctx.alarm = tick;
        }
    }

    /// Makes a connection. Ends in exactly one call, later: of [`Service::open`] with the ticket,
    /// or of [`Service::connect_failed`].
    ///
    /// [`Service::open`]: super::Service::open
    /// [`Service::connect_failed`]: super::Service::connect_failed
    pub fn connect(&mut self, request: Connect) {
        self.ctx.connects.push(request);
    }

    /// Calls `work` with the connection that has this key. `None` if it is gone or being closed,
    /// and also if `work` panics, which closes the connection.
    pub fn with<R>(&mut self, key: u64, work: impl FnOnce(&mut C, &mut Io<'_>) -> R) -> Option<R> {
        let mut entry = self.slab.take_by_key(key)?;
        let Entry { core, conn } = &mut *entry;
        let mut result = None;
        if let (Some(conn), Phase::Open) = (conn, core.phase) {
            let mut io = Io {
                core,
                ctx: self.ctx,
            };
            match catch_unwind(AssertUnwindSafe(|| work(conn, &mut io))) {
                Ok(value) => result = Some(value),
                Err(_) => core.doom(CloseReason::Panic),
            }
            self.touched.push(slot_of(key));
        }
        self.slab.put(slot_of(key), entry);
        result
    }
}
