//! A publication on its way: to everyone who is subscribed, or to one client; through the filter
//! into the receivers' queues.

use std::sync::Arc;

use super::core::Core;
use super::events::{Client, Event, EventKind};
use super::filter::{self, Filter};
use super::local::{LocalError, check_fit};
use super::queue::Outcome;
use super::session::{Gone, Identity, Session};
use super::wakes::Wakes;
use crate::protocol::{ChannelKind, ChannelName, Draft, Fit, Publication, Publisher, Shown};

/// The sessions of the request that publishes: the publisher, and the one whose messages the
/// response carries, which needs no wake. Where they are, to be recognised without being looked at.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    publisher: *const Session,
    carried: *const Session,
}

impl Source {
    pub(crate) fn new(publisher: Option<&Arc<Session>>, carried: Option<&Arc<Session>>) -> Self {
        Self {
            publisher: publisher.map_or(std::ptr::null(), Arc::as_ptr),
            carried: carried.map_or(std::ptr::null(), Arc::as_ptr),
        }
    }

    pub(crate) fn nobody() -> Self {
        Self::new(None, None)
    }
}

/// How far a publication went.
pub(crate) struct Reach {
    /// Sessions that are subscribed: what it cost to look after them.
    pub(crate) subscribed: usize,
    /// Those that it was queued for.
    pub(crate) queued: usize,
}

impl Core {
    /// Queues the message for everyone who is subscribed.
    pub(crate) fn fan_out(
        self: &Arc<Self>,
        item: &Arc<Publication>,
        source: Source,
        wakes: &mut Wakes,
    ) -> Reach {
        self.counters.mine().published.one();
        self.hooks.tell(EventKind::Published, || Event::Published {
            publication: Arc::clone(item),
        });
        let receivers = self.table.receivers(item.channel());
        let silent = if self.config.broadcast_to_publisher {
            std::ptr::null()
        } else {
            source.publisher
        };
        let mut sums = Sums::default();
        let filter = self.hooks.filters.get();
        let filter = filter.as_deref();
        if filter.is_none() && !receivers.is_empty() {
            sums.booked += self.budget.book(item);
        }
        for session in receivers
            .iter()
            .filter(|session| Arc::as_ptr(session) != silent)
        {
            self.filtered(filter, item, session, source.carried, wakes, &mut sums);
        }
        let reach = Reach {
            subscribed: receivers.len(),
            queued: sums.queued,
        };
        self.book(sums);
        let (name, bytes) = (item.channel().as_str(), item.json().len());
        log::trace!(
            "published on {}: {bytes} bytes, {} receivers",
            Shown(name),
            reach.queued
        );
        reach
    }

    /// Publishes in the name of that session; returns how many clients it was queued for.
    pub(crate) fn publish_as(
        self: &Arc<Self>,
        session: &Arc<Session>,
        channel: &ChannelName,
        data: &str,
    ) -> usize {
        let publication = self.publication_of(session, channel, data);
        let mut wakes = Wakes::default();
        let reach = self.fan_out(&publication, Source::new(Some(session), None), &mut wakes);
        wakes.send();
        reach.queued
    }

    /// A message published by that session.
    fn publication_of(
        &self,
        session: &Session,
        channel: &ChannelName,
        data: &str,
    ) -> Arc<Publication> {
        let publisher = match session.identity() {
            Identity::Remote(id) => Publisher::Remote(id),
            Identity::Local(id) => Publisher::Local(id),
        };
        let sender = self.public_id(session);
        let draft = Draft {
            data: Some(data),
            sender: sender.as_deref(),
            publisher,
            ..Draft::new(channel)
        };
        Arc::new(draft.build())
    }

    /// Queues a message for one client.
    pub(crate) fn push(
        self: &Arc<Self>,
        client: Client,
        publication: Publication,
    ) -> Result<(), LocalError> {
        self.check_running()?;
        // Only the server itself speaks about sessions.
        if publication.channel().kind() == ChannelKind::Meta {
            let channel = publication.channel().to_string();
            return Err(LocalError::InvalidChannel(channel));
        }
        check_fit(&publication, Fit::OneClient)?;
        let session = self.session_of(client).ok_or(LocalError::UnknownClient)?;
        let publication = Arc::new(publication);
        let (mut wakes, mut sums) = (Wakes::default(), Sums::default());
        let nobody = std::ptr::null();
        let filter = self.hooks.filters.get();
        let filter = filter.as_deref();
        if filter.is_none() {
            sums.booked += self.budget.book(&publication);
        }
        self.filtered(
            filter,
            &publication,
            &session,
            nobody,
            &mut wakes,
            &mut sums,
        );
        let (queued, full) = (sums.queued == 1, sums.refused + sums.overflowed.len() > 0);
        self.book(sums);
        wakes.send();
        if full {
            return Err(LocalError::QueueFull);
        }
        if !queued {
            return Err(match filter {
                Some(_) if session.lock().gone().is_none() => LocalError::Filtered,
                _ => LocalError::UnknownClient,
            });
        }
        log::trace!(
            "pushed to {client}: {}",
            Shown(publication.channel().as_str())
        );
        self.hooks.tell(EventKind::Pushed, || Event::Pushed {
            client,
            publication,
        });
        Ok(())
    }

    /// Delivers what the filter lets through, and books it; without a filter it is booked already.
    /// With no lock held: the filter is user code.
    fn filtered(
        &self,
        filter: Option<&Filter>,
        item: &Arc<Publication>,
        session: &Arc<Session>,
        carried: *const Session,
        wakes: &mut Wakes,
        sums: &mut Sums,
    ) {
        let Some(filter) = filter else {
            return self.deliver(item, session, carried, wakes, sums);
        };
        if let Some(item) = filter::apply(filter, session, item) {
            sums.booked += self.budget.book(&item);
            self.deliver(&item, session, carried, wakes, sums);
        }
    }

    fn deliver(
        &self,
        item: &Arc<Publication>,
        session: &Arc<Session>,
        carried: *const Session,
        wakes: &mut Wakes,
        sums: &mut Sums,
    ) {
        let mut state = session.lock();
        let limits = if state.is_local() {
            &self.local_queue
        } else {
            &self.config.queue
        };
        let pushed = state.push(item, limits);
        if pushed.outcome == Outcome::Queued && Arc::as_ptr(session) != carried {
            if let Some(connection) = state.next_wake() {
                wakes.add(connection);
            }
        }
        drop(state);
        sums.dropped += pushed.dropped;
        match pushed.outcome {
            Outcome::Queued => sums.queued += 1,
            Outcome::Refused => sums.refused += 1,
            Outcome::Gone => {}
            Outcome::Overflowed => sums.overflowed.push(Arc::clone(session)),
        }
    }

    /// Books what a delivery did, outside of all locks.
    fn book(self: &Arc<Self>, sums: Sums) {
        let counters = self.counters.mine();
        counters.queued.add(sums.queued as u64);
        counters.dropped_oldest.add(sums.dropped as u64);
        counters.dropped_newest.add(sums.refused as u64);
        let budget = &self.budget;
        let too_much = budget.queued(sums.queued, sums.dropped, sums.booked);
        for session in sums.overflowed {
            self.end(&session, Gone::Overflowed);
        }
        if too_much {
            self.evict();
        }
    }
}

#[derive(Default)]
struct Sums {
    queued: usize,
    /// Bytes of messages that were booked.
    booked: usize,
    refused: usize,
    dropped: usize,
    overflowed: Vec<Arc<Session>>,
}
