//! What is said of a file by its name: its media type, and how long browsers may keep it.

use std::time::{Duration, SystemTime};

use crate::http::date;

/// Knows the type of a file by its name; the embedder's endings go before the built-in ones.
#[derive(Clone, Debug, Default)]
pub(super) struct MediaTypes(Vec<(String, String)>);

impl MediaTypes {
    /// With these endings (`.ext`, in any case) and types added. Where several fit, the longest
    /// ending decides.
    pub(super) fn new(added: &[(String, String)]) -> Self {
        let dotted =
            |ending: &str| format!(".{}", ending.trim_start_matches('.').to_ascii_lowercase());
        let mut rows: Vec<_> = added
            .iter()
            .map(|(ending, media)| (dotted(ending), media.clone()))
            .collect();
        rows.sort_by_key(|(ending, _)| std::cmp::Reverse(ending.len()));
        Self(rows)
    }

    /// The type, without parameters unless an added ending brings some.
    pub(super) fn of(&self, name: &str) -> &str {
        let name = name.to_ascii_lowercase();
        let added = self.0.iter().find(|(ending, _)| name.ends_with(ending));
        let kept = || {
            KEPT.iter()
                .find(|(ending, _)| name.ends_with(ending))
                .map(|(_, media)| *media)
        };
        added
            .map(|(_, media)| media.as_str())
            .or_else(kept)
            .or_else(|| mime_guess::from_path(&name).first_raw())
            .unwrap_or("application/octet-stream")
    }
}

/// Whether a setting is a media type, perhaps with parameters, that can stand in a header.
pub(in crate::http) fn is_media_type(media: &str) -> bool {
    let plain = media.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let essence = media.split(';').next().unwrap_or_default();
    let named = |part: &str| !part.is_empty() && !part.contains([' ', '/', ',', '"']);
    plain
        && essence
            .split_once('/')
            .is_some_and(|(kind, sub)| named(kind) && named(sub.trim_end()))
}

/// The value of `Content-Type`: text is UTF-8, and says so.
pub(super) fn content_type(media: &str) -> String {
    let is_text = media.starts_with("text/")
        || [
            "application/javascript",
            "application/json",
            "image/svg+xml",
        ]
        .contains(&media)
        || media.ends_with("+json");
    let charset = if is_text && !media.contains(';') {
        ";charset=utf-8"
    } else {
        ""
    };
    format!("{media}{charset}")
}

/// Those that the server this one succeeds has always sent.
const KEPT: [(&str, &str); 8] = [
    (".js", "application/javascript"),
    (".html", "text/html"),
    (".htm", "text/html"),
    (".css", "text/css"),
    (".png", "image/png"),
    (".jpg", "image/jpeg"),
    (".jpeg", "image/jpeg"),
    (".gif", "image/gif"),
];

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
pub(super) fn expiry_headers(
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
    fn types_by_ending_in_any_case() {
        let types = MediaTypes::default();
        for (name, media) in [
            ("app.js", "application/javascript"),
            ("APP.JS", "application/javascript"),
            ("index.html", "text/html"),
            ("page.htm", "text/html"),
            ("style.css", "text/css"),
            ("logo.png", "image/png"),
            ("photo.jpg", "image/jpeg"),
            ("photo.JPEG", "image/jpeg"),
            ("anim.gif", "image/gif"),
            ("data.json", "application/json"),
            ("readme.txt", "text/plain"),
            ("drawing.svg", "image/svg+xml"),
            ("module.wasm", "application/wasm"),
            ("module.mjs", "application/javascript"),
            ("archive.tar.gz", "application/gzip"),
            ("icon.ico", "image/x-icon"),
            ("unknown.zzz", "application/octet-stream"),
            ("noextension", "application/octet-stream"),
            ("trailing.", "application/octet-stream"),
            ("js", "application/octet-stream"),
        ] {
            assert_eq!(types.of(name), media, "{name}");
        }
    }

    #[test]
    fn added_endings_go_first_and_the_longest_decides() {
        let added = [("js", "text/x"), (".min.js", "text/y"), ("ZZZ", "a/b")];
        let added = added.map(|(ending, media)| (ending.to_owned(), media.to_owned()));
        let types = MediaTypes::new(&added);
        for (name, media) in [
            ("a.js", "text/x"),
            ("a.min.JS", "text/y"),
            ("a.zzz", "a/b"),
            ("a.css", "text/css"),
        ] {
            assert_eq!(types.of(name), media, "{name}");
        }
    }

    #[test]
    fn settings_are_checked() {
        for media in [
            "text/css",
            "image/*",
            "*/*",
            "text/html;charset=latin1",
            "a/b ; c=d",
        ] {
            assert!(is_media_type(media), "{media}");
        }
        for media in [
            "",
            "css",
            "text/",
            "/css",
            "text/c/d",
            "text/css\r\nX: 1",
            "a b/c",
            "a/\u{e9}",
        ] {
            assert!(!is_media_type(media), "{media}");
        }
    }

    #[test]
    fn text_says_that_it_is_utf_8() {
        for (media, value) in [
            ("text/html", "text/html;charset=utf-8"),
            (
                "application/javascript",
                "application/javascript;charset=utf-8",
            ),
            ("application/json", "application/json;charset=utf-8"),
            (
                "application/manifest+json",
                "application/manifest+json;charset=utf-8",
            ),
            ("text/html;charset=latin1", "text/html;charset=latin1"),
            ("image/png", "image/png"),
            ("application/octet-stream", "application/octet-stream"),
        ] {
            assert_eq!(content_type(media), value);
        }
    }

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
            let found = expiry_headers(&settings, media, SystemTime::UNIX_EPOCH);
            assert_eq!(
                found,
                Some((cache.to_owned(), expires.to_owned())),
                "{media}"
            );
        }
        assert_eq!(
            expiry_headers(&settings[1..2], "text/html", SystemTime::UNIX_EPOCH),
            None
        );
    }

    #[test]
    fn endless_times_do_not_overflow() {
        let settings = [Expiry::new("a/b", Duration::MAX)];
        let (cache, _) = expiry_headers(&settings, "a/b", SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(cache, format!("max-age={}", u64::MAX));
    }
}
