//! From settings to a running server.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::client_script::client_script;
use super::connector::{Connector, Settings};
use super::error::StartError;
#[cfg(feature = "ops")]
use super::internal;
#[cfg(feature = "link")]
use super::link_tls::LinkTls;
#[cfg(feature = "link")]
use super::linked;
#[cfg(feature = "link")]
use super::linked::Linked;
#[cfg(feature = "demo")]
use super::pages;
use super::tls::Tls;
use super::{Parts, Server};
use crate::broker::{
    Access, AuthRequest, Broker, BrokerConfig, Delivery, DeliveryDecision, Event, EventKind,
    Policy, Service, Verdict,
};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ListenAddress};
#[cfg(feature = "demo")]
use crate::demo::{self, Demo, OwnPrivateChannel};
use crate::http::{
    self, AccessLog, ContentHandler, HookedRequest, Mount, Response, Site, SiteConfig,
    TrustedProxies,
};
use crate::log_writer::{LogWriter, standard_output};
use crate::protocol::InvalidChannel;
#[cfg(feature = "tls")]
use crate::tcp::tls::TlsAcceptor;
use crate::transport::Transport;
use crate::util::Network;

/// Describes a server. Without anything said it listens where [`Config::default`] does, and serves
/// the demo pages.
#[derive(Default)]
pub struct ServerBuilder {
    config: Config,
    policy: Option<Box<dyn Policy>>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<TlsAcceptor>>,
    installs: Vec<Install>,
    content: Vec<Mount>,
    hook: Option<Hook>,
    access_log: Option<Box<dyn Write + Send>>,
    log: Option<LogWriter>,
}

type Hook = Box<dyn Fn(&HookedRequest, &mut Response) + Send + Sync>;

/// What is put into the broker before the first client is there.
type Install = Box<dyn FnOnce(&Broker) -> Result<(), InvalidChannel>>;

impl ServerBuilder {
    /// All settings at once.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The addresses to listen on, instead of those of the settings.
    #[must_use]
    pub fn listen(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.config.listen = addresses.into_iter().map(ListenAddress::from).collect();
        self
    }

    /// Who decides what clients may do. Default: everything is allowed.
    #[must_use]
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// A service that is there before the first client is: `channel` is the whole name, below
    /// `/service/`.
    #[must_use]
    pub fn service(self, channel: &str, access: Access, service: impl Service) -> Self {
        let channel = channel.to_owned();
        self.install(move |broker| broker.add_service(&channel, access, service))
    }

    /// The service of all channels below `/service/` that have none of their own.
    #[must_use]
    pub fn fallback_service(self, access: Access, service: impl Service) -> Self {
        self.setup(move |broker| broker.set_fallback_service(access, service))
    }

