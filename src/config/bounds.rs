//! What a server may take of the memory.

use super::server::Config;
use crate::settings::{Bound, Bounds};

impl Config {
    /// All that the settings allow to be in memory at the same time, each by the module that has
    /// it. What a process takes before its first client, and what user code keeps, comes on top.
    pub(crate) fn bounds(&self) -> Bounds {
        let parts = [
            self.broker.bounds(),
            self.broker.traffic.bounds(),
            self.log_bounds(),
        ];
        Bounds(parts.into_iter().flatten().collect())
    }

    /// Each log has lines that wait, and as many again that are being written. Beside a file there
    /// is standard error.
    fn log_bounds(&self) -> Vec<Bound> {
        let logs =
            1 + usize::from(self.log_file.is_some()) + usize::from(self.access_log.is_some());
        let by = "log_queue, log_file, access_log";
        vec![Bound::of(
            "queues of the logs",
            2 * logs,
            self.log_queue,
            by,
        )]
    }
}
