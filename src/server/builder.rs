//! From settings to a running server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::connector::Connector;
use super::error::StartError;
use super::{Parts, Server, pages};
use crate::broker::{Access, Broker, BrokerConfig, Policy, QueueLimits, Service};
use crate::clock::{Clock, SystemClock};
use crate::config::{self, CallbackPolling, Config, ListenAddress};
use crate::demo::{self, Demo, OwnPrivateChannel};
use crate::extensions::Extensions;
use crate::http::{self, Site, SiteConfig};
use crate::ops::OpsListener;
use crate::protocol::InvalidChannel;

/// Describes a server. Without anything said it listens where [`Config::default`] does, and serves
/// the demo pages.
#[derive(Default)]
pub struct ServerBuilder {
    config: Config,
    policy: Option<Box<dyn Policy>>,
    services: Vec<Install>,
}

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
    pub fn service(mut self, channel: &str, access: Access, service: impl Service) -> Self {
        let channel = channel.to_owned();
        let install = move |broker: &Broker| broker.add_service(&channel, access, service);
        self.services.push(Box::new(install));
        self
    }

    /// Starts the server: it accepts connections when this returns.
    ///
    /// # Errors
    /// See [`StartError`]; then nothing is left running.
    pub fn start(self) -> Result<Server, StartError> {
        let config = &self.config;
        config.check().map_err(StartError::Config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let policy = match self.policy {
            None if config.serves_demo() => Some(Box::new(OwnPrivateChannel) as Box<dyn Policy>),
            policy => policy,
        };
        let broker = Broker::start(broker_config(config), Arc::clone(&clock), policy)
            .map_err(StartError::System)?;
        for install in self.services {
            let invalid = |_| crate::broker::LocalError::InvalidChannel("a service".to_owned());
            install(&broker).map_err(|error| StartError::Demo(invalid(error)))?;
        }
        let demo = match config.serves_demo() {
            true => Some(Demo::install(&broker).map_err(StartError::Demo)?),
            false => None,
        };
        let site = Site::new(site_config(config), broker.clone(), Arc::clone(&clock))
            .map_err(StartError::Site)?;
        let site = Arc::new(site);
        let connector = Connector::start(config, &site, &clock)?;
        let addresses = connector.local_addrs();
        let parts = Arc::new(Parts {
            broker,
            site,
            started: clock.now(),
            clock,
            connector: parking_lot::Mutex::new(Some(connector)),
            draining: AtomicBool::new(false),
        });
        let mut server = Server {
            parts,
            ops: None,
            _demo: demo,
            addresses,
            path: config.path.clone(),
        };
        if let Some(address) = &config.ops_listen {
            server.ops = Some(start_ops(address, &server.parts)?);
        }
        Ok(server)
    }
}

fn start_ops(address: &ListenAddress, parts: &Arc<Parts>) -> Result<OpsListener, StartError> {
    let source = Arc::clone(parts) as Arc<dyn crate::ops::Source>;
    let started = address
        .resolve()
        .and_then(|resolved| OpsListener::start(resolved, source, Arc::clone(&parts.clock)));
    started.map_err(|source| StartError::Listen {
        address: address.to_string(),
        source,
    })
}

fn broker_config(config: &Config) -> BrokerConfig {
    let mut types = match config.connector {
        config::Connector::Native => vec!["websocket", "eventsource"],
        config::Connector::TinyHttp => Vec::new(),
    };
    types.extend(["long-polling", "cross-origin-long-polling"]);
    if config.callback_polling != CallbackPolling::Off {
        types.push("callback-polling");
    }
    BrokerConfig {
        timeout: config.timeout,
        interval: config.interval,
        max_interval: config.max_interval,
        max_client_interval: config.max_client_interval,
        anonymous_publish: config.anonymous_publish,
        broadcast_to_publisher: config.broadcast_to_publisher,
        meta_connect_deliver_only: config.meta_connect_deliver_only,
        require_browser_cookie: config.require_browser_cookie,
        queue: QueueLimits {
            messages: config.max_queue_messages,
            bytes: config.max_queue_bytes,
            overflow: match config.overflow {
                config::Overflow::DropOldest => crate::broker::Overflow::DropOldest,
                config::Overflow::DropNewest => crate::broker::Overflow::DropNewest,
                config::Overflow::Disconnect => crate::broker::Overflow::Disconnect,
            },
        },
        max_queued_total: config.max_queued_total,
        max_sessions: config.max_sessions,
        max_subscriptions: config.max_subscriptions,
        max_held_per_ip: config.max_held_per_ip,
        max_sessions_per_browser: config.max_sessions_per_browser,
        extensions: extensions(config),
        connection_types: types,
        workers: config.workers.div_ceil(2),
    }
}

/// How long files may be cached: what the settings say, and where there are none but the demo's
/// files, its times.
fn expires(config: &Config) -> Vec<http::Expiry> {
    let alone = config.serves_demo() && config.document_root.is_none();
    let demo = demo::EXPIRES.iter().filter(|_| alone);
    let demo = demo.filter(|(media_type, _)| !config.expires.contains_key(*media_type));
    let set = config.expires.iter();
    let set = set.map(|(media_type, age)| http::Expiry::new(media_type, *age));
    set.chain(demo.map(|(media_type, age)| http::Expiry::new(media_type, *age)))
        .collect()
}

fn extensions(config: &Config) -> Extensions {
    Extensions {
        // A page of the demo shows the server's time.
        timesync: config.timesync || config.serves_demo(),
    }
}

fn site_config(config: &Config) -> SiteConfig {
    SiteConfig {
        mount: config.path.clone(),
        allowed_origins: config.allowed_origin.clone(),
        callback_polling: match config.callback_polling {
            CallbackPolling::Guarded => http::CallbackPolling::Guarded,
            CallbackPolling::Open => http::CallbackPolling::Open,
            CallbackPolling::Off => http::CallbackPolling::Off,
        },
        max_body: config.max_body,
        max_messages: config.max_messages,
        max_depth: config.max_depth,
        document_root: config.document_root.clone(),
        embedded: if config.serves_demo() {
            pages::pages(&config.path)
        } else {
            &[]
        },
        directory_index: config.directory_index.clone(),
        expires: expires(config),
        ..SiteConfig::default()
    }
}
