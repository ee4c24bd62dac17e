//! HTTP dates: written at most once a second, read leniently.

use std::time::{Duration, SystemTime};

/// The `Date` of the present second, ready to be copied. One for each thread that writes heads.
#[derive(Debug, Default)]
pub(crate) struct DateCache {
    second: Option<u64>,
    text: String,
}

impl DateCache {
    /// Nothing cached yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The date at this moment, formatted anew only when the second has changed.
    pub(crate) fn at(&mut self, now: SystemTime) -> &str {
        let second = Some(seconds(now));
        if self.second != second {
            self.second = second;
            self.text = format(now);
        }
        &self.text
    }
}

/// A moment in the form of RFC 9110, such as `Thu, 01 Jan 1970 00:00:00 GMT`.
pub(super) fn format(moment: SystemTime) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds(moment)))
}

/// Reads any of the three forms that RFC 9110 knows.
pub(super) fn parse(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()
}

/// Whole seconds since 1970, kept within the years that can be written: file systems know others.
pub(super) fn seconds(moment: SystemTime) -> u64 {
    let since = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    since.as_secs().min(LAST_SECOND)
}

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    #[test]
    fn the_cached_date_follows_the_clock() {
        let clock = ManualClock::new();
        let mut cache = DateCache::new();
        assert_eq!(cache.at(clock.wall()), "Thu, 01 Jan 1970 00:00:00 GMT");
        clock.advance(Duration::from_millis(999));
        assert_eq!(cache.at(clock.wall()), "Thu, 01 Jan 1970 00:00:00 GMT");
        clock.advance(Duration::from_millis(1));
        assert_eq!(cache.at(clock.wall()), "Thu, 01 Jan 1970 00:00:01 GMT");
    }

    #[test]
    fn moments_outside_the_writable_years_are_clamped() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(
            format(epoch - Duration::from_secs(5)),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
        let late = epoch + Duration::from_secs(LAST_SECOND + 5);
        assert_eq!(format(late), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn dates_are_read_in_three_forms() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes()), Some(moment), "{text}");
        }
        for text in [&b"yesterday"[..], b"", b"\xff", b"Sun, 06 Nov 1994"] {
            assert_eq!(parse(text), None);
        }
    }
}
