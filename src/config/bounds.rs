//! What a server may take of the memory.

use super::server::Config;
use crate::settings::Bounds;

impl Config {
    /// All that the settings allow to be in memory at the same time, each by the module that has
    /// it. What a process takes before its first client, and what user code keeps, comes on top.
    pub(crate) fn bounds(&self) -> Bounds {
        let parts = [
            self.broker.bounds(),
            #[cfg(feature = "native")]
            self.native.bounds(),
        ];
        Bounds(parts.into_iter().flatten().collect())
    }
}
