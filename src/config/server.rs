//! The settings of the server itself, and the parts that other modules own.

use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::address::{ADDRESS, ListenAddress, SUBNET};
use crate::broker::BrokerConfig;
#[cfg(feature = "native")]
use crate::connectors::native::NativeConfig;
use crate::http::SiteConfig;
#[cfg(feature = "link")]
use crate::link;
#[cfg(feature = "link")]
use crate::settings::Text;
use crate::settings::{
    Auto, Count, FILE, List, Named, Off, Size, Switch, Time, Word, nothing, settings,
};
use crate::transport::Transport;
use crate::util::{Network, machine};

settings! {
    /// Every setting of a server, as plain data.
    ///
    /// Each has a default, which [`Config::default`] gives; the limits are checked by
    /// [`Config::check`]. The names are those of the flags, with `_` for `-`; those of a module
    /// are in that module's part.
    #[derive(Clone, Debug)]
    pub struct Config {
        /// Sessions, queues, and what the protocol allows.
        pub broker: BrokerConfig = BrokerConfig::default();
        /// The endpoint, its cookies, and files.
        pub site: SiteConfig = SiteConfig::default();
        /// Connections, and what they may use.
        #[cfg(feature = "native")]
        pub native: NativeConfig = NativeConfig::default();
    }
    "Listening" {
        /// Address to serve; port 0 takes a free one.
        ///
        /// A host name stands for its first IPv4 address, or where it has none, its first IPv6
        /// address. The default is reachable from this machine only.
        listen: Vec<ListenAddress> = List { each: ADDRESS, may_be_empty: false },
            default "127.0.0.1:8080";

        /// Which connector serves the addresses.
        ///
        /// `native` holds any number of connections with a fixed number of threads. `tiny-http`
        /// is small and portable, but its library has no time limits of its own and can be brought
        /// down by one request: for trusted networks only.
        connector: Connector = Word::<Connector>::KIND,
            default "native" from best;

        /// Address or network of a proxy that says for whom it asks, such as `10.0.0.0/8`.
        ///
        /// Of its requests `X-Forwarded-For`, `-Host` and `-Proto`, or else `Forwarded`, are
        /// believed, read from the right past further trusted proxies. From nobody else.
        trusted_proxy: Vec<Network> = List { each: SUBNET, may_be_empty: true },
            default "none" from nothing;

        /// Expects the header of the PROXY protocol from trusted proxies, version 1 or 2.
        ///
        /// The client is then whom the header names: for proxies that pass on what comes as it is,
        /// encrypted or not. Of everybody else no such header is understood.
        #[cfg(feature = "native")]
        proxy_protocol: bool = Switch, default "false", native_only;

        /// Allows the connector `tiny-http` on addresses that other machines can reach.
        ///
        /// Without it such a start is refused, because a single hostile request can end the
        /// process.
        #[cfg(feature = "tiny-http")]
        connector_exposed: bool = Switch, default "false";

        /// File with the certificate for TLS (PEM), the chain up to the root behind it.
        ///
        /// With it all addresses are served by TLS. Read again at the signal SIGHUP, together with
        /// the key, for the connections from then on.
        #[cfg(feature = "tls")]
        tls_cert: Option<PathBuf> = Off(FILE), default "off", native_only;

        /// File with the private key of the certificate (PEM), not encrypted.
        #[cfg(feature = "tls")]
        tls_key: Option<PathBuf> = Off(FILE), default "off", native_only;

        /// How long a stop may take, from the first signal to the end of the process.
        ///
        /// Half of it is for answering the held connects, spread so that the clients do not all
        /// come back to the next server at once; the rest for what is still being written.
        shutdown_timeout: Duration = Time, within "0s to 1h", default "5s";
    }

    "Bayeux" {
        /// Transport that clients are offered.
        ///
        /// One that is not in the list is refused. `websocket` and `eventsource` need the connector
        /// `native`; the clients of `eventsource` post what they have to say, but none of their
        /// connects is held.
        transport: Vec<Transport> = List { each: Word::<Transport>::KIND, may_be_empty: false },
            default "websocket,eventsource,long-polling,callback-polling";
    }

    "Threads" {
        /// Threads that run policy and listeners, and as many for services and content handlers.
        ///
        /// The former run the delivery filter too, the latter also response hook, observers and
        /// local clients, and read files. Such code may block. Addresses take turns; each has half
        /// of either threads at the most, and so has each handler, all files together, and all
        /// local clients together; a service has one. Of a single thread there is no half: then
        /// whoever blocks it holds up all. With the connector `tiny-http` as many more answer
        /// requests, for each address.
        workers: usize = Count, within "1 to 1024",
            default "two for each core" from machine::workers;
    }

    "Files" {
        /// Serves the demo pages and their services.
        ///
        /// `auto`: unless there is a document root. With both, a file of the document root wins.
        #[cfg(feature = "demo")]
        demo: Option<bool> = Auto(Switch), default "auto";
    }

    "Linked processes" {
        /// Address at which other processes link with the server.
        ///
        /// They can subscribe, publish, push to one client, handle services and decide what
        /// clients may do. Needs a key, certificates, or both. Nothing is encrypted without
        /// certificates: then use it on networks that can be trusted.
        #[cfg(feature = "link")]
        link: Option<ListenAddress> = Off(ADDRESS), default "off";

        /// What the server is called among linked processes.
        ///
        /// With certificates it has to be a DNS name of the server's.
        #[cfg(feature = "link")]
        link_name: String = NODE, default "bayeux";

        /// File with the key that linked processes share with the server.
        ///
        /// At least 16 bytes, white space around them not counted; best are 32 random bytes.
        #[cfg(feature = "link")]
        link_key_file: Option<PathBuf> = Off(FILE), default "off";

        /// File with the certificate for links by TLS (PEM), the chain up to the root behind it.
        ///
        /// With it links are by TLS 1.3, and both ends show certificates. The key of
        /// `link_key_file` is asked for besides, if there is one. Only with the feature `tls`.
        /// Read again at the signal SIGHUP, together with the next two, for the links from then on.
        #[cfg(feature = "link")]
        link_tls_cert: Option<PathBuf> = Off(FILE), default "off";

        /// File with the private key of that certificate (PEM), not encrypted.
        #[cfg(feature = "link")]
        link_tls_key: Option<PathBuf> = Off(FILE), default "off";

        /// File with those who sign the certificates of linked processes (PEM).
        ///
        /// A linked process is let in if its certificate is signed by one of them, and is for the
        /// name that the process gives itself.
        #[cfg(feature = "link")]
        link_tls_client_ca: Option<PathBuf> = Off(FILE), default "off";

        /// Alias of the linked process that decides what clients may do.
        ///
        /// It is asked about every message. While it is away, everything is denied. `NODE/ALIAS`
        /// asks the process of that name only, which its certificate proves if there are some; of
        /// an alias alone, whoever exports it first.
        #[cfg(feature = "link")]
        link_authoriser: Option<String> = Off(ALIAS), default "off";
    }

    "Operations" {
        /// Address of the internal site: `/healthz`, `/readyz`, `/metrics`; of this machine only.
        ///
        /// On an address of its own, so that nobody outside sees it.
        #[cfg(feature = "ops")]
        ops_listen: Option<ListenAddress> = Off(ADDRESS), default "off";

        /// File to which a line of JSON is appended for each request; `-` is standard output.
        ///
        /// Written by a thread of its own; when it does not keep up, lines are dropped and counted.
        /// Opened again at the signal SIGHUP, for whoever has given it another name.
        access_log: Option<PathBuf> = Off(FILE), default "off";

        /// The least important messages that are logged.
        ///
        /// `debug` tells of requests, sessions, subscriptions and what is refused, `trace` of each
        /// message too. Neither shows what could be a credential; client ids are cut to four
        /// characters.
        log_level: LevelFilter = Word::<LevelFilter>::KIND, default "info";

        /// File to which the log is appended; `off` is standard error.
        ///
        /// Written and opened again as the access log is. Of messages that are no less important
        /// than `info` a place of the program says 50 a second at the most, and then how many it
        /// has held back.
        log_file: Option<PathBuf> = Off(FILE), default "off";

        /// Most bytes of lines that wait to be written, for the log and the access log each.
        ///
        /// Further lines are dropped and counted, and the log says how many. As many bytes again
        /// are being written at the most.
        log_queue: usize = Size, within "4KiB to 1GiB", default "1MiB";
    }
}

