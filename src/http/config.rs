//! The settings of a site, how they are written, and what is wrong with them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::cookie::{CookieConfig, CookieKey};
use super::cors::CallbackPolling;
use super::endpoint::check_path;
use super::files::{Expiry, is_media_type, is_servable};
use super::headers::is_token;
use super::host::AllowedHost;
use super::origin::AllowedOrigin;
use super::proxies::TrustedProxies;
use crate::settings::{
    Conflict, Count, DIR, Form, Kind, List, Off, Size, Text, Time, Word, elements, nothing,
    settings,
};

settings! {
    /// What the public site serves, to whom, and how much it reads. Plain data;
    /// [`Site::new`](super::Site::new) checks it.
    #[derive(Clone, Debug)]
    pub struct SiteConfig {
        /// What the cookie is called, and to whom browsers send it.
        pub cookie: CookieConfig = CookieConfig::default();
        /// Recognises the cookies that this server issued. Default: a key for the life of the
        /// process.
        pub cookie_key: Option<CookieKey> = None;
        /// Proxies that say for whom they ask. Default none; a server's `trusted_proxy` goes first.
        pub trusted_proxies: Option<TrustedProxies> = None;
        /// Names of the addresses that it listens on. Default none; a server adds those of
        /// `listen`.
        pub own_hosts: Vec<String> = Vec::new();
        /// Whether it listens on all addresses of the machine, so that nobody can tell who connects
        /// over the loopback from a listener that only this machine reaches. Default false; a
        /// server goes by `listen`.
        pub listens_everywhere: bool = false;
        /// Files that are part of the program: their paths without the first slash. Default none.
        /// The directory goes before them.
        pub embedded: &'static [(&'static str, &'static [u8])] = &[];
        /// A script that pages load as `client.js` below the mount. Default none; a server has one.
        /// A file of the directory goes before it.
        pub client_script: Option<&'static [u8]> = None;
    }
    "Listening" {
        /// Path of the Bayeux endpoint.
        ///
        /// Also served with a slash at its end and with any path below it, as clients append the
        /// kind of message. With `/` files are where a request carries no message.
        mount as "path": String = PATH, default "/cometd";

        /// Host that requests may name, such as `app.example`; `*` is any.
        ///
        /// Also `*.app.example` for all names below. Addresses, `localhost` and the names of
        /// `listen` always may. Without any, listeners that only this machine reaches take no
        /// others, so that no page can use the server by a name of its own that points here (DNS
        /// rebinding), and those on other addresses take any. Through a trusted proxy clients of
        /// other machines may name any too; what the proxy reports counts. Others get status 421.
        allowed_hosts as "allowed_host": Vec<AllowedHost> =
            List { each: HOST, may_be_empty: true },
            default "none" from nothing;
    }
    "Browsers" {
        /// Origin whose pages may use the endpoint, such as `https://app.example`; `*` is any.
        ///
        /// Also `https://*.app.example` for all names below, `http://localhost:*` for any port,
        /// `file://` for pages of files, and `null` for pages whose origin browsers keep secret:
        /// anybody can make one. Pages of the server itself always may, and native clients that
        /// name the server. With `*` cookies are neither read nor set.
        allowed_origins as "allowed_origin": Vec<AllowedOrigin> =
            List { each: ORIGIN, may_be_empty: true },
            default "none" from nothing;

        /// Header that pages of allowed origins may send; `*` is any.
        ///
        /// For headers that the page's program adds, such as `X-CSRF-Token`. What stock clients
        /// send they always may; an empty list leaves it at that.
        allowed_headers: Vec<String> = List { each: HEADER, may_be_empty: true }, default "*";

        /// Whether callback-polling (JSONP) is offered.
        ///
        /// Browsers let any page load a script from anywhere: `guarded` asks the request to show
        /// that it comes from the own or an allowed origin, `open` does not, `off` removes it.
        callback_polling: CallbackPolling = Word::<CallbackPolling>::KIND, default "guarded";
    }
    "Requests" {
        /// Most bytes of a request's body; beyond them status 413.
        max_body: usize = Size, within "256B or more", default "1MiB";

        /// Most messages in one request; beyond them status 400.
        max_messages: usize = Count, within "1 or more", default "1000";

        /// Deepest nesting of JSON in a request; beyond it status 400.
        ///
        /// Receivers parse what is sent through the server, and many of them recursively.
        max_depth: usize = Count, within "4 to 1000", default "128";
    }
    "Files" {
        /// Folder with files to serve outside the endpoint.
        ///
        /// Nothing outside of it is reachable, nor are names that begin with a dot.
        document_root: Option<PathBuf> = Off(DIR), default "off";

        /// Name of the file that is served for a folder; the first that is there.
        directory_index: Vec<String> = List { each: INDEX, may_be_empty: true },
            default "index.html";

        /// Media type of files with an ending, such as `wasm=application/wasm`.
        ///
        /// Before the built-in table, which knows the usual ones; the longest ending decides. What
        /// has no type is sent as `application/octet-stream`.
        media_types as "mime": Vec<(String, String)> = MEDIA_TYPES, default "none" from nothing;

        /// How long files of a media type may be cached, such as `text/css=1h`.
        ///
        /// Sent as an `Expires` header. Other types have none: browsers then ask again whether
        /// their copy is still good.
        expires: Vec<Expiry> = EXPIRES, within "0s to 366d",
            default "none" from nothing;
    }
}

