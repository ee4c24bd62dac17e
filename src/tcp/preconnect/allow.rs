//! Only certain peers.

use crate::tcp::Network;
use crate::tcp::reactor::{Early, PreConnect, Refuse, Step};

/// Refuses peers from elsewhere. Behind a [`ProxyProtocol`](super::ProxyProtocol) step it looks at
/// the address that the proxy reports, before it at the proxy's. Unix sockets pass; their file has
/// permissions.
#[derive(Clone, Debug)]
pub struct AllowList {
    networks: Vec<Network>,
}

impl AllowList {
    /// Peers from these networks pass.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self {
            networks: networks.into_iter().collect(),
        }
    }
}

impl PreConnect for AllowList {
    fn start(&self, connection: &mut Early<'_>) -> Result<Step, Refuse> {
        match connection.peer_addr().ip() {
            Some(ip) if !self.networks.iter().any(|network| network.contains(ip)) => Err(Refuse),
            _ => Ok(Step::Pass),
        }
    }
}
