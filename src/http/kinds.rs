//! How the settings of a site are written.

use std::collections::BTreeMap;

use super::endpoint::check_path;
use super::files::{Expiry, is_media_type, is_servable};
use super::headers::is_token;
use super::origin::{AllowedOrigin, InvalidOrigin};
use crate::settings::{Form, Kind, Text, Time, elements};

/// An origin whose pages are let in.
pub(in crate::http) struct Origin;

impl Kind for Origin {
    type Value = AllowedOrigin;

    fn parse(&self, text: &str) -> Result<AllowedOrigin, String> {
        text.parse()
            .map_err(|error: InvalidOrigin| error.to_string())
    }

    fn form(&self) -> Form {
        Form::one("ORIGIN", "")
    }
}

pub(in crate::http) const PATH: Text = Text {
    placeholder: "PATH",
    spelling: "",
    read: endpoint_path,
};
pub(in crate::http) const HEADER: Text = Text {
    placeholder: "NAME",
    spelling: "",
    read: header_name,
};
/// Checked with the other settings of the cookie.
pub(in crate::http) const COOKIE: Text = Text {
    placeholder: "NAME",
    spelling: "",
    read: |text| Ok(text.to_owned()),
};
/// Checked with the other settings of the cookie.
pub(in crate::http) const DOMAIN: Text = Text {
    placeholder: "DOMAIN",
    spelling: "",
    read: |text| Ok(text.to_owned()),
};
pub(in crate::http) const INDEX: Text = Text {
    placeholder: "NAME",
    spelling: "",
    read: index_name,
};

/// The path of the endpoint, without a slash at its end; or `/`.
fn endpoint_path(text: &str) -> Result<String, String> {
    if text == "/" {
        return Ok(text.to_owned());
    }
    let path = text.trim_end_matches('/');
    if !path.starts_with('/') {
        let better = match path {
            "" => "/cometd".to_owned(),
            _ => format!("/{path}"),
        };
        let hint = match endpoint_path(&better) {
            Ok(better) => format!("; did you mean `{better}`?"),
            Err(_) => ", such as `/cometd`".to_owned(),
        };
        return Err(format!("`{text}` is no path of an endpoint{hint}"));
    }
    check_path(path).map_err(|wrong| format!("`{text}` {wrong}"))?;
    Ok(path.to_owned())
}

/// The name of a header, or `*`.
fn header_name(text: &str) -> Result<String, String> {
    if is_token(text.as_bytes()) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no name of a header"))
}

/// The name of an index file.
fn index_name(text: &str) -> Result<String, String> {
    if is_servable(text) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no plain file name"))
}

/// `TYPE=DURATION`, several of them.
pub(in crate::http) struct TypeTimes;

impl Kind for TypeTimes {
    type Value = Vec<Expiry>;

    fn parse(&self, text: &str) -> Result<Self::Value, String> {
        let mut map = BTreeMap::new();
        for element in elements(text) {
            let Some((name, time)) = element.split_once('=') else {
                return Err(format!("`{element}` is no pair, such as `text/css=1h`"));
            };
            let name = name.trim().to_ascii_lowercase();
            if !is_one_type(&name) {
                return Err(format!("`{name}` is no media type, such as `text/css`"));
            }
            let time = Time
                .parse(time.trim())
                .map_err(|error| format!("{name}: {error}"))?;
            if map.insert(name.clone(), time).is_some() {
                return Err(format!("`{name}` is there twice"));
            }
        }
        let expiries = map.iter().map(|(media, after)| Expiry::new(media, *after));
        Ok(expiries.collect())
    }

    fn form(&self) -> Form {
        Form {
            list: true,
            ..Form::one("TYPE=DURATION", "")
        }
    }

    /// The longest of them.
    fn amount(&self, value: &Self::Value) -> Option<u128> {
        value.iter().map(|expiry| expiry.after.as_nanos()).max()
    }

    fn limit(&self, text: &str) -> Option<u128> {
        Time.limit(text)
    }
}

/// `ENDING=TYPE`, several of them.
pub(in crate::http) struct EndingTypes;

impl Kind for EndingTypes {
    type Value = Vec<(String, String)>;

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
            if !is_one_type(&name) {
                return Err(format!("`{name}` is no media type, such as `text/css`"));
            }
            if map.insert(ending.clone(), name).is_some() {
                return Err(format!("`{ending}` is there twice"));
            }
        }
        Ok(map.into_iter().collect())
    }

    fn form(&self) -> Form {
        Form {
            list: true,
            ..Form::one("ENDING=TYPE", "")
        }
    }
}

/// Of one type, without parameters.
fn is_one_type(name: &str) -> bool {
    is_media_type(name) && !name.contains(['*', ';', ' '])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn paths() {
        assert_eq!(endpoint_path("/").unwrap(), "/");
        assert_eq!(endpoint_path("/cometd").unwrap(), "/cometd");
        assert_eq!(endpoint_path("/a/b/").unwrap(), "/a/b");
        for (text, part) in [
            ("//", "did you mean `/cometd`?"),
            ("a b", "such as `/cometd`"),
            ("", "did you mean `/cometd`?"),
            ("cometd", "did you mean `/cometd`?"),
            ("/a//b", "an empty or a dot segment"),
            ("/../b", "an empty or a dot segment"),
            ("/a b", "contains ` `"),
            ("/a?b", "contains `?`"),
            ("/a%2f", "contains `%`"),
        ] {
            let error = endpoint_path(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn names_of_headers() {
        for good in ["*", "X-CSRF-Token"] {
            assert_eq!(header_name(good).as_deref(), Ok(good));
        }
        assert!(header_name("a b").is_err() && header_name("").is_err());
    }

    #[test]
    fn index_names() {
        assert_eq!(index_name("index.html").as_deref(), Ok("index.html"));
        for bad in ["a/b", "..", ".htaccess", "a\\b"] {
            assert!(index_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_of_endings() {
        let map = EndingTypes
            .parse("md=text/markdown, .TAR.gz = Application/x-tgz")
            .unwrap();
        let map: BTreeMap<_, _> = map.into_iter().collect();
        assert_eq!(map["md"], "text/markdown");
        assert_eq!(map["tar.gz"], "application/x-tgz");
        assert_eq!(EndingTypes.parse("").unwrap(), []);
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
        let css = Expiry::new("text/css", Duration::from_secs(3600));
        assert_eq!(
            map,
            [Expiry::new("image/png", Duration::from_secs(86_400)), css]
        );
        assert_eq!(TypeTimes.amount(&map), Some(86_400_000_000_000));
        assert_eq!(TypeTimes.parse("").unwrap(), []);
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