const ORIGIN: Text<AllowedOrigin> = Text {
    placeholder: "ORIGIN",
    read: str::parse,
};
const HOST: Text<AllowedHost> = Text {
    placeholder: "HOST",
    read: str::parse,
};
const PATH: Text<String> = Text {
    placeholder: "PATH",
    read: endpoint_path,
};
const HEADER: Text<String> = Text {
    placeholder: "NAME",
    read: header_name,
};
const INDEX: Text<String> = Text {
    placeholder: "NAME",
    read: index_name,
};
const EXPIRES: Pairs<Expiry> = Pairs {
    placeholder: "TYPE=DURATION",
    example: "text/css=1h",
    read: |media, time| {
        let media = media_type(media)?;
        let after = Time
            .parse(time)
            .map_err(|error| format!("{media}: {error}"))?;
        Ok((media.clone(), Expiry { media, after }))
    },
    amount: |expiry| Some(expiry.after.as_nanos()),
};
const MEDIA_TYPES: Pairs<(String, String)> = Pairs {
    placeholder: "ENDING=TYPE",
    example: "md=text/markdown",
    read: |ending, media| {
        let plain = ending.trim_start_matches('.').to_ascii_lowercase();
        if plain.is_empty() || plain.contains(['/', ' ']) {
            return Err(format!("`{ending}={media}` has no ending, such as `md`"));
        }
        Ok((plain.clone(), (plain, media_type(media)?)))
    },
    amount: |_| None,
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

/// One media type, without parameters.
fn media_type(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    match is_media_type(&name) && !name.contains(['*', ';', ' ']) {
        true => Ok(name),
        false => Err(format!("`{name}` is no media type, such as `text/css`")),
    }
}

/// What a pair means, and the name that no other one may have.
type ReadPair<T> = fn(&str, &str) -> Result<(String, T), String>;

/// `NAME=VALUE`, several of them, each name once.
struct Pairs<T> {
    placeholder: &'static str,
    example: &'static str,
    read: ReadPair<T>,
    amount: fn(&T) -> Option<u128>,
}

impl<T> Kind for Pairs<T> {
    type Value = Vec<T>;

    fn parse(&self, text: &str) -> Result<Self::Value, String> {
        let mut all = BTreeMap::new();
        for element in elements(text) {
            let Some((name, value)) = element.split_once('=') else {
                return Err(format!(
                    "`{element}` is no pair, such as `{}`",
                    self.example
                ));
            };
            let (name, pair) = (self.read)(name.trim(), value.trim())?;
            if all.insert(name.clone(), pair).is_some() {
                return Err(format!("`{name}` is there twice"));
            }
        }
        Ok(all.into_values().collect())
    }

    fn form(&self) -> Form {
        Form {
            list: true,
            ..Form::one(self.placeholder, "")
        }
    }

    /// The largest of them.
    fn amount(&self, value: &Self::Value) -> Option<u128> {
        value.iter().filter_map(self.amount).max()
    }

    fn limit(&self, text: &str) -> Option<u128> {
        Time.limit(text)
    }
}

impl SiteConfig {
    /// What settings demand of each other. Looks at the file system.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = Vec::from_iter(self.cookie.check().err());
        let folder = self.document_root.as_ref();
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let message = format!("{} is no folder", folder.display());
            conflicts.push(Conflict::new("document_root", message));
        }
        conflicts
    }

    /// Whether values that did not come as text are what they should be.
    pub(super) fn check(&self) -> Result<(), Conflict> {
        let headers = self
            .allowed_headers
            .iter()
            .map(|name| header_name(name).err());
        let wrong = |key| move |message| Conflict::new(key, message);
        let headers = headers.flatten().map(wrong("allowed_headers"));
        let index = self
            .directory_index
            .iter()
            .map(|name| index_name(name).err());
        let index = index.flatten().map(wrong("directory_index"));
        let types = self.media_types.iter().map(|(_, media)| ("mime", media));
        let expires = self.expires.iter().map(|expiry| ("expires", &expiry.media));
        let media = types
            .chain(expires)
            .filter(|(_, media)| !is_media_type(media));
        let media = media.map(|(key, media)| {
            Conflict::new(key, format!("`{}` is no media type", media.escape_debug()))
        });
        let wrong = headers.chain(index).chain(media).next();
        wrong.map_or_else(|| self.cookie.check(), Err)
    }
}

