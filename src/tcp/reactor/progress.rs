//! What the peer has acknowledged, and how long it is waited for.
//!
//! The kernel takes much at once; a peer that reads slowly has it long after. Nothing reports what
//! it acknowledges, so it is looked up when it matters, and now and then while somebody waits.

use std::time::Duration;

use super::connection::{Core, Env, Phase};
use super::timer::{Tick, ticks_in};

/// How a peer gets on. One that reads slowly and steadily shows it in steps: its system tells of
/// room only when a good part of its buffer is free. So for its next step it has several times as
/// long as its last one took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// What it had acknowledged after its last step.
    mark: u64,
    /// When that was.
    since: Tick,
    /// How long it is waited for from then on.
    patience: Tick,
}

impl Progress {
    fn begin(acknowledged: u64, now: Tick, timeout: Tick) -> Self {
        Self::default().go_on(acknowledged, now, timeout)
    }

    /// Begins anew, with what is known of its steps.
    fn go_on(self, acknowledged: u64, now: Tick, timeout: Tick) -> Self {
        Self {
            mark: acknowledged,
            since: now,
            patience: self.patience.max(timeout),
        }
    }

    /// Notes what it has acknowledged. Whether that is a step, of `least` bytes or more.
    fn note(&mut self, acknowledged: u64, least: u64, now: Tick, timeout: Tick) -> bool {
        // It may have been behind when it was last written to.
        self.mark = self.mark.min(acknowledged);
        let step = acknowledged - self.mark >= least;
        if step {
            let took = now - self.since;
            let most = timeout.saturating_mul(LONGEST_STEP);
            *self = Self {
                mark: acknowledged,
                since: now,
                patience: took.saturating_mul(STEPS).clamp(timeout, most),
            };
        }
        step
    }

    fn silent(&self, now: Tick) -> Tick {
        now - self.since
    }

    fn is_over(&self, now: Tick) -> bool {
        self.silent(now) >= self.patience
    }

    /// When to look again.
    fn look(&self, now: Tick) -> Tick {
        let rest = self.patience.saturating_sub(self.silent(now));
        now + rest.min(self.patience / LOOKS).max(1)
    }
}

impl Core {
    /// Sets, moves or lifts the time of the next look, after something was or was not written.
    pub(super) fn watch_progress(&mut self, env: &Env) {
        let Some(timeout) = env.write_timeout() else {
            return;
        };
        if self.has_unsent() {
            if self.write_look == 0 {
                let acknowledged = self.acknowledged();
                self.progress = self.progress.go_on(acknowledged, env.tick, timeout);
                self.write_look = self.progress.look(env.tick);
            } else {
                self.note_progress(env, timeout);
            }
        } else if !self.flags.watched {
            if self.write_look > 0 {
                self.note_progress(env, timeout);
            }
        } else if self.write_look == 0 {
            // Each write would be too often to look.
            self.progress = self.progress.go_on(self.bytes_out, env.tick, timeout);
            self.write_look = self.progress.look(env.tick);
        }
    }

    /// Bytes of the output that the peer has acknowledged; a system call. What a layer makes of
    /// the bytes counts.
    pub(super) fn acknowledged(&self) -> u64 {
        self.bytes_out.saturating_sub(self.stream.unacknowledged())
    }

    fn note_progress(&mut self, env: &Env, timeout: Tick) {
        let acknowledged = self.acknowledged();
        // Where the kernel has all of it, the rest may be less than is asked for.
        let least = match self.has_unsent() {
            true => env.write_progress(),
            false => 1,
        };
        self.progress.note(acknowledged, least, env.tick, timeout);
        let waits = self.flags.watched && acknowledged < self.bytes_out;
        self.write_look = match waits || self.has_unsent() {
            true => self.progress.look(env.tick),
            false => 0,
        };
    }

    /// Looks whether the peer has accepted more. `false`: it has taken too long, and the connection
    /// is to be given up.
    pub(super) fn gets_on(&mut self, env: &Env) -> bool {
        if let Some(timeout) = env.write_timeout() {
            self.note_progress(env, timeout);
        }
        self.write_look == 0 || !self.progress.is_over(env.tick)
    }

    /// Our stream has ended: waits for the peer's, or for the peer to get on with ours.
    pub(super) fn linger(&mut self, env: &Env) {
        let linger = ticks_in(env.config.linger).max(1);
        self.close_deadline = env.tick + linger;
        let acknowledged = self.acknowledged();
        self.progress = self.progress.go_on(acknowledged, env.tick, linger);
    }

