//! The delivery filter: a last look at each message for each receiver.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::core::client_of;
use super::events::Client;
use super::flags::Flags;
use super::pool::guarded;
use super::session::Session;
use crate::protocol::{ChannelKind, Publication};

/// A message on its way to one receiver.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Who is to get it.
    pub receiver: Client,
    /// Where the receiver's handshake came from; `None` for a client in this process.
    pub address: Option<IpAddr>,
    /// What hooks remember about the receiver.
    pub flags: &'a Flags,
    /// The message, with its publisher. All receivers share it.
    pub publication: &'a Arc<Publication>,
}

/// What becomes of a delivery.
#[derive(Clone, Debug)]
pub enum DeliveryDecision {
    /// The receiver gets the message.
    Pass,
    /// This receiver gets nothing; it is not told, nor is the publisher.
    Drop,
    /// This receiver gets that instead; see [`Publication::with_data`]. Nothing, if that is no
    /// JSON, is below `/meta`, or has fields that may not be published.
    Replace(Arc<Publication>),
}

pub(crate) type Filter = dyn Fn(&Delivery<'_>) -> DeliveryDecision + Send + Sync;

/// The filter, if there is one.
#[derive(Default)]
pub(crate) struct Filters {
    some: AtomicBool,
    filter: RwLock<Option<Arc<Filter>>>,
}

impl Filters {
    pub(crate) fn set(&self, filter: Arc<Filter>) {
        let former = self.filter.write().replace(filter);
        self.some.store(true, Ordering::Release);
        // With no lock held: what it owns may publish.
        drop(former);
    }

    pub(crate) fn any(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    /// The filter; without one this is one look at a flag.
    pub(crate) fn get(&self) -> Option<Arc<Filter>> {
        if self.any() {
            self.filter.read().clone()
        } else {
            None
        }
    }
}

/// Whether a message may take the place of another: it is JSON, speaks about no session, and has no
/// fields that many clients may not be sent at once, unless the other had some.
fn may_replace(message: &Publication, other: &Publication) -> bool {
    message.channel().kind() != ChannelKind::Meta && message.fit() >= other.fit()
}

/// What the session gets; a panic of the filter means nothing, so that a bug cannot leak.
pub(crate) fn apply(
    filter: &Filter,
    session: &Session,
    publication: &Arc<Publication>,
) -> Option<Arc<Publication>> {
    let delivery = Delivery {
        receiver: client_of(session),
        address: session.address(),
        flags: &session.flags,
        publication,
    };
    match guarded("the delivery filter", || filter(&delivery)) {
        Some(DeliveryDecision::Pass) => Some(Arc::clone(publication)),
        Some(DeliveryDecision::Replace(other)) if may_replace(&other, publication) => Some(other),
        Some(DeliveryDecision::Replace(other)) => {
            let channel = other.channel();
            log::error!("the delivery filter made a message on {channel} that nobody may get");
            None
        }
        Some(DeliveryDecision::Drop) | None => None,
    }
}