/// Why a site cannot be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum SiteError {
    /// A setting has a value that it cannot have, or two exclude each other.
    Setting(Conflict),
    /// The path of a content handler is none, is there twice, or is the endpoint's.
    Content(String),
    /// The document root cannot be used.
    DocumentRoot(PathBuf, io::Error),
    /// No random key for the cookie.
    Random(getrandom::Error),
}

impl fmt::Display for SiteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(conflict) => conflict.fmt(f),
            Self::Content(path) => write!(
                f,
                "content handler at {path:?}: must begin with a slash, be there once, and lie \
                 outside the endpoint"
            ),
            Self::DocumentRoot(path, error) => {
                write!(f, "document root {}: {error}", path.display())
            }
            Self::Random(error) => write!(f, "no random key for cookies: {error}"),
        }
    }
}

impl std::error::Error for SiteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::DocumentRoot(_, error) => Some(error),
            _ => None,
        }
    }
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
        for wrong in ["", "a b", "x:", "\u{e9}"] {
            assert!(header_name(wrong).is_err());
            let config = SiteConfig {
                allowed_headers: vec!["X-A".to_owned(), wrong.to_owned()],
                ..SiteConfig::default()
            };
            let error = config.check().unwrap_err();
            assert_eq!(error.message, format!("`{wrong}` is no name of a header"));
        }
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
        let map = MEDIA_TYPES
            .parse("md=text/markdown, .TAR.gz = Application/x-tgz")
            .unwrap();
        let map: BTreeMap<_, _> = map.into_iter().collect();
        assert_eq!(map["md"], "text/markdown");
        assert_eq!(map["tar.gz"], "application/x-tgz");
        assert_eq!(MEDIA_TYPES.parse("").unwrap(), []);
        for (text, error) in [
            ("md", "`md` is no pair, such as `md=text/markdown`"),
            ("=text/css", "`=text/css` has no ending, such as `md`"),
            ("a/b=text/css", "`a/b=text/css` has no ending, such as `md`"),
            ("md=css", "`css` is no media type, such as `text/css`"),
            ("md=a/b,.md=c/d", "`md` is there twice"),
        ] {
            assert_eq!(MEDIA_TYPES.parse(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn times_of_types() {
        let map = EXPIRES.parse("text/css=3600s, IMAGE/png = 1d").unwrap();
        let css = Expiry::new("text/css", Duration::from_secs(3600));
        assert_eq!(
            map,
            [Expiry::new("image/png", Duration::from_secs(86_400)), css]
        );
        assert_eq!(EXPIRES.amount(&map), Some(86_400_000_000_000));
        assert_eq!(EXPIRES.parse("").unwrap(), []);
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
            assert_eq!(EXPIRES.parse(text), Err(error.to_owned()), "{text}");
        }
    }
}
