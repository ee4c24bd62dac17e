//! Checks across settings, and of values that did not come as text.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::knobs::{Config, KNOBS};
use super::words::Connector;

/// A setting that cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The setting's name in [`Config`].
    pub key: &'static str,
    /// Why not, and what to do about it.
    pub message: String,
}

/// Why a configuration is refused: at least one [`Conflict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// All that is wrong.
    pub conflicts: Vec<Conflict>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, conflict) in self.conflicts.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", conflict.key, conflict.message)?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

impl Config {
    /// Whether a server can obey all of it: the limits, and what settings demand of each other.
    ///
    /// Looks at the file system (is the document root a folder?) but changes nothing.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut conflicts = Vec::new();
        for knob in KNOBS {
            if let Err(message) = (knob.verify)(self) {
                conflicts.push(Conflict {
                    key: knob.key,
                    message,
                });
            }
        }
        for rule in RULES {
            if let Some((key, message)) = rule(self) {
                conflicts.push(Conflict { key, message });
            }
        }
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { conflicts })
        }
    }

    /// Whether the demo pages are served.
    pub fn serves_demo(&self) -> bool {
        self.demo.unwrap_or(self.document_root.is_none())
    }

    /// Whether pages of any origin may use the endpoint.
    pub fn allows_any_origin(&self) -> bool {
        self.allowed_origin.iter().any(|origin| origin == "*")
    }
}

