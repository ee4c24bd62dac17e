//! What nodes tell each other of themselves, as JSON. Fields that a reader does not know are
//! skipped, so that later versions may add some.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::link::NodeId;

/// Tells this protocol from others.
pub(crate) const MAGIC: &str = "bayeux-link";
/// Oldest and newest version that is spoken here.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

/// The first frame in each direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: String,
    /// Oldest and newest version that the node speaks.
    pub(crate) versions: (u16, u16),
    pub(crate) node: NodeId,
    pub(crate) name: String,
    /// 64 hexadecimal digits that were never used before.
    pub(crate) nonce: String,
    /// Longest frame that the node takes, in bytes.
    pub(crate) max_frame: u32,
    /// What the node can do beyond the version; what both can is used.
    #[serde(default)]
    pub(crate) features: Vec<String>,
}

impl Hello {
    pub(crate) fn new(
        node: NodeId,
        name: &str,
        nonce: [u8; 32],
        max_frame: u32,
        features: Vec<String>,
    ) -> Self {
        let nonce = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            protocol: MAGIC.to_owned(),
            versions: VERSIONS,
            node,
            name: name.to_owned(),
            nonce,
            max_frame,
            features,
        }
    }
}

/// All there is to know of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) origin: NodeId,
    /// Counts the changes of the origin.
    pub(crate) seq: u64,
    /// How often it may still be passed on.
    pub(crate) hops: u8,
    pub(crate) name: String,
    /// The nodes to which it has links.
    pub(crate) peers: BTreeSet<NodeId>,
    /// What it exports, and whether it shares the name with others.
    pub(crate) aliases: BTreeMap<String, bool>,
}

/// What has changed at a node since the state or change before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) origin: NodeId,
    pub(crate) seq: u64,
    pub(crate) hops: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) met: Vec<NodeId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost: Vec<NodeId>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) add: BTreeMap<String, bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) drop: Vec<String>,
}

/// Asks a neighbour for the state of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Want {
    pub(crate) origin: NodeId,
}

/// Tells a neighbour that an alias it has announced belongs to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refuse {
    pub(crate) alias: String,
    pub(crate) owner: NodeId,
}

/// The last frame of a link that is closed on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bye {
    pub(crate) reason: String,
}
