//! Times as sessions keep them: in a fourth of what the system takes for them.

use std::time::{Duration, SystemTime};

use crate::clock::FOREVER;

/// A moment in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallTime(u32);

impl From<SystemTime> for WallTime {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        Self(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

impl From<WallTime> for SystemTime {
    fn from(time: WallTime) -> Self {
        Self::UNIX_EPOCH + Duration::from_secs(time.0.into())
    }
}

/// How long a session lives, in milliseconds. The most is for ever.
#[derive(Clone, Copy, Default)]
pub(super) struct Lifetime(u32);

impl From<Duration> for Lifetime {
    fn from(time: Duration) -> Self {
        Self(u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
    }
}

impl From<Lifetime> for Duration {
    fn from(time: Lifetime) -> Self {
        match time.0 {
            u32::MAX => FOREVER,
            millis => Self::from_millis(millis.into()),
        }
    }
}
