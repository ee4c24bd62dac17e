//! A whole server: broker, sites, their connectors and the demo, wired together.
//!
//! In scope: starting the parts in order, stopping them in reverse, one snapshot of all numbers.
//! Out of scope: what each part does; signals and arguments (`cli`).

mod builder;
mod client_script;
mod connector;
mod error;
#[cfg(feature = "ops")]
mod internal;
#[cfg(feature = "link")]
mod link_tls;
#[cfg(feature = "link")]
mod linked;
#[cfg(feature = "demo")]
mod pages;
mod stats;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use self::builder::ServerBuilder;
use self::connector::Connector;
pub use self::error::StartError;
#[cfg(feature = "link")]
use self::link_tls::LinkTls;
#[cfg(feature = "link")]
use self::linked::Linked;
pub use self::stats::ServerStats;
use self::tls::Tls;
use crate::broker::{Broker, LocalClient};
use crate::clock::Clock;
#[cfg(feature = "ops")]
use crate::counters::Family;
#[cfg(feature = "demo")]
use crate::demo::Demo;
use crate::http::Site;
#[cfg(feature = "link")]
use crate::link::Node;
use crate::log_writer::LogWriter;

/// A running server. Dropping it stops it at once; [`shutdown`](Self::shutdown) lets it finish.
pub struct Server {
    parts: Arc<Parts>,
    #[cfg(feature = "ops")]
    internal: Option<Connector>,
    #[cfg(feature = "link")]
    linked: Option<Linked>,
    #[cfg(feature = "demo")]
    _demo: Option<Demo>,
    addresses: Vec<SocketAddr>,
    path: String,
    tls: Tls,
    #[cfg(feature = "link")]
    #[cfg_attr(not(feature = "tls"), allow(dead_code))]
    link_tls: LinkTls,
}

/// What the handlers of the internal site look at too.
struct Parts {
    broker: Broker,
    site: Arc<Site>,
    clock: Arc<dyn Clock>,
    connector: parking_lot::Mutex<Option<Connector>>,
    started: Instant,
    draining: AtomicBool,
    /// The program's log, if it is ours.
    log: Option<LogWriter>,
}

impl Server {
    /// Begins to describe a server; everything has a default.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// The addresses that are served, with the ports that were given for port 0.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The URL of the endpoint on the first address.
    pub fn url(&self) -> String {
        let address = self.addresses.first();
        address.map_or_else(String::new, |address| {
            format!("{}://{address}{}", self.scheme(), self.path)
        })
    }

