//! Checks across settings, and of values that did not come as text.

use std::error::Error;
use std::fmt;

use super::knobs::Config;
use super::table::KNOBS;
use crate::http::{AllowedOrigin, CallbackPolling};
use crate::transport::Transport;

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
        for knob in KNOBS.iter() {
            if let Err(message) = knob.verify(self) {
                conflicts.push(Conflict {
                    key: knob.key,
                    message,
                });
            }
        }
        let across = RULES.iter().filter_map(|rule| rule(self));
        let parts = [
            self.broker.conflicts(),
            self.site.conflicts(),
            #[cfg(feature = "native")]
            self.native.conflicts(),
        ];
        let all = across.chain(parts.into_iter().flatten());
        conflicts.extend(all.map(|(key, message)| Conflict { key, message }));
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(ConfigError { conflicts })
        }
    }

    /// Whether the demo pages are served.
    #[cfg(feature = "demo")]
    pub fn serves_demo(&self) -> bool {
        self.demo.unwrap_or(self.site.document_root.is_none())
    }

    /// Whether the demo pages are served.
    #[cfg(not(feature = "demo"))]
    pub fn serves_demo(&self) -> bool {
        false
    }

    /// Whether pages of any origin may use the endpoint.
    pub fn allows_any_origin(&self) -> bool {
        self.site.allowed_origins.iter().any(AllowedOrigin::is_any)
    }

    /// The setting that makes browsers drop the cookie, where nothing makes it `Secure`.
    pub(super) fn drops_cookies(&self) -> Option<&'static str> {
        #[cfg(feature = "tls")]
        let tls = self.tls_cert.is_some() || self.native.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let tls = false;
        let encrypted = tls || !self.trusted_proxy.is_empty() || self.site.trusted_proxies.is_some();
        let cookie = &self.site.cookie;
        let plain = cookie.secure.is_none() && !encrypted && !self.allows_any_origin();
        cookie.demands_secure().filter(|_| plain)
    }

    /// The transports that clients are offered, best first: those of the setting that the connector
    /// has.
    pub fn transports(&self) -> impl Iterator<Item = Transport> {
        let all = [
            Transport::WebSocket,
            Transport::EventSource,
            Transport::LongPolling,
            Transport::CallbackPolling,
        ];
        all.into_iter().filter(|transport| {
            let possible = match transport {
                Transport::WebSocket | Transport::EventSource => self.connector.is_native(),
                Transport::LongPolling => true,
                Transport::CallbackPolling => self.site.callback_polling != CallbackPolling::Off,
            };
            possible && self.transport.contains(transport)
        })
    }
}

/// A demand that settings of several parts make on each other: the offending key and the reason.
type Rule = fn(&Config) -> Option<(&'static str, String)>;

const RULES: &[Rule] = &[
    somewhere_to_listen,
    cookies_need_known_origins,
    something_is_offered,
    #[cfg(feature = "tiny-http")]
    tiny_http_stays_inside,
    #[cfg(feature = "ops")]
    operations_stay_inside,
    #[cfg(feature = "link")]
    links_have_a_key,
    #[cfg(feature = "link")]
    links_have_certificates,
    #[cfg(feature = "link")]
    authorisers_are_linked,
    #[cfg(feature = "native")]
    body_fits,
    #[cfg(feature = "native")]
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
    let wrong = config.broker.require_browser_cookie && config.allows_any_origin();
    wrong.then(|| {
        let message = "cannot be together with allowed_origin `*`, where cookies are not read; \
                       name the origins";
        ("require_browser_cookie", message.to_owned())
    })
}

fn something_is_offered(config: &Config) -> Option<(&'static str, String)> {
    config.transports().next().is_none().then(|| {
        let message = "nothing of it can be offered: `websocket` and `eventsource` need the \
                       connector `native`, `callback-polling` a callback_polling other than `off`";
        ("transport", message.to_owned())
    })
}

#[cfg(feature = "tiny-http")]
fn tiny_http_stays_inside(config: &Config) -> Option<(&'static str, String)> {
    if config.connector.is_native() || config.connector_exposed {
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

#[cfg(feature = "ops")]
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
#[cfg(feature = "link")]
fn link_tls(config: &Config) -> [(&'static str, bool); 3] {
    [
        ("link_tls_cert", config.link_tls_cert.is_some()),
        ("link_tls_key", config.link_tls_key.is_some()),
        ("link_tls_client_ca", config.link_tls_client_ca.is_some()),
    ]
}

#[cfg(feature = "link")]
fn links_have_a_key(config: &Config) -> Option<(&'static str, String)> {
    let has_one = config.link_key_file.is_some() || config.link_tls_cert.is_some();
    let missing = config.link.is_some() && !has_one;
    missing.then(|| {
        let message = "needs link_key_file, the key of those who may link, or link_tls_cert";
        ("link", message.to_owned())
    })
}

#[cfg(feature = "link")]
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

#[cfg(feature = "link")]
fn authorisers_are_linked(config: &Config) -> Option<(&'static str, String)> {
    let missing = config.link_authoriser.is_some() && config.link.is_none();
    missing.then(|| {
        (
            "link_authoriser",
            "needs link, the address to link with".to_owned(),
        )
    })
}

#[cfg(feature = "native")]
fn body_fits(config: &Config) -> Option<(&'static str, String)> {
    let fits = config.site.max_body <= config.native.max_input_total;
    (!fits).then(|| {
        (
            "max_body",
            "must not be more than max_input_total".to_owned(),
        )
    })
}

#[cfg(feature = "native")]
fn proxies_are_known(config: &Config) -> Option<(&'static str, String)> {
    let wrong = config.proxy_protocol && config.trusted_proxy.is_empty();
    wrong.then(|| {
        let message = "needs trusted_proxy, the addresses from which the header is believed";
        ("proxy_protocol", message.to_owned())
    })
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
    let wrong = config.tls_cert.is_some() && !config.connector.is_native();
    wrong.then(|| {
        let message = "tiny-http cannot serve TLS; use `native`, or no tls_cert and tls_key";
        ("connector", message.to_owned())
    })
}

#[cfg(test)]
mod tests;
