//! Settings that are one of a few words, and the map of media types.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::http::{self, CallbackPolling, SameSite};
use crate::settings::{Form, Kind, Named, Time, elements};
use crate::transport::Transport;

/// Which connector serves the public addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connector {
    /// A fixed number of threads with a poller each: any number of connections.
    Native,
    /// The small, portable one on the `tiny_http` crate; for trusted networks only.
    TinyHttp,
}

impl Named for Connector {
    const WORDS: &'static [(&'static str, Self)] =
        &[("native", Self::Native), ("tiny-http", Self::TinyHttp)];
}

impl Named for CallbackPolling {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("guarded", Self::Guarded),
        ("open", Self::Open),
        ("off", Self::Off),
    ];
}

impl Named for SameSite {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("unset", Self::Unset),
        ("lax", Self::Lax),
        ("strict", Self::Strict),
        ("none", Self::None),
    ];
}

impl Named for Transport {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("websocket", Self::WebSocket),
        ("eventsource", Self::EventSource),
        ("long-polling", Self::LongPolling),
        ("callback-polling", Self::CallbackPolling),
    ];
}

/// `TYPE=DURATION`, several of them.
pub(super) struct TypeTimes;

impl Kind for TypeTimes {
    type Value = BTreeMap<String, Duration>;

    fn parse(&self, text: &str) -> Result<Self::Value, String> {
        let mut map = BTreeMap::new();
        for element in elements(text) {
            let Some((name, time)) = element.split_once('=') else {
                return Err(format!("`{element}` is no pair, such as `text/css=1h`"));
            };
            let name = name.trim().to_ascii_lowercase();
            if !is_media_type(&name) {
                return Err(format!("`{name}` is no media type, such as `text/css`"));
            }
            let time = Time
                .parse(time.trim())
                .map_err(|error| format!("{name}: {error}"))?;
            if map.insert(name.clone(), time).is_some() {
                return Err(format!("`{name}` is there twice"));
            }
        }
        Ok(map)
    }

    fn form(&self) -> Form {
        Form {
            list: true,
            ..Form::one("TYPE=DURATION", "")
        }
    }

    /// The longest of them.
    fn amount(&self, value: &Self::Value) -> Option<u128> {
        value.values().map(Duration::as_nanos).max()
    }

    fn limit(&self, text: &str) -> Option<u128> {
        Time.limit(text)
    }
}

/// `ENDING=TYPE`, several of them.
pub(super) struct EndingTypes;

impl Kind for EndingTypes {
    type Value = BTreeMap<String, String>;

    fn parse(&self, text: &str) -> Result<Self::Value, String> {
        let mut map = BTreeMap::new();
        for element in elements(text) {
            let Some((ending, name)) = element.split_once('=') else {
                return Err(format!(
                    "`{element}` is no pair, such as `md=text/markdown`"
                ));
            };
            let ending = ending.trim().trim_start_matches('.').to_ascii_lowercase();
            let name = name.trim().to_ascii_lowercase();
            if ending.is_empty() || ending.contains(['/', ' ']) {
                return Err(format!("`{element}` has no ending, such as `md`"));
            }
            if !is_media_type(&name) {
                return Err(format!("`{name}` is no media type, such as `text/css`"));
            }
            if map.insert(ending.clone(), name).is_some() {
                return Err(format!("`{ending}` is there twice"));
            }
        }
        Ok(map)
    }

    fn form(&self) -> Form {
        Form {
            list: true,
            ..Form::one("ENDING=TYPE", "")
        }
    }
}

/// Of one type, without parameters.
fn is_media_type(name: &str) -> bool {
    http::is_media_type(name) && !name.contains(['*', ';', ' '])
}

#[cfg(test)]
mod tests {
    use log::LevelFilter;

    use super::*;
    use crate::broker::Overflow;
    use crate::settings::Word;

    #[test]
    fn words() {
        let overflow = Word::<Overflow>::KIND;
        assert_eq!(overflow.parse("drop-oldest"), Ok(Overflow::DropOldest));
        assert_eq!(overflow.parse("drop_newest"), Ok(Overflow::DropNewest));
        assert_eq!(
            overflow.form().placeholder,
            "drop-oldest|drop-newest|disconnect"
        );
        assert_eq!(
            overflow.parse("drop-oldes").unwrap_err(),
            "`drop-oldes` is none of drop-oldest, drop-newest, disconnect; \
             did you mean `drop-oldest`?"
        );
        assert_eq!(
            Word::<Connector>::KIND.parse("nginx").unwrap_err(),
            "`nginx` is none of native, tiny-http"
        );
        assert_eq!(
            Word::<LevelFilter>::KIND.parse("WARN"),
            Ok(LevelFilter::Warn)
        );
        assert_eq!(
            Word::<CallbackPolling>::KIND.parse("off"),
            Ok(CallbackPolling::Off)
        );
        let words = Overflow::WORDS.iter().map(|(word, _)| *word);
        assert_eq!(
            words.collect::<Vec<_>>(),
            ["drop-oldest", "drop-newest", "disconnect"]
        );
    }

    #[test]
    fn types_of_endings() {
        let map = EndingTypes
            .parse("md=text/markdown, .TAR.gz = Application/x-tgz")
            .unwrap();
        assert_eq!(map["md"], "text/markdown");
        assert_eq!(map["tar.gz"], "application/x-tgz");
        assert_eq!(EndingTypes.parse("").unwrap(), BTreeMap::new());
        for (text, error) in [
            ("md", "`md` is no pair, such as `md=text/markdown`"),
            ("=text/css", "`=text/css` has no ending, such as `md`"),
            ("a/b=text/css", "`a/b=text/css` has no ending, such as `md`"),
            ("md=css", "`css` is no media type, such as `text/css`"),
            ("md=a/b,.md=c/d", "`md` is there twice"),
        ] {
            assert_eq!(EndingTypes.parse(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn times_of_types() {
        let map = TypeTimes.parse("text/css=3600s, IMAGE/png = 1d").unwrap();
        assert_eq!(map["text/css"], Duration::from_secs(3600));
        assert_eq!(map["image/png"], Duration::from_secs(86_400));
        assert_eq!(TypeTimes.amount(&map), Some(86_400_000_000_000));
        assert_eq!(TypeTimes.parse("").unwrap(), BTreeMap::new());
        for (text, error) in [
            ("text/css", "`text/css` is no pair, such as `text/css=1h`"),
            ("css=1h", "`css` is no media type, such as `text/css`"),
            ("text/*=1h", "`text/*` is no media type, such as `text/css`"),
            (
                "text/css=60",
                "text/css: `60` has no unit; did you mean `60s` or `60ms`?",
            ),
            ("text/css=1h,text/css=2h", "`text/css` is there twice"),
        ] {
            assert_eq!(TypeTimes.parse(text), Err(error.to_owned()), "{text}");
        }
    }
}
