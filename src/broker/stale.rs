//! Clients that go on connecting with the id of a session that there is not.
//!
//! Stock clients shake hands again when they are told that their session is unknown. Others connect
//! again at once, with the same id, for ever. From the third time on their answers wait.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::request::Run;
use crate::protocol::{ClientId, Message, SentId};
use crate::refusals::Reason;
use crate::transport::ConnectionHandle;

/// How often each client was refused on each connection.
#[derive(Default)]
pub(crate) struct StaleConnects {
    hasher: RandomState,
    rows: Mutex<HashMap<u64, Row>>,
}

/// Refusals in a row.
struct Row {
    count: u32,
    last: Instant,
}

impl StaleConnects {
    /// One more connect was refused; how long its answer has to wait.
    pub(crate) fn wait(
        &self,
        connection: &ConnectionHandle,
        client: Option<&ClientId>,
        now: Instant,
    ) -> Duration {
        let sink = Arc::as_ptr(&connection.sink).cast::<()>() as usize;
        let key = self.hasher.hash_one((sink, connection.key, client));
        let is_old = |row: &Row| now.saturating_duration_since(row.last) >= FORGOTTEN;
        let mut rows = self.rows.lock();
        if rows.len() >= MAX_ROWS && !rows.contains_key(&key) {
            rows.retain(|_, row| !is_old(row));
            if rows.len() >= MAX_ROWS {
                // All may begin anew: what they are spared is little.
                rows.clear();
            }
        }
        let row = rows.entry(key).or_insert(Row {
            count: 0,
            last: now,
        });
        let before = if is_old(row) { 0 } else { row.count };
        let wait = wait_of(before + 1);
        *row = Row {
            count: (before + 1).min(LAST),
            last: now + wait,
        };
        wait
    }
}

impl Run {
    /// A connect of a session that there is not is refused.
    pub(super) fn may_have_to_wait(&mut self, message: Message<'_>) {
        let client = message.client_id().and_then(SentId::id);
        let (core, ip) = (&self.core, self.peer.ip);
        let now = core.clock.now();
        let wait = core.stale.wait(&self.connection, client.as_ref(), now);
        if !wait.is_zero() {
            let seen = format_args!("{ip} goes on connecting with the id of no session");
            core.refusals.count(Reason::StaleSession, seen);
            self.wait = self.wait.max(wait);
        }
    }
}

/// How long the answer to so many in a row waits.
fn wait_of(count: u32) -> Duration {
    match count.checked_sub(FIRST) {
        None => Duration::ZERO,
        Some(more) => LONGEST.min(SHORTEST * (1 << more)),
    }
}

/// The first that has to wait, and the first that has to wait longest.
const FIRST: u32 = 3;
const LAST: u32 = FIRST + 4;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);
/// Who connects no more often than that is no burden.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Half a MiB.
const MAX_ROWS: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::transport::WakeSink;

    #[derive(Default)]
    struct Connections;

    impl WakeSink for Connections {
        fn wake(&self, _keys: &[u64]) {}
    }

    fn connection(sink: &Arc<Connections>, key: u64) -> ConnectionHandle {
        ConnectionHandle {
            sink: Arc::clone(sink) as _,
            key,
        }
    }

    #[test]
    fn the_third_waits_a_second_and_each_further_one_longer() {
        let clock = ManualClock::new();
        let stale = StaleConnects::default();
        let sink = Arc::<Connections>::default();
        let (a, b) = (ClientId::random(), ClientId::random());
        let seconds = |connection: &ConnectionHandle, client: Option<&ClientId>| {
            stale.wait(connection, client, clock.now()).as_secs()
        };
        let one = connection(&sink, 1);
        let waits: Vec<_> = (0..9).map(|_| seconds(&one, Some(&a))).collect();
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 10, 10, 10]);
        // Another connection, another client, and one that has no id.
        for (key, client) in [(2, Some(&a)), (1, Some(&b)), (1, None)] {
            assert_eq!(seconds(&connection(&sink, key), client), 0);
        }
        clock.advance(FORGOTTEN + LONGEST);
        assert_eq!(seconds(&one, Some(&a)), 0, "forgotten");
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let now = ManualClock::new().now();
        let stale = StaleConnects::default();
        let sink = Arc::<Connections>::default();
        for key in 0..3 * MAX_ROWS as u64 {
            stale.wait(&connection(&sink, key), None, now);
            assert!(stale.rows.lock().len() <= MAX_ROWS);
        }
    }
}
