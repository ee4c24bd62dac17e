//! What a node tells its program.

use std::sync::Arc;

use super::error::{FaultKind, LinkEnd};
use super::hello::Peer;
use super::{LinkId, NodeId};

/// Something has happened. Told in order; see [`Handle::observe`](super::Handle::observe).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A link was made.
    LinkUp {
        /// Which.
        link: LinkId,
        /// With whom.
        peer: Peer,
    },
    /// A link has ended: exactly once for every `LinkUp`.
    LinkDown {
        /// Which.
        link: LinkId,
        /// With whom.
        peer: Peer,
        /// Why.
        reason: LinkEnd,
    },
    /// A connection did not become a link.
    LinkFailed {
        /// The address that was called, or that called.
        address: String,
        /// Why.
        reason: LinkEnd,
    },
    /// A node can be reached, directly or over others.
    NodeUp {
        /// Which.
        node: NodeId,
        /// Its name.
        name: Arc<str>,
    },
    /// A node cannot be reached any more.
    NodeDown {
        /// Which.
        node: NodeId,
        /// Its name.
        name: Arc<str>,
    },
    /// A node exports an alias.
    AliasAdded {
        /// Which.
        alias: Arc<str>,
        /// Who.
        owner: NodeId,
    },
    /// A node does not export it any more, or cannot be reached.
    AliasRemoved {
        /// Which.
        alias: Arc<str>,
        /// Who.
        owner: NodeId,
    },
    /// An alias of this node belongs to another, which has exported it at the same time or longer.
    /// The export waits until it is free.
    AliasRefused {
        /// Which.
        alias: Arc<str>,
        /// To whom it belongs.
        owner: NodeId,
    },
    /// Posts that had been accepted will not arrive, or it is not known whether they have.
    Undelivered {
        /// To which alias.
        alias: Arc<str>,
        /// At which node; `None` if there never was one.
        node: Option<NodeId>,
        /// Posts that certainly have not arrived.
        lost: u64,
        /// Posts of which it is not known.
        uncertain: u64,
    },
    /// A post has arrived and was not carried out.
    Rejected {
        /// To which alias.
        alias: String,
        /// Which event.
        event: String,
        /// By which node.
        node: NodeId,
        /// Why.
        reason: FaultKind,
    },
}