    /// `https` if the addresses are served by TLS, else `http`.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_on() { "https" } else { "http" }
    }

    /// Reads the files of the settings `tls_cert` and `tls_key`, and those of the settings
    /// `link_tls_cert`, `link_tls_key` and `link_tls_client_ca` again, for the connections and
    /// links from now on; those that there are stay as they are. Does nothing without these
    /// settings. Blocks while it reads.
    ///
    /// # Errors
    /// If a file cannot be read or they do not fit together; then all goes on as before.
    #[cfg(feature = "tls")]
    pub fn reload_tls(&self) -> Result<(), crate::tcp::tls::TlsError> {
        #[cfg(feature = "link")]
        let links = self.link_tls.read()?;
        self.tls.reload()?;
        #[cfg(feature = "link")]
        self.link_tls.replace(links);
        Ok(())
    }

    /// Opens the file of the setting `access_log` again, for the lines from now on: it has another
    /// name by now. Waits for nothing; the log tells of it.
    pub fn reopen_access_log(&self) {
        if let Some(log) = self.parts.site.access_log() {
            log.reopen();
        }
    }

    /// The address of the internal site, with health and metrics, if there is one.
    #[cfg(feature = "ops")]
    pub fn internal_addr(&self) -> Option<SocketAddr> {
        self.internal.as_ref()?.local_addrs().first().copied()
    }

    /// The address at which other processes link, if they may.
    #[cfg(feature = "link")]
    pub fn link_addr(&self) -> Option<SocketAddr> {
        self.linked.as_ref().map(Linked::address)
    }

    /// The server as a node among linked processes, if they may link: to export more, and to post
    /// to them.
    #[cfg(feature = "link")]
    pub fn link_node(&self) -> Option<&Node> {
        self.linked.as_ref().map(Linked::node)
    }

    /// The broker: services, listeners, observers, publishing.
    pub fn broker(&self) -> &Broker {
        &self.parts.broker
    }

    /// Opens a client in this process.
    pub fn local_client(&self) -> LocalClient {
        self.parts.broker.local_client()
    }

    /// What there is and what has happened so far. Looks at every session.
    pub fn stats(&self) -> ServerStats {
        self.parts.stats()
    }

    /// Stops in good order: no new connections, every held connect answered within half of the
    /// time, what is being written finished within the rest; then every session that is left ends,
    /// observers and local clients are told, and refuse whatever is asked of them. Blocks for so
    /// long at the most; at once if nothing is held and observers keep up.
    pub fn shutdown(mut self, deadline: Duration) {
        self.end(deadline);
    }

    fn end(&mut self, deadline: Duration) {
        if self.parts.draining.swap(true, Ordering::Relaxed) {
            return;
        }
        let begun = self.parts.clock.now();
        if let Some(connector) = self.parts.connector.lock().as_mut() {
            connector.stop_accepting();
        }
        self.parts.broker.drain(deadline / 2);
        let left = deadline.saturating_sub(self.parts.clock.now() - begun);
        let connector = self.parts.connector.lock().take();
        if let Some(connector) = connector {
            connector.stop(left);
        }
        #[cfg(feature = "link")]
        if let Some(linked) = self.linked.take() {
            let left = deadline.saturating_sub(self.parts.clock.now() - begun);
            linked.stop(left.min(LINK_GRACE));
        }
        let left = deadline.saturating_sub(self.parts.clock.now() - begun);
        self.parts.broker.stop(left);
        #[cfg(feature = "ops")]
        if let Some(internal) = self.internal.take() {
            let left = deadline.saturating_sub(self.parts.clock.now() - begun);
            internal.stop(left.min(INTERNAL_GRACE));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

#[cfg(feature = "ops")]
impl crate::ops::Source for Parts {
    fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    fn families(&self) -> Vec<Family> {
        self.stats().published(self.clock.now() - self.started)
    }
}

/// What was accepted from linked processes is handled by now, or never will be.
#[cfg(feature = "link")]
const LINK_GRACE: Duration = Duration::from_millis(500);
/// The internal site has nobody to wait for.
#[cfg(feature = "ops")]
const INTERNAL_GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::{Ipv4Addr, TcpStream};
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::broker::{LocalError, Verdict};

    fn start(builder: ServerBuilder) -> Server {
        builder
            .listen([(Ipv4Addr::LOCALHOST, 0).into()])
            .start()
            .unwrap()
    }

    #[test]
    fn the_url_names_the_first_address() {
        let server = start(Server::builder());
        let address = server.local_addrs()[0];
        assert_eq!(server.url(), format!("http://{address}/cometd"));
    }

    #[test]
    fn a_server_has_what_its_builder_was_given() {
        struct Lines(Sender<String>);
        impl Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let text = String::from_utf8_lossy(bytes).into_owned();
                self.0.send(text).map_err(io::Error::other)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (lines, written) = channel();
        let (setup, called) = channel();
        let mut config = crate::config::Config::default();
        config.broker.anonymous_publish = true;
        let builder = Server::builder()
            .config(config)
            .setup(move |_| setup.send(()).unwrap())
            .listener("/a", |_| Verdict::Veto)
            .access_log(Lines(lines));
        let server = start(builder);
        assert_eq!(called.try_recv(), Ok(()));
        let messages = r#"[{"channel":"/a","data":1}]"#;
        let mut stream = TcpStream::connect(server.local_addrs()[0]).unwrap();
        write!(
            stream,
            "POST /cometd HTTP/1.0\r\nContent-Length: {}\r\n\r\n{messages}",
            messages.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("404::message_deleted"), "{answer}");
        let patience = Duration::from_secs(10);
        let line = written.recv_timeout(patience).unwrap();
        assert!(line.contains("\"path\":\"/cometd\""), "{line}");
    }

    #[test]
    fn a_dropped_server_has_stopped() {
        let server = start(Server::builder());
        let client = server.local_client();
        assert_eq!(client.publish("/a", &1), Ok(0));
        drop(server);
        assert_eq!(client.publish("/a", &1), Err(LocalError::Stopped));
    }

    #[test]
    #[cfg(feature = "cli")]
    fn connections_are_in_use() {
        let server = start(Server::builder());
        assert_eq!(server.in_use(), 0);
        let connect = |_| TcpStream::connect(server.local_addrs()[0]).unwrap();
        let _streams: Vec<TcpStream> = (0..3).map(connect).collect();
        let counted = (0..1000).any(|_| {
            std::thread::park_timeout(Duration::from_millis(10));
            server.in_use() == 3
        });
        assert!(counted);
    }
}
