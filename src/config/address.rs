//! Addresses to listen on.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::settings::Text;
use crate::util::Network;

/// An address to listen on: `127.0.0.1:8080`, `[::1]:0`, `localhost:8080`.
///
/// Port 0 takes a free port. A name is looked up when it is used, not when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenAddress {
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl ListenAddress {
    /// The address to bind. Blocks while a name is looked up.
    ///
    /// A name stands for its first IPv4 address, or where it has none, its first IPv6 address: one
    /// that is found under both does not make the server fail where only one family works.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let name = match &self.host {
            Host::Ip(ip) => return Ok(SocketAddr::new(*ip, self.port)),
            Host::Name(name) => name,
        };
        let found: Vec<SocketAddr> = (name.as_str(), self.port).to_socket_addrs()?.collect();
        let best = found
            .iter()
            .find(|address| address.is_ipv4())
            .or(found.first());
        best.copied()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address found"))
    }

    #[cfg(feature = "ops")]
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Its host, where that is a name.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Ip(_) => None,
            Host::Name(name) => Some(name),
        }
    }

    /// Whether it stands for all addresses of the machine.
    pub(crate) fn is_unspecified(&self) -> bool {
        matches!(&self.host, Host::Ip(ip) if ip.is_unspecified())
    }

    /// Whether only programs of this machine can reach it, as far as its spelling tells.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Host::Ip(address.ip()),
            port: address.port(),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    /// The error says what is wrong and what to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let instead = |better: &str| {
            let hint = match better != text && Self::from_str(better).is_ok() {
                true => format!("; did you mean `{better}`?"),
                false => ", such as `127.0.0.1:8080`".to_owned(),
            };
            format!("`{text}` is no HOST:PORT{hint}")
        };
        if let Some((_, rest)) = text.split_once("://") {
            return Err(instead(rest.split('/').next().unwrap_or_default()));
        }
        if text.parse::<u16>().is_ok() {
            return Err(instead(&format!("127.0.0.1:{text}")));
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Err(instead(&SocketAddr::new(ip, 8080).to_string()));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(match is_name(text) {
                true => instead(&format!("{text}:8080")),
                false => format!("`{text}` is no HOST:PORT, such as `127.0.0.1:8080`"),
            });
        };
        let port = port
            .parse()
            .map_err(|_| format!("`{port}` is no port: 0 to 65535"))?;
        if host.is_empty() || host == "*" {
            return Err(instead(&format!("0.0.0.0:{port}")));
        }
        if !is_name(host) {
            return Err(format!("`{host}` is neither an IP address nor a name"));
        }
        Ok(Self {
            host: Host::Name(host.to_owned()),
            port,
        })
    }
}

/// A host name, as far as its letters go. Digits alone are a misspelt IPv4 address.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    text.chars().all(plain) && text.chars().any(|c| c.is_ascii_alphabetic())
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => write!(f, "{}", SocketAddr::new(*ip, self.port)),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

pub(super) const ADDRESS: Text<ListenAddress> = Text {
    placeholder: "HOST:PORT",
    read: str::parse,
};
pub(super) const SUBNET: Text<Network> = Text {
    placeholder: "ADDR|CIDR",
    read: subnet,
};

/// An address or a network of them.
fn subnet(text: &str) -> Result<Network, String> {
    let wrong = |_| format!("`{text}` is neither an address nor a network like 10.0.0.0/8");
    text.parse().map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, loopback) in [
            ("127.0.0.1:8080", true),
            ("127.8.8.8:1", true),
            ("[::1]:0", true),
            ("localhost:8080", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("10.0.0.1:80", false),
            ("chat.example:80", false),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn refused_addresses() {
        for (text, error) in [
            (
                "8080",
                "`8080` is no HOST:PORT; did you mean `127.0.0.1:8080`?",
            ),
            (
                ":8080",
                "`:8080` is no HOST:PORT; did you mean `0.0.0.0:8080`?",
            ),
            (
                "*:8080",
                "`*:8080` is no HOST:PORT; did you mean `0.0.0.0:8080`?",
            ),
            (
                "127.0.0.1",
                "`127.0.0.1` is no HOST:PORT; did you mean `127.0.0.1:8080`?",
            ),
            ("::1", "`::1` is no HOST:PORT; did you mean `[::1]:8080`?"),
            (
                "[::1]",
                "`[::1]` is no HOST:PORT; did you mean `[::1]:8080`?",
            ),
            (
                "localhost",
                "`localhost` is no HOST:PORT; did you mean `localhost:8080`?",
            ),
            (
                "http://a.b:80/x",
                "`http://a.b:80/x` is no HOST:PORT; did you mean `a.b:80`?",
            ),
            ("localhost:http", "`http` is no port: 0 to 65535"),
            ("localhost:70000", "`70000` is no port: 0 to 65535"),
            (
                "127.0.0:80",
                "`127.0.0` is neither an IP address nor a name",
            ),
            ("a b:80", "`a b` is neither an IP address nor a name"),
            ("", "`` is no HOST:PORT, such as `127.0.0.1:8080`"),
        ] {
            assert_eq!(
                text.parse::<ListenAddress>(),
                Err(error.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn resolving() {
        let address: ListenAddress = "127.0.0.1:80".parse().unwrap();
        assert_eq!(address.resolve().unwrap(), "127.0.0.1:80".parse().unwrap());
        let address: ListenAddress = "localhost:80".parse().unwrap();
        assert!(address.resolve().unwrap().ip().is_loopback());
    }
}