/// Which connector serves the public addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connector {
    #[cfg(feature = "native")]
    /// A fixed number of threads with a poller each: any number of connections.
    Native,
    #[cfg(feature = "tiny-http")]
    /// The small, portable one on the `tiny_http` crate; for trusted networks only.
    TinyHttp,
}

impl Connector {
    /// Whether WebSocket and EventSource, TLS, and limits of connections are possible.
    pub(super) fn is_native(self) -> bool {
        match self {
            #[cfg(feature = "native")]
            Self::Native => true,
            #[cfg(feature = "tiny-http")]
            Self::TinyHttp => false,
        }
    }
}

impl Named for Connector {
    const WORDS: &'static [(&'static str, Self)] = &[
        #[cfg(feature = "native")]
        ("native", Self::Native),
        #[cfg(feature = "tiny-http")]
        ("tiny-http", Self::TinyHttp),
    ];
}

/// The better one of those that are built.
fn best() -> String {
    Connector::WORDS[0].0.to_owned()
}

/// The best first.
impl Named for Transport {
    const WORDS: &'static [(&'static str, Self)] = &[
        (Self::WebSocket.name(), Self::WebSocket),
        (Self::EventSource.name(), Self::EventSource),
        (Self::LongPolling.name(), Self::LongPolling),
        (Self::CallbackPolling.name(), Self::CallbackPolling),
    ];
}

#[cfg(feature = "link")]
const ALIAS: Text<String> = Text {
    placeholder: "ALIAS",
    read: alias,
};
#[cfg(feature = "link")]
const NODE: Text<String> = Text {
    placeholder: "NAME",
    read: node_name,
};

/// An alias of a linked process, or `NODE/ALIAS`.
#[cfg(feature = "link")]
fn alias(text: &str) -> Result<String, String> {
    match link::split_address(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "`{text}` is no alias: up to 128 bytes, no spaces, no `_` first; or NODE/ALIAS"
        )),
    }
}

/// The name of a node among linked processes.
#[cfg(feature = "link")]
fn node_name(text: &str) -> Result<String, String> {
    match link::check_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "`{text}` is no name of a node: up to 128 bytes, no spaces or slashes, no `_` first"
        )),
    }
}

#[cfg(test)]
mod tests;
