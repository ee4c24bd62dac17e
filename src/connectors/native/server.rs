//! Starting and stopping the connector, and its figures.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::config::NativeConfig;
use super::thread::{Shared, Thread, ThreadCounter};
use crate::clock::Clock;
use crate::http::Site;
use crate::refusals::Reason;
use crate::tcp::reactor::{
    self, Early, OverLimitHook, PreConnect, Preamble, Progress, Reactor, Refuse, Step, Stopped,
    Waker,
};
use crate::tcp::{Address, Listener};
use crate::transport::WakeSink;

/// A running connector. Dropping it cuts all connections.
pub struct Running {
    reactor: Reactor,
    shared: Arc<Shared>,
    /// One per thread.
    requests: Vec<Arc<ThreadCounter>>,
}

/// Figures of a connector since its start.
#[derive(Clone, Copy, Debug)]
pub struct NativeStats {
    /// Requests and messages of WebSockets that were well-formed and handed to the site.
    pub requests: u64,
    /// WebSockets at present.
    pub sockets: u64,
    /// Streams of events at present.
    pub streams: u64,
    /// Bytes of unfinished requests, at present.
    pub input_bytes: usize,
    /// Figures of the connections.
    pub connections: reactor::Stats,
}

/// Serves the site on the listeners.
///
/// # Errors
///
/// If a thread or a poller cannot be had.
pub fn start(
    config: NativeConfig,
    listeners: Vec<Listener>,
    site: Arc<Site>,
    clock: Arc<dyn Clock>,
) -> io::Result<Running> {
    let config = config.bounded();
    let reactor_config = reactor_config(&config, &site, Arc::clone(&clock));
    let shared = Arc::new(Shared::new(config, site, clock));
    let mut requests = Vec::new();
    let reactor = Reactor::start(&reactor_config, listeners, |_, waker| {
        let counter = Arc::new(ThreadCounter::default());
        requests.push(Arc::clone(&counter));
        Thread::new(&shared, Arc::new(ThreadSink(waker)), counter)
    })?;
    Ok(Running {
        reactor,
        shared,
        requests,
    })
}

fn reactor_config(
    config: &NativeConfig,
    site: &Arc<Site>,
    clock: Arc<dyn Clock>,
) -> reactor::Config {
    let on_over_limit: OverLimitHook = {
        let site = Arc::clone(site);
        Arc::new(move |peer| {
            let seen = format_args!("a connection from {peer}");
            let refusals = site.broker().refusals();
            refusals.count(Reason::MaxConnectionsPerIp, seen);
        })
    };
    reactor::Config {
        name: config.name.into(),
        threads: config.io_threads,
        max_connections: Some(config.max_connections),
        max_per_address: config
            .max_connections_per_ip
            .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        // At most one response waits, and that is always taken whole.
        write_buffer: 0,
        // Only heads are left unconsumed, and those are bounded before.
        input_buffer: config.max_header.saturating_mul(2),
        write_timeout: Some(config.write_timeout),
        close_timeout: config.write_timeout,
        on_over_limit: Some(on_over_limit),
        pre_connect: steps(config, site),
        pre_connect_timeout: config.header_timeout,
        clock,
        ..reactor::Config::default()
    }
}

/// All steps, TLS as the last one.
fn steps(config: &NativeConfig, site: &Arc<Site>) -> Vec<Arc<dyn PreConnect>> {
    let counted = |step: &Arc<dyn PreConnect>| -> Arc<dyn PreConnect> {
        let (step, site) = (Arc::clone(step), Arc::clone(site));
        Arc::new(CountedStep { step, site })
    };
    let steps = config.pre_connect.iter().map(counted);
    #[cfg(feature = "tls")]
    let steps = steps.chain(config.tls.iter().map(|tls| Arc::clone(tls) as _));
    steps.collect()
}

impl Running {
    /// Where it listens, in the order of the listeners given.
    pub fn local_addrs(&self) -> &[Address] {
        self.reactor.local_addrs()
    }

    /// Figures since the start.
    pub fn stats(&self) -> NativeStats {
        NativeStats {
            requests: self.requests.iter().map(|counter| counter.get()).sum(),
            sockets: self.shared.sockets.get(),
            streams: self.shared.streams.get(),
            input_bytes: self.shared.site.traffic.input.taken(),
            connections: self.reactor.stats(),
        }
    }

    /// Changes how many connections there may be; see [`NativeConfig::max_connections`].
    pub fn set_max_connections(&self, limit: Option<usize>) {
        self.reactor.set_max_connections(limit);
    }

    /// Closes the listeners; the connections stay. Returns when nobody can connect any more.
    pub fn stop_accepting(&mut self) {
        self.reactor.stop_accepting();
    }

    /// Closes idle connections, and the others after the answers they wait for. Held connects are
    /// answered by [`Broker::drain`](crate::broker::Broker::drain). Waits for nothing.
    pub fn drain(&self) {
        self.reactor.drain();
    }

    /// Stops: as [`drain`](Self::drain), waits until all connections are closed or `grace` is over,
    /// cuts the rest, and ends the threads.
    pub fn stop(self, grace: Duration) -> Stopped {
        self.reactor.stop(grace)
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("reactor", &self.reactor)
            .finish_non_exhaustive()
    }
}

/// The connections of one I/O thread, for the broker.
struct ThreadSink(Waker);

impl WakeSink for ThreadSink {
    fn wake(&self, keys: &[u64]) {
        self.0.wake(keys);
    }

    fn is_behind(&self) -> bool {
        self.0.is_behind()
    }
}

/// A step before a connection is served whose refusals are counted, and told in the log.
struct CountedStep {
    step: Arc<dyn PreConnect>,
    site: Arc<Site>,
}

struct CountedPreamble {
    preamble: Box<dyn Preamble>,
    site: Arc<Site>,
}

impl PreConnect for CountedStep {
    fn start(&self, connection: &mut Early<'_>) -> Result<Step, Refuse> {
        let step = self.step.start(connection);
        let step = step.inspect_err(|Refuse| count_refused(&self.site, connection.peer_addr()))?;
        Ok(match step {
            Step::Read(preamble) => Step::Read(Box::new(CountedPreamble {
                preamble,
                site: Arc::clone(&self.site),
            })),
            other @ (Step::Pass | Step::Layer(_)) => other,
        })
    }
}

impl Preamble for CountedPreamble {
    fn input(&mut self, connection: &mut Early<'_>, input: &[u8]) -> Result<Progress, Refuse> {
        let progress = self.preamble.input(connection, input);
        progress.inspect_err(|Refuse| count_refused(&self.site, connection.peer_addr()))
    }
}

fn count_refused(site: &Site, peer: &Address) {
    let seen = format_args!("a connection from {peer}, which did not begin as it should");
    site.broker().refusals().count(Reason::PreConnect, seen);
}
