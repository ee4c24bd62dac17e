//! The broker as everybody outside sees it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;

use super::answer::Executed;
use super::budget::QueueBudget;
use super::config::BrokerConfig;
use super::core::{Core, Counters};
use super::deliver::Source;
use super::ending::farewell;
use super::events::{Event, EventKind};
use super::filter::{Delivery, DeliveryDecision};
use super::held_limits::HeldCounts;
use super::hooks::Hooks;
use super::local::{LocalClient, LocalError, broadcast, check_fit, to_json};
use super::mailbox::Locals;
use super::policy::{AuthRequest, Policy, Verdict};
use super::pool::Inbox;
use super::public_id::PublicIds;
use super::queue::Overflow;
use super::receiver::{Attachment, NoStream};
use super::registry::{Registry, SESSION_BYTES};
use super::request::{Call, execute};
use super::service::{Access, Service, ServiceOverride};
use super::session::Gone;
use super::stale::StaleConnects;
use super::stats::BrokerStats;
use super::table::Table;
use super::ticker::{Ticker, TickerThread, tick};
use super::traffic::Traffic;
use super::wakes::Wakes;
use crate::clock::Clock;
use crate::protocol::{
    ChannelKind, ChannelName, Fit, InvalidChannel, Pattern, Publication, Publisher,
};
use crate::refusals::Refusals;
use crate::transport::{ConnectionHandle, Peer};
use crate::util::Owner;

/// A handle to the broker; clones share it. It lives until the last handle is gone.
#[derive(Clone)]
pub struct Broker {
    pub(super) core: Arc<Core>,
    _ticker: Option<Arc<TickerThread>>,
}