    /// Whether the connection waits for the peer once more, because that goes on reading, and not
    /// more slowly than it may while output waits.
    pub(super) fn lingers_on(&mut self, env: &Env) -> bool {
        if self.phase != Phase::Lingering {
            return false;
        }
        let linger = ticks_in(env.config.linger).max(1);
        let at_most = env.write_timeout().unwrap_or(0).max(linger);
        let least = env.write_progress().saturating_mul(linger) / at_most;
        let acknowledged = self.acknowledged();
        let (now, least) = (env.tick, least.max(1));
        let step = self.progress.note(acknowledged, least, now, linger);
        let on = step || (acknowledged < self.bytes_out && !self.progress.is_over(now));
        if on {
            self.close_deadline = now + linger;
        }
        on
    }

    /// Begins to wait until the peer has what the kernel has taken so far, unless it has.
    pub(super) fn watch_receipt(&mut self, env: &Env) -> bool {
        let target = self.bytes_out;
        if target - self.received <= env.write_progress() {
            return false;
        }
        self.received = self.received.max(self.acknowledged());
        if self.received >= target {
            self.receipt = None;
            return false;
        }
        let timeout = env.write_timeout().unwrap_or(Tick::MAX);
        let received = self.received;
        let receipt = self.receipt.get_or_insert_with(|| {
            Box::new(Receipt {
                target,
                progress: Progress::begin(received, env.tick, timeout),
                look: env.tick + FIRST_LOOK,
                pause: FIRST_LOOK,
            })
        });
        receipt.target = target;
        true
    }

    /// Looks how far the peer is. Whether there is something to tell: it has acknowledged more, or
    /// is not waited for any longer.
    pub(super) fn look_for_receipt(&mut self, env: &Env) -> bool {
        let acknowledged = self.acknowledged();
        let Some(receipt) = &mut self.receipt else {
            return false;
        };
        let timeout = env.write_timeout().unwrap_or(Tick::MAX);
        let step = receipt.progress.note(acknowledged, 1, env.tick, timeout);
        self.received = self.received.max(acknowledged);
        if self.received >= receipt.target || receipt.progress.is_over(env.tick) {
            self.receipt = None;
            return true;
        }
        receipt.pause = (receipt.pause * 2).min(LONGEST_PAUSE);
        receipt.look = env.tick + receipt.pause;
        step
    }

    /// For how long the peer has acknowledged nothing of what is waited for, if that is anything.
    pub(super) fn awaits_receipt(&self, env: &Env) -> Option<Duration> {
        let receipt = self.receipt.as_ref()?;
        Some(Duration::from_millis(receipt.progress.silent(env.tick)))
    }
}

/// Somebody wants to know when the peer has everything up to a certain byte.
pub(super) struct Receipt {
    target: u64,
    /// As far as was looked.
    progress: Progress,
    /// When to look next, and how long that is after the last look.
    pub(super) look: Tick,
    pause: Tick,
}

/// The next step of a peer may take so many times as long as the last one.
const STEPS: Tick = 4;
/// But not longer than so many times the time that it has anyway.
const LONGEST_STEP: Tick = 10;
/// A peer that is waited for is looked after so often.
const LOOKS: Tick = 8;
/// Most peers have acknowledged everything by then.
const FIRST_LOOK: Tick = 50;
/// So late at the most it is noticed that a slow one has.
const LONGEST_PAUSE: Tick = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Tick = 1000;

    #[test]
    fn who_takes_larger_steps_has_longer_for_them() {
        let mut progress = Progress::begin(0, 0, TIMEOUT);
        assert!(!progress.note(99, 100, 500, TIMEOUT), "too little");
        assert!(!progress.is_over(TIMEOUT - 1) && progress.is_over(TIMEOUT));
        assert!(progress.note(100, 100, 900, TIMEOUT));
        assert!(!progress.is_over(900 + 3599) && progress.is_over(900 + 3600));
        assert!(progress.note(200, 100, 4000, TIMEOUT), "in 3.1 s");
        assert!(!progress.is_over(13_999), "no longer than ten times");
        assert!(progress.is_over(14_000));
        assert!(progress.note(300, 100, 4010, TIMEOUT), "at once");
        assert!(!progress.is_over(5009) && progress.is_over(5010));
    }

    #[test]
    fn who_is_behind_what_was_assumed_has_taken_no_step() {
        let mut progress = Progress::begin(500, 0, TIMEOUT);
        assert!(!progress.note(200, 100, 100, TIMEOUT));
        assert!(progress.is_over(TIMEOUT));
        assert!(progress.note(300, 100, 200, TIMEOUT));
    }

    #[test]
    fn looks_come_often_and_not_after_the_end() {
        let progress = Progress::begin(0, 0, TIMEOUT);
        assert_eq!(progress.look(0), TIMEOUT / LOOKS);
        assert_eq!(progress.look(TIMEOUT - 10), TIMEOUT);
        assert_eq!(progress.look(TIMEOUT + 5), TIMEOUT + 6);
    }
}
