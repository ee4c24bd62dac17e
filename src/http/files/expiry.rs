//! How long browsers may keep a file without asking again, by its type.

use std::time::{Duration, SystemTime};

use crate::http::date;

/// One setting: files of a type may be kept for some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// A media type such as `text/css`, all of a kind (`image/*`), or all (`*/*`).
    pub media: String,
    /// For so long; zero means to ask each time.
    pub after: Duration,
}

impl Expiry {
    /// Files of this type may be kept for so long.
    pub fn new(media: &str, after: Duration) -> Self {
        let media = media.to_owned();
        Self { media, after }
    }

    fn specificity(&self, media: &str) -> Option<u8> {
        let kind = media.split('/').next().unwrap_or_default();
        if self.media.eq_ignore_ascii_case(media) {
            Some(2)
        } else if self
            .media
            .strip_suffix("/*")
            .is_some_and(|own| own.eq_ignore_ascii_case(kind))
        {
            Some(1)
        } else {
            (self.media == "*/*").then_some(0)
        }
    }
}

/// The values of `Cache-Control` and `Expires` for a file of this type (without parameters).
pub(super) fn headers(
    settings: &[Expiry],
    media: &str,
    now: SystemTime,
) -> Option<(String, String)> {
    let found = settings
        .iter()
        .filter_map(|setting| Some((setting.specificity(media)?, setting)))
        .max_by_key(|(specificity, _)| *specificity)?;
    let after = found.1.after;
    if after.as_secs() == 0 {
        return Some(("no-cache".to_owned(), "0".to_owned()));
    }
    let until = now
        .checked_add(after)
        .map_or_else(|| date::format(now), date::format);
    Some((format!("max-age={}", after.as_secs()), until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_setting_decides() {
        let setting = |media, seconds| Expiry::new(media, Duration::from_secs(seconds));
        let settings = [
            setting("*/*", 1),
            setting("image/*", 60),
            setting("Text/CSS", 3600),
            setting("image/gif", 0),
        ];
        let hour = "Thu, 01 Jan 1970 01:00:00 GMT";
        let minute = "Thu, 01 Jan 1970 00:01:00 GMT";
        let second = "Thu, 01 Jan 1970 00:00:01 GMT";
        for (media, cache, expires) in [
            ("text/css", "max-age=3600", hour),
            ("image/png", "max-age=60", minute),
            ("image/gif", "no-cache", "0"),
            ("text/html", "max-age=1", second),
        ] {
            let found = headers(&settings, media, SystemTime::UNIX_EPOCH);
            assert_eq!(
                found,
                Some((cache.to_owned(), expires.to_owned())),
                "{media}"
            );
        }
        assert_eq!(
            headers(&settings[1..2], "text/html", SystemTime::UNIX_EPOCH),
            None
        );
    }

    #[test]
    fn endless_times_do_not_overflow() {
        let settings = [Expiry::new("a/b", Duration::MAX)];
        let (cache, _) = headers(&settings, "a/b", SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(cache, format!("max-age={}", u64::MAX));
    }
}