/// A demand that settings make on each other: the offending key and the reason.
type Rule = fn(&Config) -> Option<(&'static str, String)>;

const RULES: &[Rule] = &[
    somewhere_to_listen,
    cookies_need_known_origins,
    tiny_http_stays_inside,
    operations_stay_inside,
    links_have_a_key,
    links_have_certificates,
    authorisers_are_linked,
    clients_pause,
    body_fits,
    message_fits,
    queue_fits,
    folder_is_there,
    proxies_are_known,
    #[cfg(feature = "tls")]
    tls_needs_both_files,
    #[cfg(feature = "tls")]
    tls_needs_native,
];

fn somewhere_to_listen(config: &Config) -> Option<(&'static str, String)> {
    config
        .listen
        .is_empty()
        .then(|| ("listen", "at least one address is needed".to_owned()))
}

/// With any origin allowed no cookies are read, so none could be required.
fn cookies_need_known_origins(config: &Config) -> Option<(&'static str, String)> {
    let wrong = config.require_browser_cookie && config.allows_any_origin();
    wrong.then(|| {
        let message = "cannot be together with allowed_origin `*`, where cookies are not read; \
                       name the origins";
        ("require_browser_cookie", message.to_owned())
    })
}

fn tiny_http_stays_inside(config: &Config) -> Option<(&'static str, String)> {
    if config.connector != Connector::TinyHttp || config.connector_exposed {
        return None;
    }
    let outside = config
        .listen
        .iter()
        .find(|address| !address.is_loopback())?;
    let message = format!(
        "tiny-http on {outside} could be brought down by one request from outside; \
         use `native`, a loopback address, or connector_exposed if the network can be trusted"
    );
    Some(("connector", message))
}

fn operations_stay_inside(config: &Config) -> Option<(&'static str, String)> {
    let address = config
        .ops_listen
        .as_ref()
        .filter(|address| !address.is_loopback())?;
    let port = address
        .to_string()
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    let message = format!("{address} is no loopback address; did you mean `127.0.0.1:{port}`?");
    Some(("ops_listen", message))
}

/// The settings that together are the certificates of links, and what they are.
fn link_tls(config: &Config) -> [(&'static str, bool); 3] {
    [
        ("link_tls_cert", config.link_tls_cert.is_some()),
        ("link_tls_key", config.link_tls_key.is_some()),
        ("link_tls_client_ca", config.link_tls_client_ca.is_some()),
    ]
}

fn links_have_a_key(config: &Config) -> Option<(&'static str, String)> {
    let has_one = config.link_key_file.is_some() || config.link_tls_cert.is_some();
    let missing = config.link.is_some() && !has_one;
    missing.then(|| {
        let message = "needs link_key_file, the key of those who may link, or link_tls_cert";
        ("link", message.to_owned())
    })
}

fn links_have_certificates(config: &Config) -> Option<(&'static str, String)> {
    let (given, missing): (Vec<_>, Vec<_>) =
        link_tls(config).into_iter().partition(|(_, given)| *given);
    let (key, _) = *given.first()?;
    let message = if !cfg!(feature = "tls") {
        "this program was built without TLS; build it with the feature `tls`".to_owned()
    } else if let Some((other, _)) = missing.first() {
        format!("cannot be without {other}")
    } else if config.link.is_none() {
        "needs link, the address to link with".to_owned()
    } else {
        return None;
    };
    Some((key, message))
}

fn authorisers_are_linked(config: &Config) -> Option<(&'static str, String)> {
    let missing = config.link_authoriser.is_some() && config.link.is_none();
    missing.then(|| {
        (
            "link_authoriser",
            "needs link, the address to link with".to_owned(),
        )
    })
}

fn clients_pause(config: &Config) -> Option<(&'static str, String)> {
    let spinning = config.timeout.is_zero() && config.interval < Duration::from_millis(10);
    spinning.then(|| {
        let message = "with a timeout of 0s clients ask again at once and without end; \
                       set an interval of 10ms or more";
        ("interval", message.to_owned())
    })
}

fn body_fits(config: &Config) -> Option<(&'static str, String)> {
    let fits = config.max_body <= config.max_input_total;
    (!fits).then(|| {
        (
            "max_body",
            "must not be more than max_input_total".to_owned(),
        )
    })
}

fn message_fits(config: &Config) -> Option<(&'static str, String)> {
    let fits = config.max_message.unwrap_or(0) <= config.max_input_total;
    (!fits).then(|| {
        (
            "max_message",
            "must not be more than max_input_total".to_owned(),
        )
    })
}

fn queue_fits(config: &Config) -> Option<(&'static str, String)> {
    let fits = config.max_queue_bytes <= config.max_queued_total;
    (!fits).then(|| {
        (
            "max_queue_bytes",
            "must not be more than max_queued_total".to_owned(),
        )
    })
}

fn proxies_are_known(config: &Config) -> Option<(&'static str, String)> {
    let wrong = config.proxy_protocol && config.trusted_proxy.is_empty();
    wrong.then(|| {
        let message = "needs trusted_proxy, the addresses from which the header is believed";
        ("proxy_protocol", message.to_owned())
    })
}

fn folder_is_there(config: &Config) -> Option<(&'static str, String)> {
    let folder = config
        .document_root
        .as_ref()
        .filter(|folder| !folder.is_dir())?;
    Some((
        "document_root",
        format!("{} is no folder", folder.display()),
    ))
}

#[cfg(feature = "tls")]
fn tls_needs_both_files(config: &Config) -> Option<(&'static str, String)> {
    let (key, other) = match (&config.tls_cert, &config.tls_key) {
        (Some(_), None) => ("tls_cert", "tls_key"),
        (None, Some(_)) => ("tls_key", "tls_cert"),
        _ => return None,
    };
    Some((key, format!("cannot be without {other}")))
}

#[cfg(feature = "tls")]
fn tls_needs_native(config: &Config) -> Option<(&'static str, String)> {
    let wrong = config.tls_cert.is_some() && config.connector == Connector::TinyHttp;
    wrong.then(|| {
        let message = "tiny-http cannot serve TLS; use `native`, or no tls_cert and tls_key";
        ("connector", message.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenAddress;

    fn refused(change: impl FnOnce(&mut Config)) -> (&'static str, String) {
        let mut config = Config::default();
        change(&mut config);
        let error = config.check().unwrap_err();
        assert_eq!(error.conflicts.len(), 1, "{error}");
        (error.conflicts[0].key, error.conflicts[0].message.clone())
    }

    fn address(text: &str) -> ListenAddress {
        text.parse().unwrap()
    }

    #[test]
    fn rules() {
        let (key, _) = refused(|c| c.listen.clear());
        assert_eq!(key, "listen");
        let (key, message) = refused(|c| {
            c.require_browser_cookie = true;
            c.allowed_origin = vec!["https://app.example".to_owned(), "*".to_owned()];
        });
        assert_eq!(key, "require_browser_cookie");
        assert!(message.contains("allowed_origin `*`"), "{message}");
        let (key, message) = refused(|c| {
            c.connector = Connector::TinyHttp;
            c.listen.push(address("0.0.0.0:80"));
        });
        assert_eq!(key, "connector");
        assert!(message.contains("0.0.0.0:80"), "{message}");
        let (key, message) = refused(|c| c.ops_listen = Some(address("[::]:9090")));
        assert_eq!(key, "ops_listen");
        assert!(
            message.ends_with("did you mean `127.0.0.1:9090`?"),
            "{message}"
        );
        assert_eq!(refused(|c| c.timeout = Duration::ZERO).0, "interval");
        assert_eq!(refused(|c| c.proxy_protocol = true).0, "proxy_protocol");
        assert_eq!(
            refused(|c| c.max_body = c.max_input_total + 1).0,
            "max_body"
        );
        assert_eq!(
            refused(|c| c.max_message = Some(c.max_input_total + 1)).0,
            "max_message"
        );
        assert_eq!(
            refused(|c| c.max_queue_bytes = c.max_queued_total + 1).0,
            "max_queue_bytes"
        );
        assert_eq!(
            refused(|c| c.document_root = Some("/no/such".into())).0,
            "document_root"
        );
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls() {
        let some = Some("/some.pem".into());
        assert_eq!(refused(|c| c.tls_cert = some.clone()).0, "tls_cert");
        assert_eq!(refused(|c| c.tls_key = some.clone()).0, "tls_key");
        let (key, message) = refused(|c| {
            (c.tls_cert, c.tls_key) = (some.clone(), some.clone());
            c.connector = Connector::TinyHttp;
        });
        assert_eq!(key, "connector");
        assert!(message.contains("`native`"), "{message}");
    }

    #[test]
    fn what_goes_together() {
        let of_one_origin = Config {
            require_browser_cookie: true,
            allowed_origin: vec!["https://a.example".to_owned()],
            ..Config::default()
        };
        assert_eq!(of_one_origin.check(), Ok(()));
        let (key, message) = refused(|c| c.link_authoriser = Some("judge".to_owned()));
        assert_eq!(key, "link_authoriser");
        assert!(message.starts_with("needs link"), "{message}");
    }

    #[test]
    fn certificates_of_links() {
        let file = || Some("/some.pem".into());
        let whole = |c: &mut Config| {
            (c.link_tls_cert, c.link_tls_key) = (file(), file());
            c.link_tls_client_ca = file();
        };
        let says = |(key, message): (&str, String), part| {
            let part = if cfg!(feature = "tls") {
                part
            } else {
                "the feature `tls`"
            };
            assert!(message.contains(part), "{message}");
            key.to_owned()
        };
        let part = refused(|c| c.link_tls_key = file());
        assert_eq!(
            says(part, "cannot be without link_tls_cert"),
            "link_tls_key"
        );
        assert_eq!(says(refused(whole), "needs link, "), "link_tls_cert");
        let mut config = Config {
            link: Some(address("127.0.0.1:0")),
            ..Config::default()
        };
        assert!(config.check().is_err(), "neither key nor certificates");
        whole(&mut config);
        assert_eq!(config.check().is_ok(), cfg!(feature = "tls"));
    }

    #[test]
    fn limits_of_data() {
        let (key, message) = refused(|c| c.max_depth = 100_000);
        assert_eq!((key, message.as_str()), ("max_depth", "must be 4 to 1000"));
        let mut config = Config {
            max_depth: 0,
            max_messages: 0,
            ..Config::default()
        };
        let error = config.check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "max_messages: must be 1 or more; max_depth: must be 4 to 1000"
        );
        config = Config {
            max_held_per_ip: Some(0),
            ..Config::default()
        };
        assert!(config.check().is_err());
    }

    #[test]
    fn accepted() {
        let exposed = Config {
            connector: Connector::TinyHttp,
            connector_exposed: true,
            listen: vec![address("0.0.0.0:80")],
            ..Config::default()
        };
        assert_eq!(exposed.check(), Ok(()));
        let polling = Config {
            timeout: Duration::ZERO,
            interval: Duration::from_secs(5),
            ops_listen: Some(address("localhost:9090")),
            document_root: Some(std::env::temp_dir()),
            ..Config::default()
        };
        assert_eq!(polling.check(), Ok(()));
    }

    #[test]
    fn demo_pages() {
        let config = Config::default();
        assert!(config.serves_demo());
        let config = Config {
            document_root: Some("/".into()),
            ..config
        };
        assert!(!config.serves_demo());
        assert!(
            Config {
                demo: Some(true),
                ..config.clone()
            }
            .serves_demo()
        );
        assert!(
            !Config {
                demo: Some(false),
                document_root: None,
                ..config
            }
            .serves_demo()
        );
    }
}