impl Broker {
    /// Starts a broker with its threads.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn start(
        config: BrokerConfig,
        clock: Arc<dyn Clock>,
        policy: Option<Box<dyn Policy>>,
    ) -> std::io::Result<Self> {
        let mut broker = Self::start_without_ticker(config, clock, policy)?;
        broker._ticker = Some(Arc::new(TickerThread::start(&broker.core)?));
        Ok(broker)
    }

    /// Starts a broker whose time is moved by hand: by [`tick`](Self::tick).
    ///
    /// # Errors
    /// If the worker threads cannot be started.
    pub fn start_without_ticker(
        config: BrokerConfig,
        clock: Arc<dyn Clock>,
        policy: Option<Box<dyn Policy>>,
    ) -> std::io::Result<Self> {
        let config = config.bounded();
        let hooks = Hooks::start(config.workers, config.max_share_per_ip, policy, &clock)?;
        let mut local_queue = config.queue;
        if local_queue.overflow == Overflow::Disconnect {
            local_queue.overflow = Overflow::DropOldest;
        }
        let senders = match config.expose_sender {
            true => Some(PublicIds::new().map_err(std::io::Error::other)?),
            false => None,
        };
        let core = Core {
            registry: Arc::new(Registry::new(config.max_sessions)),
            table: Table::new(
                config.max_subscription_bytes,
                config.share_of(config.max_subscription_bytes),
            ),
            held: Arc::new(HeldCounts::new(
                config.max_sessions_per_browser,
                config.max_held_per_ip,
            )),
            ticker: Ticker::new(clock.now()),
            budget: QueueBudget::new(config.max_queued_total),
            traffic: Traffic::new(&config.traffic, |bound| config.share_of(bound)),
            locals: Locals::default(),
            local_queue,
            counters: Counters::default(),
            refusals: Refusals::new(Arc::clone(&clock)),
            stale: StaleConnects::default(),
            hooks,
            senders,
            farewell: farewell(),
            draining: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            config,
            clock,
        };
        Ok(Self {
            core: Arc::new(core),
            _ticker: None,
        })
    }

    /// A handle that does not keep the broker alive: for hooks, which the broker owns.
    pub fn downgrade(&self) -> WeakBroker {
        WeakBroker {
            core: Arc::downgrade(&self.core),
        }
    }

    /// Does what the time has brought. Called by the ticker every 100 ms.
    pub fn tick(&self) {
        tick(&self.core);
    }

    /// The configuration in force.
    pub fn config(&self) -> &BrokerConfig {
        &self.core.config
    }

    /// Bytes of requests and of output that connections keep.
    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.core.traffic
    }

    /// Executes a request or frame: its messages in their order, each with its reply. Never
    /// blocks; user code runs elsewhere, and then the answer comes later.
    pub fn execute(&self, call: Call) -> Executed {
        execute(&self.core, call)
    }

    /// Makes the connection the stream of events of the session with that client id: its messages
    /// go there, and it lives for as long as the stream does.
    ///
    /// # Errors
    /// If there is no such session for this peer, or the server is about to stop.
    pub fn open_stream(
        &self,
        peer: &Peer,
        client: &str,
        connection: &ConnectionHandle,
    ) -> Result<Attachment, NoStream> {
        self.core.open_stream(peer, client, connection)
    }

    /// Adds or replaces a service: `channel` is the whole name, below `/service/`.
    ///
    /// # Errors
    /// If it is no such channel.
    pub fn add_service(
        &self,
        channel: &str,
        access: Access,
        service: impl Service,
    ) -> Result<(), InvalidChannel> {
        let name = ChannelName::try_from(channel)?;
        if name.kind() != ChannelKind::Service {
            return Err(InvalidChannel);
        }
        self.core
            .hooks
            .services
            .set(name, Box::new(service), access);
        Ok(())
    }

    /// Sets the service of all channels below `/service/` that have none of their own; without it
    /// they are unknown. It has no name, so nobody can ask for it by one.
    pub fn set_fallback_service(&self, access: Access, service: impl Service) {
        self.core
            .hooks
            .services
            .set_fallback(Box::new(service), access);
    }

    /// As [`add_service`](Self::add_service) until what is returned is dropped. A service that the
    /// channel has otherwise waits so long.
    pub(crate) fn override_service(
        &self,
        channel: &str,
        access: Access,
        service: impl Service,
    ) -> Result<ServiceOverride, InvalidChannel> {
        let name = ChannelName::try_from(channel)?;
        if name.kind() != ChannelKind::Service {
            return Err(InvalidChannel);
        }
        Ok(self
            .core
            .hooks
            .services
            .cover(name, Box::new(service), access))
    }

    /// Removes a service; calls that it has begun go on. Whether there was one.
    pub fn remove_service(&self, channel: &str) -> bool {
        ChannelName::try_from(channel).is_ok_and(|name| self.core.hooks.services.remove(&name))
    }

    /// Adds a listener that sees what clients publish on matching channels, and what they send to
    /// matching services, before anybody gets it. It runs on a worker thread and may block.
    ///
    /// # Errors
    /// If it is no valid pattern.
    pub fn add_listener(
        &self,
        pattern: &str,
        listener: impl Fn(&AuthRequest<'_>) -> Verdict + Send + Sync + 'static,
    ) -> Result<(), InvalidChannel> {
        let pattern = Pattern::try_from(pattern)?;
        self.core.hooks.listeners.add(pattern, Box::new(listener));
        Ok(())
    }

    /// Sets the delivery filter: it is asked for each message and each receiver, remote or local,
    /// and may drop or replace that receiver's copy. It runs on a worker thread, or on the thread
    /// that publishes or pushes in this process; may block, and then holds up the publisher. A
    /// panic drops the copy. To be set before the first client is there.
    pub fn set_delivery_filter(
        &self,
        filter: impl Fn(&Delivery<'_>) -> DeliveryDecision + Send + Sync + 'static,
    ) {
        self.core.hooks.filters.set(Arc::new(filter));
    }

    /// Tells the observer what happens, in order, on a worker thread. It cannot hold up anything:
    /// events that it is too slow for are dropped and counted.
    pub fn add_observer(&self, observer: impl Fn(&Event) + Send + Sync + 'static) {
        self.add_observer_of(EventKind::ALL, observer);
    }

    /// Like [`Broker::add_observer`], but it is told of events of these kinds only. Of what nobody
    /// asked for nothing is made up: who does not ask for [`EventKind::Published`] costs a
    /// publisher nothing.
    pub fn add_observer_of(
        &self,
        kinds: impl IntoIterator<Item = EventKind>,
        observer: impl Fn(&Event) + Send + Sync + 'static,
    ) {
        self.core.hooks.observers.add(kinds, Box::new(observer));
    }

    /// Runs user code on a worker thread; also when the broker is being dropped, unless it is kept
    /// from that by other user code. `false`: too much waits for it already, and nothing is done.
    pub(crate) fn run(
        &self,
        inbox: &Arc<Inbox>,
        owner: Owner,
        job: impl FnOnce() + Send + 'static,
    ) -> bool {
        let pool = &self.core.hooks.callback_pool;
        pool.submit(inbox, Some(owner), job, |job| job()).is_ok()
    }

    /// Opens a client in this process.
    pub fn local_client(&self) -> LocalClient {
        LocalClient::open(&self.core)
    }

    /// Publishes as nobody; returns how many clients it was queued for.
    ///
    /// # Errors
    /// If the channel is no broadcast channel, the data cannot be written as JSON, or the broker
    /// has stopped.
    pub fn publish(&self, channel: &str, data: &impl Serialize) -> Result<usize, LocalError> {
        let name = broadcast(channel)?;
        let publication = Publication::new(&name, &to_json(data)?, Publisher::Nobody);
        self.publish_encoded(&Arc::new(publication))
    }

    /// Publishes what is encoded already; returns how many clients it was queued for.
    ///
    /// # Errors
    /// If its channel is no broadcast channel, it has a value that is no JSON or a field that is
    /// for one client only, or the broker has stopped.
    pub fn publish_encoded(&self, publication: &Arc<Publication>) -> Result<usize, LocalError> {
        let channel = publication.channel();
        if channel.kind() != ChannelKind::Broadcast {
            return Err(LocalError::InvalidChannel(channel.to_string()));
        }
        check_fit(publication, Fit::Everybody)?;
        self.core.check_running()?;
        let mut wakes = Wakes::default();
        let reach = self.core.fan_out(publication, Source::nobody(), &mut wakes);
        wakes.send();
        Ok(reach.queued)
    }

    /// Refuses new requests from now on and answers every held connect, spread over the time given.
    /// Blocks for about so long.
    pub fn drain(&self, spread: Duration) {
        self.core.drain(spread);
    }

    /// Ends every session for good; to be called when the connectors have stopped. Observers hear
    /// of each, and clients in this process of their own: they can still take what they have
    /// received, and are refused everything else. Waits for observers that are behind, for so long
    /// at the most; those slower than that may miss some.
    pub fn stop(&self, patience: Duration) {
        self.core.stop(patience);
    }

    /// Sessions, and bytes in queues. Cheap, however many there are.
    #[cfg(feature = "cli")]
    pub(crate) fn volume(&self) -> (usize, usize) {
        (self.core.registry.len(), self.core.budget.bytes())
    }

    /// Why what came from clients was refused, and how often, by everybody who refuses it: the
    /// broker, the endpoint, connectors.
    pub fn refusals(&self) -> &Refusals {
        &self.core.refusals
    }

    /// What there is and what has happened so far. Looks at every session.
    pub fn stats(&self) -> BrokerStats {
        let core = &self.core;
        let (mut queued_messages, mut queued_bytes) = (0, 0);
        let mut add = |(messages, bytes): (usize, usize)| {
            queued_messages += messages as u64;
            queued_bytes += bytes as u64;
        };
        let registry = &core.registry;
        registry.for_each(|session| add(session.lock().queued()));
        core.locals.for_each(|local| add(local.queued()));
        let counters = &core.counters;
        BrokerStats {
            sessions: core.registry.len() as u64,
            held: core.held.total(),
            subscriptions: core.table.len() as u64,
            subscription_bytes: core.table.bytes() as u64,
            receiver_cache_bytes: core.table.cache_bytes() as u64,
            waiting_jobs: core.hooks.waiting_jobs() as u64,
            queued_messages,
            queued_bytes,
            session_bytes: (core.registry.len() * SESSION_BYTES) as u64,
            message_bytes: core.budget.bytes() as u64,
            input_bytes: core.traffic.input.taken() as u64,
            output_bytes: core.traffic.output.taken() as u64,
            received: counters.sum(|busy| &busy.received),
            published: counters.sum(|busy| &busy.published),
            queued: counters.sum(|busy| &busy.queued),
            handshakes: counters.handshakes.get(),
            dropped_oldest: counters.sum(|busy| &busy.dropped_oldest),
            dropped_newest: counters.sum(|busy| &busy.dropped_newest),
            dropped_with_session: counters.dropped_session.get(),
            ended_disconnected: counters.ended[Gone::Disconnected as usize].get(),
            ended_dismissed: counters.ended[Gone::Dismissed as usize].get(),
            ended_expired: counters.ended[Gone::Expired as usize].get(),
            ended_overflowed: counters.ended[Gone::Overflowed as usize].get(),
            ended_evicted: counters.ended[Gone::Evicted as usize].get(),
            ended_stopped: counters.ended[Gone::Stopped as usize].get(),
            failed: counters.failed.snapshot(),
            dropped_events: core.hooks.observers.dropped.get(),
        }
    }
}

/// A handle to a broker that may be gone.
#[derive(Clone)]
pub struct WeakBroker {
    core: Weak<Core>,
}

impl WeakBroker {
    /// The broker, if it still lives.
    pub fn upgrade(&self) -> Option<Broker> {
        let core = self.core.upgrade()?;
        Some(Broker {
            core,
            _ticker: None,
        })
    }
}
