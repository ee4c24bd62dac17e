//! The server among linked processes.

use std::net::SocketAddr;
use std::time::Duration;

use super::StartError;
use super::link_tls::LinkTls;
use crate::bridge::{Bridge, LinkedPolicy};
use crate::broker::{Broker, Policy};
use crate::config::{Config, ListenAddress};
use crate::link::{self, Key, Keys, Node};
use crate::tcp::Address;

/// A node that listens, with the bridge to the broker.
pub(super) struct Linked {
    node: Node,
    address: SocketAddr,
    _bridge: Bridge,
}

/// How long the authoriser may think.
const JUDGE_TIMEOUT: Duration = Duration::from_secs(5);

/// The node, if the settings ask for one. Nobody is let in yet.
pub(super) fn node(config: &Config, tls: &LinkTls) -> Result<Option<Node>, StartError> {
    if config.link.is_none() {
        return Ok(None);
    }
    let key = config.link_key_file.as_ref().map(|file| {
        Key::from_file(file)
            .map_err(|error| StartError::Link(format!("{}: {error}", file.display())))
    });
    let mut node = link::Config::with_keys(Keys::of_all(key.transpose()?));
    node.name = Some(config.link_name.clone());
    tls.secure(&mut node);
    Node::start(node).map(Some).map_err(StartError::System)
}

/// The policy, with the linked authoriser behind it if the settings name one.
pub(super) fn policy(
    config: &Config,
    node: Option<&Node>,
    policy: Option<Box<dyn Policy>>,
) -> Option<Box<dyn Policy>> {
    match (&config.link_authoriser, node) {
        (Some(alias), Some(node)) => {
            let handle = link::Handle::clone(node);
            Some(Box::new(LinkedPolicy::new(
                handle,
                alias,
                JUDGE_TIMEOUT,
                policy,
            )))
        }
        _ => policy,
    }
}

impl Linked {
    pub(super) fn start(
        node: Node,
        address: &ListenAddress,
        broker: &Broker,
    ) -> Result<Self, StartError> {
        let bridge =
            Bridge::install(broker, &node).map_err(|error| StartError::Link(error.to_string()))?;
        let listen = |source| StartError::Listen {
            address: address.to_string(),
            source,
        };
        let resolved = address.resolve().map_err(listen)?;
        let addresses = node.listen(&resolved.to_string()).map_err(listen)?;
        let address = addresses.iter().find_map(Address::inet).unwrap_or(resolved);
        Ok(Self {
            node,
            address,
            _bridge: bridge,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) fn stop(self, grace: Duration) {
        self.node.shutdown(grace);
    }
}
