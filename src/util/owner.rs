//! Whose something is that is kept for a stranger.

use std::fmt;
use std::net::IpAddr;

use super::Network;

/// An address, of IPv6 the network of 64 bits that one household or machine has to itself. Limits
/// for one client count by it, since everything else is invented faster than refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner(Network);

impl From<IpAddr> for Owner {
    fn from(ip: IpAddr) -> Self {
        let ip = ip.to_canonical();
        let prefix = if ip.is_ipv4() { 32 } else { 64 };
        Self(Network::new(ip, prefix).unwrap_or_else(|| ip.into()))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_the_same() {
        let owner = |ip: &str| Owner::from(ip.parse::<IpAddr>().unwrap());
        assert_eq!(owner("10.0.0.1"), owner("::ffff:10.0.0.1"));
        assert_ne!(owner("10.0.0.1"), owner("10.0.0.2"));
        assert_eq!(owner("2001:db8::1"), owner("2001:db8::ffff:0:0:1"));
        assert_ne!(owner("2001:db8::1"), owner("2001:db8:0:1::1"));
    }
}
