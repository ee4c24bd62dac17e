//! How a client is described.

use std::fmt::Display;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use ureq::http::{HeaderName, HeaderValue};

use super::api::Client;
use super::driver::{Credentials, Driver};
use super::error::Error;
use super::event::Event;
use super::http::Http;
use super::message::Message;
use super::network::Transports;
use super::options::Options;
use super::peer::{Endpoint, Peer};
use super::subscriptions::{Callback, Listener, Sink};
use super::transport::Transport;
use super::websocket::{self, Owner, WebSocket};
use super::wire::{self, Ext};
use crate::clock::{Clock, FOREVER, SystemClock};
use crate::protocol::Pattern;

/// A client to be. What is wrong with it is told when it is started. Times above 100 years count as
/// that: [`Duration::MAX`] means for ever.
#[must_use]
pub struct ClientBuilder {
    url: String,
    transport: Option<Transport>,
    options: Options,
    ext: Ext,
    provider: Credentials,
    acknowledged: bool,
    listeners: Vec<Listener>,
    callbacks: Vec<(Pattern, Sink)>,
    problem: Option<Error>,
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            transport: None,
            options: Options::default(),
            ext: Ext::new(),
            provider: Box::new(|| Ok(Ext::new())),
            acknowledged: false,
            listeners: Vec::new(),
            callbacks: Vec::new(),
            problem: None,
        }
    }

    /// How to talk to the server. By default the URL says it: `ws` and `wss` mean
    /// [`Transport::WebSocket`], `http` and `https` [`Transport::Auto`].
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// A file with the root certificates, in PEM, of which the server's has to come. By default
    /// those that Mozilla trusts. Read here; what is wrong with it is told when the client starts.
    #[cfg(feature = "client-tls")]
    pub fn root_certificates(mut self, file: &std::path::Path) -> Self {
        match crate::tcp::tls::certificates(file) {
            Ok(roots) => self.options.roots = Some(roots),
            Err(error) => self.complain(Error::Config(error.to_string())),
        }
        self
    }

    /// Members for the `ext` of every handshake.
    pub fn ext<T: Serialize + ?Sized>(mut self, ext: &T) -> Self {
        match wire::to_ext(ext) {
            Ok(ext) => self.ext.extend(ext),
            Err(error) => self.complain(error),
        }
        self
    }

    /// A function that is asked before every handshake, also later ones, for further members of
    /// its `ext`. While it fails the client stays unconnected, and tries again after the back-off.
    pub fn credentials<T, E, F>(mut self, provider: F) -> Self
    where
        T: Serialize,
        E: Display,
        F: Fn() -> Result<T, E> + Send + Sync + 'static,
    {
        self.provider = Box::new(move || {
            let ext = provider().map_err(|error| Error::Credentials(error.to_string()))?;
            wire::to_ext(&ext)
        });
        self
    }

    /// A header for every HTTP request, the one that becomes a WebSocket included; such as
    /// `Authorization`.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                self.options.headers.push((name, value));
            }
            _ => self.complain(Error::Config(format!("not a header: {name}"))),
        }
        self
    }

    /// Calls a function for each event, from the first on.
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listeners.push(Listener(Arc::new(listener)));
        self
    }

    /// A subscription with a function, as by [`Handle::listen`](super::Handle::listen), but from
    /// the first batch on and for the whole life of the client.
    pub fn listen(
        mut self,
        pattern: &str,
        callback: impl Fn(&Message) + Send + Sync + 'static,
    ) -> Self {
        match Pattern::try_from(pattern) {
            Ok(pattern) => {
                let sink = Sink::Callback(Callback::new(callback));
                self.callbacks.push((pattern, sink));
            }
            Err(_) => self.complain(Error::Channel(pattern.into())),
        }
        self
    }

    /// Offers the ack extension: nothing that the server sent is lost with a broken connection,
    /// but some of it may come twice. Off by default.
    pub fn acknowledged(mut self, on: bool) -> Self {
        self.acknowledged = on;
        self
    }

    /// The pause after the first failure, which doubles with each further one, and the longest.
    /// Each is shortened at random by up to half. 1 s and 60 s by default.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.options.backoff_first = FOREVER.min(first);
        self.options.backoff_longest = FOREVER.min(longest);
        self
    }

    /// How long connecting, the upgrade to WebSocket, sending a request, waiting for its answer
    /// (beyond what the server may hold a connect) and receiving it may take, each. 10 s by
    /// default.
    pub fn network_timeout(mut self, timeout: Duration) -> Self {
        self.options.network_timeout = FOREVER.min(timeout);
        self
    }

    /// How long calls wait for an acknowledgement, time in the queue included. 30 s by default.
    pub fn reply_timeout(mut self, timeout: Duration) -> Self {
        self.options.reply_timeout = FOREVER.min(timeout);
        self
    }

    /// How long [`Self::connect`] waits. 30 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = FOREVER.min(timeout);
        self
    }

    /// How long dropping the client may take for the disconnect, and again for threads that do not
    /// end. 2 s by default.
    pub fn linger(mut self, timeout: Duration) -> Self {
        self.options.linger = FOREVER.min(timeout);
        self
    }

    /// The longest response, or message of a WebSocket, that is read, in bytes. 16 MiB by
    /// default.
    pub fn max_response(mut self, bytes: u64) -> Self {
        self.options.max_response = bytes;
        self
    }

    /// How much may wait to be sent: messages, and bytes of them. 10,000 and 16 MiB by default.
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        (self.options.queue_messages, self.options.queue_bytes) = (messages, bytes);
        self
    }

    /// How much goes into one request: messages, and bytes of them; a larger message goes alone.
    /// 256 and 256 KiB by default.
    pub fn batch(mut self, messages: usize, bytes: usize) -> Self {
        (self.options.batch_messages, self.options.batch_bytes) = (messages, bytes);
        self
    }

    /// How much may wait for callbacks: messages, and bytes of them; what does not fit is dropped
    /// and counted. 10,000 and 64 MiB by default.
    pub fn callback_queue(mut self, messages: usize, bytes: usize) -> Self {
        (self.options.callback_messages, self.options.callback_bytes) = (messages, bytes);
        self
    }

    /// Starts the client, and waits until it is connected. Meanwhile it tries again and again.
    ///
    /// # Errors
    /// What is wrong with the description; [`Error::NotConnected`] after the connect timeout; the
    /// server's reason when it does not want the client at all.
    pub fn connect(self) -> Result<Client, Error> {
        let timeout = self.options.connect_timeout;
        let client = self.start()?;
        client.wait_connected(timeout)?;
        Ok(client)
    }

    /// Starts the client, and returns at once. What is published and subscribed to before it is
    /// connected waits.
    ///
    /// # Errors
    /// What is wrong with the description; [`Error::Thread`].
    pub fn start(mut self) -> Result<Client, Error> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        if self.acknowledged {
            self.ext.insert("ack".into(), wire::to_json(&true)?);
        }
        let (endpoint, transport) = Endpoint::new(&self.url, self.transport)?;
        let options = Arc::new(self.options);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let peer = Arc::new(Peer::new(
            endpoint,
            Arc::clone(&options),
            Arc::clone(&clock),
        ));
        let config = websocket::config(&peer)?;
        // Without a random generator clients come back together, which is no reason not to start.
        let seed = getrandom::u64().unwrap_or_default();
        let (ext, provider) = (self.ext, self.provider);
        let credentials: Credentials = Box::new(move || {
            let mut all = ext.clone();
            all.extend(provider()?);
            Ok(all)
        });
        let driver = Driver::new(options, transport, credentials, clock, seed, |driver| {
            let owner: Weak<dyn Owner> = Weak::<Driver>::clone(driver);
            Box::new(Transports {
                http: Http::new(Arc::clone(&peer)),
                websocket: WebSocket::new(peer, config, owner),
            })
        });
        driver.update(|model, _| {
            for listener in self.listeners {
                model.listen(listener);
            }
            for (pattern, sink) in self.callbacks {
                model.subscriptions.add(&pattern, None, sink, None);
            }
        });
        Client::start(driver)
    }

    fn complain(&mut self, error: Error) {
        self.problem.get_or_insert(error);
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("url", &self.url)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
