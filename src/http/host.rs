//! Which hosts a request may name: so that a page cannot use the server by a name of its own that
//! it has let point to this machine (DNS rebinding). Such a page comes from where it asks, so that
//! neither its origin nor a cookie tells it from the server's own pages; its host does.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use super::config::SiteConfig;
use super::origin::split_authority;

/// A host that requests may name, or several by a pattern.
///
/// A name, such as `app.example`; `*.app.example` is every name below it, but not that name itself;
/// `*` is every host. Ports do not matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost(Allowed);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    Any,
    Is(Box<str>),
    Below(Box<str>),
}

impl AllowedHost {
    /// Every host.
    pub fn any() -> Self {
        Self(Allowed::Any)
    }

    fn covers(&self, host: &str) -> bool {
        match &self.0 {
            Allowed::Any => true,
            Allowed::Is(name) => host.eq_ignore_ascii_case(name),
            Allowed::Below(name) => is_below(host, name),
        }
    }

    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::any());
        }
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let (host, port) = split_authority(name)?;
        if port.is_some() || host.len() < name.len() || name.starts_with('.') {
            return None;
        }
        let name = host.to_ascii_lowercase().into();
        Some(Self(match below {
            true => Allowed::Below(name),
            false => Allowed::Is(name),
        }))
    }
}

impl FromStr for AllowedHost {
    type Err = String;

    /// The error says what is wrong and what to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::read(text).ok_or_else(|| {
            let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
            let host = rest.split(['/', ':']).next().unwrap_or_default();
            let hint = match Self::read(host) {
                Some(_) => format!("; did you mean `{host}`?"),
                None => ", such as `app.example`, `*.app.example`, or `*` for any".to_owned(),
            };
            format!("`{text}` is no host{hint}")
        })
    }
}

/// The hosts of a site.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    allowed: Vec<AllowedHost>,
    /// Names of its listeners.
    own: Vec<String>,
    /// Without a list, whether who connects over the loopback may name any host too.
    open: bool,
}

impl Hosts {
    pub(super) fn new(config: &SiteConfig) -> Self {
        Self {
            allowed: config.allowed_hosts.clone(),
            own: config.own_hosts.clone(),
            open: config.listens_everywhere,
        }
    }

    /// The same for a site that only this machine reaches.
    pub(super) fn closed(self) -> Self {
        Self {
            open: false,
            ..self
        }
    }

    /// Whether a request of a client with that address may name that host and port. One that names
    /// none comes from no browser.
    pub(super) fn admit(&self, client: IpAddr, authority: Option<&str>) -> bool {
        // A page that was rebound comes from this machine itself, to a listener on the loopback or
        // on all addresses; not through a proxy that says for whom it asks.
        let guarded = !self.allowed.is_empty() || !self.open && client.is_loopback();
        !guarded || authority.is_none_or(|authority| self.knows(authority))
    }

    fn knows(&self, authority: &str) -> bool {
        let Some((host, _)) = split_authority(authority) else {
            return false;
        };
        // With a dot at its end it is the same name.
        let host = host.strip_suffix('.').unwrap_or(host);
        // What has brackets has been found to be an address.
        host.starts_with('[')
            || host.parse::<Ipv4Addr>().is_ok()
            || host.eq_ignore_ascii_case(LOCALHOST)
            || is_below(host, LOCALHOST)
            || self.own.iter().any(|own| host.eq_ignore_ascii_case(own))
            || self.allowed.iter().any(|allowed| allowed.covers(host))
    }
}

/// Whether a host is a name below another.
fn is_below(host: &str, name: &str) -> bool {
    let at = host.len().checked_sub(name.len() + 1);
    at.and_then(|at| host.split_at_checked(at))
        .is_some_and(|(below, rest)| {
            let rest = rest.strip_prefix('.');
            !below.is_empty() && rest.is_some_and(|rest| rest.eq_ignore_ascii_case(name))
        })
}

/// Every browser knows that this name, and those below it, are its own machine.
const LOCALHOST: &str = "localhost";

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn hosts(allowed: &[&str], own: &[&str], open: bool) -> Hosts {
        Hosts {
            allowed: allowed.iter().map(|text| text.parse().unwrap()).collect(),
            own: own.iter().map(|&name| name.to_owned()).collect(),
            open,
        }
    }

    #[test]
    fn only_this_machine_and_what_is_named_by_default() {
        let hosts = hosts(&[], &["Box.lan"], false);
        for authority in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "192.0.2.7:80",
            "[::1]:8080",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:1",
            "localhost.:1",
            "app.localhost:8080",
            "a.b.localhost",
            "box.LAN:8080",
        ] {
            assert!(hosts.admit(HERE, Some(authority)), "{authority}");
            assert!(
                hosts.admit("::1".parse().unwrap(), Some(authority)),
                "{authority}"
            );
        }
        for authority in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            ".localhost",
            "x.box.lan",
            "box",
            "a/b",
            "a b",
            "localhost:x",
            "[evil]",
        ] {
            assert!(!hosts.admit(HERE, Some(authority)), "{authority}");
            assert!(
                hosts.admit([192, 0, 2, 7].into(), Some(authority)),
                "{authority}"
            );
        }
        assert!(hosts.admit(HERE, None));
    }

    #[test]
    fn listeners_on_all_addresses_take_any_unless_told() {
        let any = hosts(&[], &[], true);
        assert!(any.admit(HERE, Some("evil.example")));
        assert!(!any.closed().admit(HERE, Some("evil.example")));
        let remote = [192, 0, 2, 7].into();
        for open in [true, false] {
            let told = hosts(&["app.example", "*.wild.example"], &[], open);
            for peer in [HERE, remote] {
                for (authority, allowed) in [
                    ("APP.example:8443", true),
                    ("x.app.example", false),
                    ("x.wild.example", true),
                    ("wild.example", false),
                    ("xwild.example", false),
                    ("192.0.2.7", true),
                    ("localhost", true),
                ] {
                    assert_eq!(told.admit(peer, Some(authority)), allowed, "{authority}");
                }
                assert!(told.admit(peer, None));
            }
            assert!(hosts(&["*"], &[], open).admit(HERE, Some("evil.example")));
        }
    }

    #[test]
    fn settings_say_what_is_wrong_with_them() {
        for (text, hint) in [
            ("app.example:8080", "; did you mean `app.example`?"),
            ("https://app.example/x", "; did you mean `app.example`?"),
            ("*.app.example:1", "; did you mean `*.app.example`?"),
            ("a b", ", such as `app.example`"),
            ("", ", such as `app.example`"),
            ("*.", ", such as `app.example`"),
            ("*..x", ", such as `app.example`"),
            ("a.*", ", such as `app.example`"),
            ("**", ", such as `app.example`"),
        ] {
            let error = text.parse::<AllowedHost>().unwrap_err();
            let expected = format!("`{text}` is no host{hint}");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