    /// A listener that may veto what clients publish on matching channels, or send to matching
    /// services; see [`Broker::add_listener`].
    #[must_use]
    pub fn listener(
        self,
        pattern: &str,
        listener: impl Fn(&AuthRequest<'_>) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let pattern = pattern.to_owned();
        self.install(move |broker| broker.add_listener(&pattern, listener))
    }

    /// An observer that is told what happens; see [`Broker::add_observer`].
    #[must_use]
    pub fn observer(self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.setup(move |broker| broker.add_observer(observer))
    }

    /// An observer of some kinds of events; see [`Broker::add_observer_of`].
    #[must_use]
    pub fn observer_of(
        self,
        kinds: impl IntoIterator<Item = EventKind> + Send + 'static,
        observer: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Self {
        self.setup(move |broker| broker.add_observer_of(kinds, observer))
    }

    /// Calls the function with the broker before the first client is there: for services and
    /// listeners that push, publish or send clients away. What it adds is to keep
    /// [a weak handle](Broker::downgrade) only.
    #[must_use]
    pub fn setup(self, setup: impl FnOnce(&Broker) + 'static) -> Self {
        self.install(move |broker| {
            setup(broker);
            Ok(())
        })
    }

    fn install(
        mut self,
        install: impl FnOnce(&Broker) -> Result<(), InvalidChannel> + 'static,
    ) -> Self {
        self.installs.push(Box::new(install));
        self
    }

    /// The delivery filter, asked for each message and each receiver; see
    /// [`Broker::set_delivery_filter`].
    #[must_use]
    pub fn delivery_filter(
        self,
        filter: impl Fn(&Delivery<'_>) -> DeliveryDecision + Send + Sync + 'static,
    ) -> Self {
        self.setup(move |broker| broker.set_delivery_filter(filter))
    }

    /// A handler for a path outside the endpoint, or with a slash at its end for all below it: for
    /// any method, with at most `max_body` bytes of body. It runs on worker threads and may block.
    #[must_use]
    pub fn content(mut self, path: &str, max_body: usize, handler: impl ContentHandler) -> Self {
        self.content.push(Mount::new(path, max_body, handler));
        self
    }

    /// A hook that sees every response, whatever the path, and may change it before it is sent; see
    /// [`Site::with_hook`].
    #[must_use]
    pub fn response_hook(
        mut self,
        hook: impl Fn(&HookedRequest, &mut Response) + Send + Sync + 'static,
    ) -> Self {
        self.hook = Some(Box::new(hook));
        self
    }

    /// Where the access log goes, instead of the file of the settings. The writer has a thread of
    /// its own.
    #[must_use]
    pub fn access_log(mut self, writer: impl Write + Send + 'static) -> Self {
        self.access_log = Some(Box::new(writer));
        self
    }

    /// The program's log, for its numbers.
    #[cfg(feature = "cli")]
    #[must_use]
    pub(crate) fn log(mut self, log: LogWriter) -> Self {
        self.log = Some(log);
        self
    }

    /// Serves by TLS as the acceptor says, instead of with the files of the settings. Whoever keeps
    /// a clone of it can [replace](TlsAcceptor::replace) the certificate later. Only the connector
    /// `native` can do it. Its protocols (ALPN) should be `http/1.1` or none.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, acceptor: Arc<TlsAcceptor>) -> Self {
        self.tls = Some(acceptor);
        self
    }

    /// Starts the server: it accepts connections when this returns.
    ///
    /// # Errors
    /// See [`StartError`]; then nothing is left running.
    pub fn start(self) -> Result<Server, StartError> {
        #[cfg_attr(not(feature = "tls"), allow(unused_mut))]
        let mut config = self.config;
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            config.native.tls = self.tls;
        }
        let config = &config;
        config.check().map_err(StartError::Config)?;
        for warning in config.warnings() {
            log::warn!("{warning}");
        }
        let tls = Tls::new(config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let policy = self.policy;
        #[cfg(feature = "demo")]
        let policy = match policy {
            None if config.serves_demo() => Some(Box::new(OwnPrivateChannel) as Box<dyn Policy>),
            policy => policy,
        };
        #[cfg(feature = "link")]
        let (link_tls, node, policy) = {
            let tls = LinkTls::new(config)?;
            let node = linked::node(config, &tls)?;
            let policy = linked::policy(config, node.as_ref(), policy);
            (tls, node, policy)
        };
        let broker = Broker::start(broker_config(config), Arc::clone(&clock), policy)
            .map_err(StartError::System)?;
        for install in self.installs {
            install(&broker).map_err(|_| StartError::Channel)?;
        }
        #[cfg(feature = "demo")]
        let demo = match config.serves_demo() {
            true => Some(Demo::install(&broker).map_err(StartError::Demo)?),
            false => None,
        };
        let site_config = site_config(config);
        let mut site = Site::new(site_config.clone(), broker.clone(), Arc::clone(&clock))
            .and_then(|site| site.with_content(self.content))
            .map_err(StartError::Site)?;
        if let Some(hook) = self.hook {
            site = site.with_hook(hook);
        }
        if let Some(log) = access_log(self.access_log, config)? {
            site = site.with_access_log(log);
        }
        let site = Arc::new(site);
        let settings = Settings::public(config, &tls);
        let connector = Connector::start(settings, &config.listen, &site, &clock)?;
        let addresses = connector.local_addrs();
        let parts = Arc::new(Parts {
            broker,
            site,
            started: clock.now(),
            clock,
            connector: parking_lot::Mutex::new(Some(connector)),
            draining: AtomicBool::new(false),
            log: self.log,
        });
        #[cfg(feature = "link")]
        let broker = parts.broker.clone();
        #[cfg_attr(not(any(feature = "link", feature = "ops")), allow(unused_mut))]
        let mut server = Server {
            parts,
            #[cfg(feature = "ops")]
            internal: None,
            #[cfg(feature = "link")]
            linked: None,
            #[cfg(feature = "demo")]
            _demo: demo,
            addresses,
            path: config.site.mount.clone(),
            tls,
            #[cfg(feature = "link")]
            link_tls,
        };
        #[cfg(feature = "ops")]
        if let Some(address) = &config.ops_listen {
            server.internal = Some(internal::start(address, &site_config, &server.parts)?);
        }
        // Last, so that nobody is let in before there is something to take part in.
        #[cfg(feature = "link")]
        if let (Some(node), Some(address)) = (node, &config.link) {
            server.linked = Some(Linked::start(node, address, &broker)?);
        }
        Ok(server)
    }
}

fn access_log(
    given: Option<Box<dyn Write + Send>>,
    config: &Config,
) -> Result<Option<AccessLog>, StartError> {
    let queue = config.log_queue;
    let started = match (given, &config.access_log) {
        (Some(stream), _) => AccessLog::to_stream(stream, queue),
        (None, None) => return Ok(None),
        (None, Some(path)) if path.as_os_str() == "-" => {
            standard_output().and_then(|stream| AccessLog::to_stream(stream, queue))
        }
        (None, Some(path)) => {
            let unable = |source| StartError::AccessLog {
                path: path.clone(),
                source,
            };
            return AccessLog::to_file(path, queue).map(Some).map_err(unable);
        }
    };
    started.map(Some).map_err(StartError::System)
}

fn trusted_proxies(networks: &[Network]) -> Option<TrustedProxies> {
    if networks.is_empty() {
        return None;
    }
    let networks = networks.to_vec();
    let trusted = move |ip| networks.iter().any(|network| network.contains(ip));
    Some(TrustedProxies::new(trusted))
}

fn broker_config(config: &Config) -> BrokerConfig {
    let mut broker = config.broker.clone();
    // A page of the demo shows the server's time.
    broker.extensions.timesync |= config.serves_demo();
    broker.connection_types = connection_types(config);
    broker.workers = config.workers;
    broker.traffic.max_request = config.site.max_body;
    #[cfg(feature = "native")]
    if let Some(most) = config.native.max_message {
        broker.traffic.max_request = most.max(config.site.max_body);
    }
    broker
}

/// What handshake replies name. Clients of Faye in browsers know long-polling by another name too.
fn connection_types(config: &Config) -> Vec<&'static str> {
    let mut types: Vec<_> = config.transports().map(Transport::name).collect();
    let polling = Transport::LongPolling.name();
    if let Some(at) = types.iter().position(|name| *name == polling) {
        types.insert(at + 1, "cross-origin-long-polling");
    }
    types
}

fn site_config(config: &Config) -> SiteConfig {
    let mut site = config.site.clone();
    let names = config.listen.iter().filter_map(ListenAddress::name);
    site.own_hosts.extend(names.map(str::to_owned));
    site.listens_everywhere |= config.listen.iter().any(ListenAddress::is_unspecified);
    site.client_script.get_or_insert(client_script());
    if let Some(networks) = trusted_proxies(&config.trusted_proxy) {
        site.trusted_proxies = Some(networks);
    }
    #[cfg(feature = "demo")]
    if config.serves_demo() && site.embedded.is_empty() {
        site.embedded = pages::pages(&config.site.mount);
        // How long files may be cached, where there are none but the demo's.
        let alone = config.site.document_root.is_none();
        for (media_type, age) in demo::EXPIRES.iter().filter(|_| alone) {
            if site.expires.iter().all(|set| set.media != *media_type) {
                site.expires.push(http::Expiry::new(media_type, *age));
            }
        }
    }
    site
}
