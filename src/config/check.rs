//! Checks across settings, and of values that did not come as text.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use super::server::Config;
use super::table::SETTINGS;
use crate::http::{AllowedOrigin, CallbackPolling};
use crate::settings::{Conflict, Named, Setting};
use crate::transport::Transport;

/// Why a configuration is refused: at least one [`Conflict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// All that is wrong.
    pub conflicts: Vec<Conflict>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conflicts: Vec<_> = self.conflicts.iter().map(Conflict::to_string).collect();
        f.write_str(&conflicts.join("; "))
    }
}

impl Error for ConfigError {}

impl Config {
    /// Whether a server can do all of it: the limits, and what settings demand of each other.
    ///
    /// Looks at the file system (is the document root a folder?) but changes nothing.
    pub fn check(&self) -> Result<(), ConfigError> {
        let within = |setting: &Setting<Self>| {
            let verified = setting.verify(self).err();
            verified.map(|message| Conflict::new(setting.key, message))
        };
        let mut conflicts: Vec<_> = SETTINGS.iter().filter_map(within).collect();
        self.check_across(&mut conflicts);
        let parts = [self.broker.conflicts(), self.site.conflicts()];
        conflicts.extend(parts.into_iter().flatten());
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

    /// What is accepted but will not do what it says: a cookie that browsers drop, a secret that
    /// everybody on this machine can read. A server tells the log when it starts. Looks at the file
    /// system.
    pub fn warnings(&self) -> Vec<Conflict> {
        let mut warnings = self.cookie_warnings();
        warnings.extend(self.key_warnings());
        warnings
    }

    fn key_warnings(&self) -> Vec<Conflict> {
        let keys: [(&'static str, &Option<PathBuf>); KEYS] = [
            #[cfg(feature = "tls")]
            ("tls_key", &self.tls_key),
            #[cfg(feature = "link")]
            ("link_key_file", &self.link_key_file),
            #[cfg(feature = "link")]
            ("link_tls_key", &self.link_tls_key),
        ];
        let exposed = |(key, path): (_, &Option<PathBuf>)| {
            let message = exposed(path.as_deref()?)?;
            Some(Conflict::new(key, message))
        };
        keys.into_iter().filter_map(exposed).collect()
    }

    fn cookie_warnings(&self) -> Vec<Conflict> {
        let encrypted = self.serves_tls()
            || !self.trusted_proxy.is_empty()
            || self.site.trusted_proxies.is_some();
        let cookie = &self.site.cookie;
        let plain = cookie.secure.is_none() && !encrypted && !self.allows_any_origin();
        let dropped = cookie.demands_secure().filter(|_| plain);
        let tls = if cfg!(feature = "tls") {
            "tls_cert, "
        } else {
            ""
        };
        let message = format!(
            "needs {tls}trusted_proxy or cookie_secure: over plain http browsers drop such a cookie"
        );
        Vec::from_iter(dropped.map(|key| Conflict::new(key, message)))
    }

    #[cfg(feature = "tls")]
    fn serves_tls(&self) -> bool {
        self.tls_cert.is_some() || self.native.tls.is_some()
    }

    #[cfg(not(feature = "tls"))]
    #[allow(clippy::unused_self)] // as with the feature
    fn serves_tls(&self) -> bool {
        false
    }

    /// The transports that clients are offered, best first: those of the setting that the connector
    /// has.
    pub fn transports(&self) -> impl Iterator<Item = Transport> {
        let all = Transport::WORDS.iter().map(|(_, transport)| *transport);
        all.filter(|transport| {
            let possible = match transport {
                Transport::WebSocket | Transport::EventSource => self.connector.is_native(),
                Transport::LongPolling => true,
                Transport::CallbackPolling => self.site.callback_polling != CallbackPolling::Off,
            };
            possible && self.transport.contains(transport)
        })
    }
}

impl Config {
    /// What settings of several parts demand of each other.
    fn check_across(&self, conflicts: &mut Vec<Conflict>) {
        let mut demand = |met: bool, key, message: &str| {
            if !met {
                conflicts.push(Conflict::new(key, message));
            }
        };
        demand(
            !self.listen.is_empty(),
            "listen",
            "at least one address is needed",
        );
        demand(
            !self.broker.require_browser_cookie || !self.allows_any_origin(),
            "require_browser_cookie",
            "cannot be together with allowed_origin `*`, where cookies are not read; \
             name the origins",
        );
        demand(
            self.transports().next().is_some(),
            "transport",
            "nothing of it can be offered: `websocket` and `eventsource` need the \
             connector `native`, `callback-polling` a callback_polling other than `off`",
        );
        #[cfg(feature = "tiny-http")]
        if let Some(outside) = self.listen.iter().find(|address| !address.is_loopback()) {
            let message = format!(
                "tiny-http on {outside} could be brought down by one request from outside; \
                 use `native`, a loopback address, or connector_exposed if the network can be \
                 trusted"
            );
            let trusted = self.connector.is_native() || self.connector_exposed;
            demand(trusted, "connector", &message);
        }
        #[cfg(feature = "ops")]
        if let Some(outside) = self.ops_listen.as_ref().filter(|it| !it.is_loopback()) {
            let port = outside.port();
            let message =
                format!("{outside} is no loopback address; did you mean `127.0.0.1:{port}`?");
            demand(false, "ops_listen", &message);
        }
        demand(
            self.site.max_body <= self.broker.traffic.max_input_total,
            "max_body",
            "must not be more than max_input_total",
        );
        #[cfg(feature = "native")]
        demand(
            self.native.max_message.unwrap_or(0) <= self.broker.traffic.max_input_total,
            "max_message",
            "must not be more than max_input_total",
        );
        #[cfg(feature = "native")]
        demand(
            !self.proxy_protocol || !self.trusted_proxy.is_empty(),
            "proxy_protocol",
            "needs trusted_proxy, the addresses from which the header is believed",
        );
        #[cfg(feature = "link")]
        conflicts.extend(self.check_link());
        #[cfg(feature = "tls")]
        conflicts.extend(self.check_certificates());
    }

    #[cfg(feature = "link")]
    fn check_link(&self) -> Vec<Conflict> {
        let mut conflicts = Vec::from_iter(self.check_link_certificates());
        let has_key = self.link_key_file.is_some() || self.link_tls_cert.is_some();
        if self.link.is_some() && !has_key {
            let message = "needs link_key_file, the key of those who may link, or link_tls_cert";
            conflicts.push(Conflict::new("link", message));
        }
        if self.link.is_none() && self.link_authoriser.is_some() {
            conflicts.push(Conflict::new("link_authoriser", NEEDS_LINK));
        }
        conflicts
    }

    #[cfg(feature = "link")]
    fn check_link_certificates(&self) -> Option<Conflict> {
        let files = [
            ("link_tls_cert", self.link_tls_cert.is_some()),
            ("link_tls_key", self.link_tls_key.is_some()),
            ("link_tls_client_ca", self.link_tls_client_ca.is_some()),
        ];
        let (given, missing): (Vec<_>, Vec<_>) = files.into_iter().partition(|(_, given)| *given);
        let (key, _) = *given.first()?;
        if !cfg!(feature = "tls") {
            let message = "this program was built without TLS; build it with the feature `tls`";
            return Some(Conflict::new(key, message));
        }
        match missing.first() {
            Some((other, _)) => Some(Conflict::new(key, format!("cannot be without {other}"))),
            None if self.link.is_none() => Some(Conflict::new(key, NEEDS_LINK)),
            None => None,
        }
    }

    #[cfg(feature = "tls")]
    fn check_certificates(&self) -> Option<Conflict> {
        let (key, other) = match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => ("tls_cert", "tls_key"),
            (None, Some(_)) => ("tls_key", "tls_cert"),
            _ if self.serves_tls() && !self.connector.is_native() => {
                let message = "tiny-http cannot serve TLS; use `native`, or no certificate";
                return Some(Conflict::new("connector", message));
            }
            _ => return None,
        };
        Some(Conflict::new(key, format!("cannot be without {other}")))
    }
}

/// What to say of a file with a secret that everybody on this machine can read.
#[cfg(unix)]
pub(crate) fn exposed(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = path.metadata().ok()?.permissions().mode();
    let exposed = mode & 0o004 != 0;
    exposed.then(|| {
        let (path, mode) = (path.display(), mode & 0o777);
        format!("everybody on this machine can read {path} (mode {mode:o}); 600 is for its owner")
    })
}

#[cfg(not(unix))]
pub(crate) fn exposed(_path: &Path) -> Option<String> {
    None
}

/// Settings that name a file with a secret.
const KEYS: usize = cfg!(feature = "tls") as usize + 2 * cfg!(feature = "link") as usize;

#[cfg(feature = "link")]
const NEEDS_LINK: &str = "needs link, the address to link with";

#[cfg(test)]
mod tests;
