//! The connector that the settings name, behind one face.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use super::error::StartError;
use super::tls::Tls;
use crate::clock::Clock;
use crate::config::{self, Config, ListenAddress};
#[cfg(feature = "native")]
use crate::connectors::native::{self, NativeConfig};
#[cfg(feature = "tiny-http")]
use crate::connectors::tiny_http::TinyHttp;
use crate::http::Site;
#[cfg(feature = "native")]
use crate::tcp::preconnect::ProxyProtocol;
#[cfg(feature = "native")]
use crate::tcp::{Address, ListenOptions, Listener};

/// A running connector.
pub(super) enum Connector {
    #[cfg(feature = "native")]
    Native(native::Running),
    #[cfg(feature = "tiny-http")]
    TinyHttp(TinyHttp),
}

/// What a connector has done so far, and holds at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ConnectorStats {
    pub(super) connections: u64,
    pub(super) accepted: u64,
    pub(super) requests: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// Which connector is to serve a site, and how.
pub(super) enum Settings {
    #[cfg(feature = "native")]
    Native(NativeConfig),
    #[cfg(feature = "tiny-http")]
    TinyHttp {
        workers: usize,
        write_timeout: Duration,
    },
}

/// As by default where there is a setting for it.
#[cfg(not(feature = "native"))]
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

impl Settings {
    /// For the public site.
    pub(super) fn public(config: &Config, tls: &Tls) -> Self {
        match config.connector {
            #[cfg(feature = "native")]
            config::Connector::Native => Self::Native(native_config(config, tls)),
            #[cfg(feature = "tiny-http")]
            config::Connector::TinyHttp => Self::TinyHttp {
                workers: config.workers,
                #[cfg(feature = "native")]
                write_timeout: config.native.write_timeout,
                #[cfg(not(feature = "native"))]
                write_timeout: WRITE_TIMEOUT,
            },
        }
    }

    /// For the internal site: one thread, which nothing of the public site keeps busy.
    #[cfg(feature = "ops")]
    pub(super) fn internal() -> Self {
        #[cfg(feature = "native")]
        return Self::Native(NativeConfig {
            name: "bayeux-internal",
            io_threads: 1,
            max_connections: 256,
            ..NativeConfig::default()
        });
        #[cfg(not(feature = "native"))]
        return Self::TinyHttp {
            workers: 4,
            write_timeout: WRITE_TIMEOUT,
        };
    }
}

impl Connector {
    /// Serves a site at these addresses.
    pub(super) fn start(
        settings: Settings,
        addresses: &[ListenAddress],
        site: &Arc<Site>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let bound = addresses.iter().map(bind);
        let bound = bound.collect::<Result<Vec<_>, _>>()?;
        let started = match settings {
            #[cfg(feature = "native")]
            Settings::Native(native) => {
                let options = ListenOptions::default();
                let listeners = bound
                    .into_iter()
                    .map(|one| Listener::from_std(one, &options));
                let listeners = listeners.collect::<Result<Vec<_>, _>>();
                listeners
                    .and_then(|listeners| {
                        let (site, clock) = (Arc::clone(site), Arc::clone(clock));
                        native::start(native, listeners, site, clock)
                    })
                    .map(Self::Native)
            }
            #[cfg(feature = "tiny-http")]
            Settings::TinyHttp {
                workers,
                write_timeout,
            } => TinyHttp::start(workers, write_timeout, bound, site, clock).map(Self::TinyHttp),
        };
        started.map_err(StartError::System)
    }

    pub(super) fn local_addrs(&self) -> Vec<SocketAddr> {
        match self {
            #[cfg(feature = "native")]
            Self::Native(native) => native
                .local_addrs()
                .iter()
                .filter_map(Address::inet)
                .collect(),
            #[cfg(feature = "tiny-http")]
            Self::TinyHttp(tiny) => tiny.local_addrs(),
        }
    }

    pub(super) fn stop_accepting(&mut self) {
        match self {
            #[cfg(feature = "native")]
            Self::Native(native) => native.stop_accepting(),
            #[cfg(feature = "tiny-http")]
            Self::TinyHttp(tiny) => tiny.stop_accepting(),
        }
    }

    pub(super) fn stop(self, grace: Duration) {
        match self {
            #[cfg(feature = "native")]
            Self::Native(native) => {
                let stopped = native.stop(grace);
                if stopped.stuck > 0 {
                    log::warn!("{} I/O threads did not end in time", stopped.stuck);
                }
            }
            #[cfg(feature = "tiny-http")]
            Self::TinyHttp(tiny) => tiny.stop(grace),
        }
    }

    pub(super) fn stats(&self) -> ConnectorStats {
        match self {
            #[cfg(feature = "native")]
            Self::Native(native) => {
                let stats = native.stats();
                ConnectorStats {
                    connections: stats.connections.open as u64,
                    accepted: stats.connections.accepted,
                    requests: stats.requests,
                    bytes_in: stats.connections.bytes_in,
                    bytes_out: stats.connections.bytes_out,
                }
            }
            #[cfg(feature = "tiny-http")]
            Self::TinyHttp(tiny) => ConnectorStats {
                requests: tiny.requests(),
                ..ConnectorStats::default()
            },
        }
    }
}

fn bind(address: &ListenAddress) -> Result<TcpListener, StartError> {
    let bound = address.resolve().and_then(|resolved| listen(&resolved));
    bound.map_err(|source| StartError::Listen {
        address: address.to_string(),
        source,
    })
}

/// Like the standard library's, with a backlog for bursts.
fn listen(address: &SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&(*address).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(feature = "native")]
#[cfg_attr(not(feature = "tls"), allow(unused_variables))]
fn native_config(config: &Config, tls: &Tls) -> NativeConfig {
    let mut native = config.native.clone();
    native.max_message.get_or_insert(config.site.max_body);
    if config.proxy_protocol {
        let proxies = config.trusted_proxy.iter().copied();
        native
            .pre_connect
            .push(Arc::new(ProxyProtocol::new(proxies)));
    }
    #[cfg(feature = "tls")]
    {
        native.tls = tls.acceptor();
    }
    native
}

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 4096;
