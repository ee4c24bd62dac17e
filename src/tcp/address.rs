//! Where a socket listens, or who is at its other end.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// The address of one end of a stream socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 or IPv6. An IPv4 peer that came through an IPv6 listener shows as IPv4.
    Inet(SocketAddr),
    /// A Unix socket; its path, if it has one (the connecting end normally has none).
    Unix(Option<Arc<Path>>),
}

impl Address {
    /// The IP address; a Unix socket has none.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// The port; a Unix socket has none.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// The address as IP and port.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// All addresses that a specification stands for: `unix:/path`, `ip:port`, `[ip6]:port`, or
    /// `name:port`, which may resolve to several. Resolving blocks.
    pub fn resolve(spec: &str) -> Result<Vec<Self>, InvalidAddress> {
        if let Ok(address) = spec.parse() {
            return Ok(vec![address]);
        }
        let found = spec.to_socket_addrs();
        let found = found.map_err(|error| InvalidAddress::new(spec, error.to_string()))?;
        let mut addresses: Vec<Self> = Vec::new();
        for address in found.map(Self::Inet) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(InvalidAddress::new(spec, "the name has no address"));
        }
        Ok(addresses)
    }

    pub(super) fn from_sock(address: &SockAddr) -> Self {
        match address.as_socket() {
            Some(inet) => Self::from(inet),
            None => {
                #[cfg(unix)]
                let path = address.as_pathname().map(Arc::from);
                #[cfg(not(unix))]
                let path = None;
                Self::Unix(path)
            }
        }
    }

    /// A socket that can be bound or connected to it.
    pub(super) fn new_socket(&self) -> std::io::Result<Socket> {
        let (domain, protocol) = match self {
            Self::Inet(inet) => (Domain::for_address(*inet), Some(Protocol::TCP)),
            Self::Unix(_) => (Domain::UNIX, None),
        };
        Socket::new(domain, Type::STREAM, protocol)
    }

    pub(super) fn to_sock(&self) -> std::io::Result<SockAddr> {
        match self {
            Self::Inet(address) => Ok((*address).into()),
            Self::Unix(Some(path)) => SockAddr::unix(path),
            Self::Unix(None) => Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "no path given",
            )),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address.ip() {
            // Scope and flow are kept for genuine IPv6 addresses.
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
                Self::Inet(SocketAddr::new(ip.to_canonical(), address.port()))
            }
            _ => Self::Inet(address),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    /// `unix:/path` or an IP address with port. Names are for [`Address::resolve`].
    fn from_str(spec: &str) -> Result<Self, InvalidAddress> {
        match spec.strip_prefix("unix:") {
            Some("") => Err(InvalidAddress::new(spec, "no path")),
            Some(path) => Ok(Self::Unix(Some(Path::new(path).into()))),
            None => match spec.parse() {
                Ok(address) => Ok(Self::Inet(address)),
                Err(error) => Err(InvalidAddress::new(spec, error.to_string())),
            },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

/// A specification that is no address, or a name that does not resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress {
    /// What was given.
    pub spec: Box<str>,
    /// What is wrong with it.
    pub reason: String,
}

impl InvalidAddress {
    pub(super) fn new(spec: &str, reason: impl Into<String>) -> Self {
        Self {
            spec: spec.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.spec, self.reason)
    }
}

impl std::error::Error for InvalidAddress {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications() {
        for (spec, shown) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(spec.parse::<Address>().unwrap().to_string(), shown);
            assert_eq!(Address::resolve(spec).unwrap().len(), 1);
        }
        for spec in [
            "",
            "80",
            "unix:",
            "127.0.0.1",
            "127.0.0.1:70000",
            "localhost:80",
        ] {
            assert!(spec.parse::<Address>().is_err(), "{spec}");
        }
        assert!(!Address::resolve("localhost:80").unwrap().is_empty());
        assert!(Address::resolve("localhost").is_err());
    }

    #[test]
    fn a_mapped_address_is_shown_as_what_it_is() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:5".parse().unwrap();
        assert_eq!(Address::from(mapped).to_string(), "10.0.0.1:5");
    }
}
