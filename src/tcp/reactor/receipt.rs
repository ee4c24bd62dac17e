//! How far the peer is with what the kernel has taken for it.
//!
//! The kernel takes much at once; a peer that reads slowly has it long after. Nothing reports what
//! it acknowledges, so it is looked up when it matters, and now and then while somebody waits.

use std::time::Duration;

use super::connection::{Context, Core, Limits, Phase};
use super::wheel::Tick;

/// Somebody wants to know when the peer has everything up to a certain byte.
pub(super) struct Receipt {
    target: u64,
    /// When the peer last acknowledged anything, as far as was looked.
    progress: Tick,
    /// When to look next, and how long that is after the last look.
    pub(super) look: Tick,
    pause: Tick,
}

impl Core {
    /// Bytes of the output that the peer has acknowledged; a system call. What a layer makes of
    /// the bytes counts.
    pub(super) fn acknowledged(&self) -> u64 {
        self.bytes_out.saturating_sub(self.stream.unacknowledged())
    }

    /// Whether the peer has accepted enough since the write deadline was set, which begins anew
    /// then.
    pub(super) fn has_accepted(&mut self, ctx: &Context) -> bool {
        let acknowledged = self.acknowledged();
        let enough = acknowledged.saturating_sub(self.write_mark) >= ctx.limits.write_progress;
        if enough {
            self.write_deadline = ctx.tick + ctx.limits.write_timeout;
            self.write_mark = acknowledged;
        }
        enough
    }

    /// Our stream has ended: waits for the peer's, or for the peer to get on with ours.
    pub(super) fn linger(&mut self, ctx: &Context) {
        self.close_deadline = ctx.tick + ctx.limits.linger;
        self.write_mark = self.acknowledged();
    }

    /// Whether the connection waits for the peer once more, because that goes on reading, and not
    /// more slowly than it may while output waits.
    pub(super) fn lingers_on(&mut self, ctx: &Context) -> bool {
        let Limits {
            linger,
            write_timeout,
            write_progress,
            ..
        } = ctx.limits;
        let least = write_progress.saturating_mul(linger) / write_timeout.max(linger).max(1);
        let progress = self.acknowledged().saturating_sub(self.write_mark);
        let on = self.phase == Phase::Lingering && progress >= least.max(1);
        if on {
            self.linger(ctx);
        }
        on
    }

    /// Begins to wait until the peer has what the kernel has taken so far, unless it has.
    pub(super) fn watch_receipt(&mut self, ctx: &Context) -> bool {
        let target = self.bytes_out;
        if target - self.received <= ctx.limits.write_progress {
            return false;
        }
        self.received = self.received.max(self.acknowledged());
        if self.received >= target {
            self.receipt = None;
            return false;
        }
        let receipt = self.receipt.get_or_insert_with(|| {
            Box::new(Receipt {
                target,
                progress: ctx.tick,
                look: ctx.tick + FIRST_LOOK,
                pause: FIRST_LOOK,
            })
        });
        receipt.target = target;
        true
    }

    /// Looks how far the peer is. Whether there is something to tell: it has acknowledged more, or
    /// is not waited for any longer.
    pub(super) fn look_for_receipt(&mut self, ctx: &Context) -> bool {
        let acknowledged = self.acknowledged();
        let Some(receipt) = &mut self.receipt else {
            return false;
        };
        let progress = acknowledged > self.received;
        if progress {
            self.received = acknowledged;
            receipt.progress = ctx.tick;
        }
        let patience = ctx.limits.write_timeout;
        let silent = patience > 0 && ctx.tick - receipt.progress >= patience;
        if self.received >= receipt.target || silent {
            self.receipt = None;
            return true;
        }
        receipt.pause = (receipt.pause * 2).min(LONGEST_PAUSE);
        receipt.look = ctx.tick + receipt.pause;
        progress
    }

    /// For how long the peer has acknowledged nothing of what is waited for, if that is anything.
    pub(super) fn awaits_receipt(&self, ctx: &Context) -> Option<Duration> {
        let receipt = self.receipt.as_ref()?;
        Some(Duration::from_millis(ctx.tick - receipt.progress))
    }
}

/// Most peers have acknowledged everything by then.
const FIRST_LOOK: Tick = 50;
/// So late at the most it is noticed that a slow one has.
const LONGEST_PAUSE: Tick = 1000;
