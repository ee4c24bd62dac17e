//! A site: what a connector serves on its listeners, behind one door.
//!
//! The public site has the Bayeux endpoint, static files, and the embedder's content handlers. An
//! internal site has handlers of this program only, such as health and metrics: it differs in
//! nothing but what `route` finds, and that its handlers run where the request was read.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::access_log::{AccessLog, LogEntry};
use super::config::{SiteConfig, SiteError};
use super::content::{ContentRequest, Mount, Mounts, answer_here};
use super::cookie::{CookieKey, Cookies};
use super::cors::OriginKind;
use super::endpoint::{Denied, Endpoint};
use super::files::StaticFiles;
use super::form;
use super::format::Format;
use super::host::Hosts;
use super::lookup::Lookup;
use super::pending::{Finished, Hook, Hooked, HookedRequest, PendingResponse};
use super::proxies::{Caller, TrustedProxies};
use super::refusal::{Refusal, RefusalCounts, Refused, reason_of};
use super::request::{Request, RequestHead};
use super::response::Response;
use super::route::{Public, Route, To};
use super::streaming::{Events, Offers, Upgrade};
use crate::broker::{Broker, Call, Executed, Inbox, Threads, Traffic};
use crate::clock::Clock;
use crate::protocol::{self, BatchError, BatchLimits};
use crate::refusals::Reason;
use crate::settings::Conflict;
use crate::transport::{ConnectionHandle, Peer, Transport};

/// Everything that is served on some listeners; shared by all threads, and never changed.
pub struct Site {
    broker: Broker,
    pub(super) clock: Arc<dyn Clock>,
    statuses: RefusalCounts,
    /// What only the public site has; without it the site is an internal one.
    public: Option<Public>,
    pub(super) mounts: Mounts,
    limits: BatchLimits,
    proxies: Option<TrustedProxies>,
    pub(super) hosts: Hosts,
    hook: Option<Hook>,
    pub(super) hook_inbox: Arc<Inbox>,
    /// Files to be opened or read: the file system may take its time.
    pub(super) file_inbox: Arc<Inbox>,
    access: Option<Arc<AccessLog>>,
    pub(crate) traffic: Arc<Traffic>,
}

/// What became of a request.
pub enum Handled {
    /// To be sent.
    Done(Response),
    /// The broker has it; its answer, now or later, is sent in this form.
    Bayeux(Format, Executed),
    /// User code makes the response, or changes it; it comes later.
    Pending(PendingResponse),
    /// The response is a file, which has to be looked for where that may take long.
    File(Box<Lookup>),
    /// The connection may become a WebSocket, if the rest of its handshake is right. Each message
    /// on it is then given to [`Site::frame`], with its peer.
    Socket(Box<Upgrade>),
    /// The connection has become a stream of events.
    Events(Box<Events>),
}

impl Handled {
    /// For connectors that may block, and carry neither sockets nor streams of events: a response
    /// that is there, or one that is being made, to be asked for whenever the connection is woken.
    pub fn plain(
        self,
        site: &Site,
        request: &Request<'_>,
        connection: &ConnectionHandle,
    ) -> Result<Finished, PendingResponse> {
        match self {
            Self::Done(response) => Ok(response.into()),
            Self::Bayeux(format, Executed::Now(answer)) => Ok(format.finish(answer, site)),
            Self::Bayeux(format, Executed::Later(exchange)) => Err(PendingResponse::exchange(
                connection, exchange, format, None,
            )),
            Self::Pending(pending) => Err(pending),
            Self::File(lookup) => Ok(lookup.here(site).into()),
            Self::Socket(_) | Self::Events(_) => {
                let refused = Refused {
                    reason: Reason::Transport,
                    status: 501,
                    line: "neither sockets nor streams of events here",
                };
                let response = site.refuse(refused, Some(&request.head), request.caller);
                Ok(response.into())
            }
        }
    }
}

impl Site {
    /// Sets up the public site.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration.
    pub fn new(
        config: SiteConfig,
        broker: Broker,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SiteError> {
        config.check().map_err(SiteError::Setting)?;
        let offers = Offers::new(&broker.config().connection_types);
        let endpoint = Endpoint::new(&config, offers)?;
        if broker.config().require_browser_cookie && !endpoint.uses_cookies() {
            let message = "cannot be together with allowed_origin `*`, where cookies are not read";
            let conflict = Conflict::new("require_browser_cookie", message);
            return Err(SiteError::Setting(conflict));
        }
        let files = Arc::new(StaticFiles::new(&config)?);
        let hosts = Hosts::new(&config);
        let key = match config.cookie_key {
            Some(key) => key,
            None => CookieKey::random().map_err(SiteError::Random)?,
        };
        let cookies = Cookies::new(key, config.cookie);
        let site = Self::empty(broker, clock);
        Ok(Self {
            limits: BatchLimits {
                messages: config.max_messages,
                depth: config.max_depth,
            },
            proxies: config.trusted_proxies,
            hosts,
            public: Some(Public {
                endpoint,
                files,
                cookies,
            }),
            ..site
        })
    }

    /// Sets up an internal site: nothing but handlers, which run on the connector's own threads and
    /// so must not wait for anything. What is refused is counted with the broker's. Requests may
    /// name the hosts of `config`, of which nothing else counts.
    ///
    /// # Errors
    /// If one of their paths is none, or is there twice.
    pub fn internal(
        handlers: Vec<Mount>,
        config: &SiteConfig,
        broker: Broker,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SiteError> {
        Ok(Self {
            mounts: Mounts::new(handlers, |_| false)?,
            hosts: Hosts::new(config).closed(),
            traffic: Traffic::internal(),
            ..Self::empty(broker, clock)
        })
    }

    fn empty(broker: Broker, clock: Arc<dyn Clock>) -> Self {
        Self {
            traffic: Arc::clone(broker.traffic()),
            broker,
            clock,
            statuses: RefusalCounts::default(),
            public: None,
            mounts: Mounts::default(),
            limits: BatchLimits::default(),
            proxies: None,
            hosts: Hosts::default(),
            hook: None,
            hook_inbox: Inbox::new("the response hook", Threads::Half, INBOX),
            file_inbox: Inbox::new("the file system", Threads::Half, INBOX),
            access: None,
        }
    }

    /// Adds handlers for paths outside the endpoint.
    ///
    /// # Errors
    /// If one of their paths is none, is there twice, or is the endpoint's.
    pub fn with_content(mut self, list: Vec<Mount>) -> Result<Self, SiteError> {
        let endpoint = self.public().map(|public| &public.endpoint);
        let is_endpoint = |path: &str| match endpoint {
            Some(endpoint) if endpoint.is_root() => path == "/",
            Some(endpoint) => endpoint.covers(path),
            None => false,
        };
        self.mounts = Mounts::new(list, is_endpoint)?;
        Ok(self)
    }

    /// Has every response looked at, and perhaps changed, before it is sent; but for those that
    /// open a WebSocket or a stream of events, and refusals of what is no request. The hook runs on
    /// worker threads; with it no request of a connection is executed before the last one was
    /// answered.
    pub fn with_hook(
        mut self,
        hook: impl Fn(&HookedRequest, &mut Response) + Send + Sync + 'static,
    ) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Has every request logged.
    pub fn with_access_log(mut self, log: AccessLog) -> Self {
        self.access = Some(Arc::new(log));
        self
    }

    /// Where requests are logged, if they are.
    pub fn access_log(&self) -> Option<&AccessLog> {
        self.access.as_deref()
    }

    /// Who has sent a request: the peer, or whom it reports if it is a trusted proxy. `secure` is
    /// whether the connection is encrypted.
    pub fn caller(&self, head: &RequestHead<'_>, peer: IpAddr, secure: bool) -> Caller {
        match &self.proxies {
            Some(proxies) => proxies.caller(peer, secure, &head.headers),
            None => Caller::direct(peer, secure),
        }
    }

    /// A request that has come from a connection, for the logs; without a head one that could
    /// not be read. The connector says what became of it.
    pub fn log_entry(
        &self,
        head: Option<&RequestHead<'_>>,
        caller: &Caller,
    ) -> Option<Box<LogEntry>> {
        if self.access.is_none() && !log::log_enabled!(log::Level::Debug) {
            return None;
        }
        let log = self.access.clone();
        let entry = LogEntry::new(log, &self.clock, caller, head, self.mount());
        Some(Box::new(entry))
    }

    /// The broker behind the endpoint.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The path of the endpoint; empty if there is none.
    pub fn mount(&self) -> &str {
        self.public().map_or("", |public| public.endpoint.mount())
    }

    pub(super) fn public(&self) -> Option<&Public> {
        self.public.as_ref()
    }

    /// Does what a request asks for, by its [route](Self::route). Never blocks.
    pub fn handle(
        &self,
        route: Route,
        request: &Request<'_>,
        connection: &ConnectionHandle,
    ) -> Handled {
        let mut request = *request;
        request.head = request.caller.addressed(request.head);
        let handled = self.follow(route, &request, connection);
        match &self.hook {
            Some(hook) => self.hooked(hook, handled, &request, connection),
            None => handled,
        }
    }

    /// Has the hook look at what is going to be sent.
    fn hooked(
        &self,
        hook: &Hook,
        handled: Handled,
        request: &Request<'_>,
        connection: &ConnectionHandle,
    ) -> Handled {
        let hooked = || self.about(hook, request);
        match handled {
            Handled::Done(response) => {
                later(PendingResponse::hook(self, connection, response, hooked()))
            }
            Handled::Bayeux(format, Executed::Now(answer)) => later(PendingResponse::answer(
                self,
                connection,
                (answer, format),
                hooked(),
            )),
            Handled::Bayeux(format, Executed::Later(exchange)) => Handled::Pending(
                PendingResponse::exchange(connection, exchange, format, Some(hooked())),
            ),
            Handled::File(mut lookup) => {
                lookup.hooked = Some(hooked());
                later(lookup.later(self, connection))
            }
            other @ (Handled::Pending(_) | Handled::Socket(_) | Handled::Events(_)) => other,
        }
    }

    fn about(&self, hook: &Hook, request: &Request<'_>) -> Hooked {
        let path = request.head.target().map_or("", |target| target.path);
        Hooked {
            hook: Arc::clone(hook),
            request: HookedRequest {
                method: request.head.method.to_owned(),
                path: path.to_owned(),
                target: request.head.target.to_owned(),
                headers: request.head.headers.to_owned(),
                peer: self.peer(request, Transport::LongPolling),
            },
        }
    }

    fn follow(
        &self,
        route: Route,
        request: &Request<'_>,
        connection: &ConnectionHandle,
    ) -> Handled {
        let Route { to, echo, max_body } = route;
        let head = &request.head;
        let denied = |refusal| {
            let origin = OriginKind::echoing(echo.as_deref());
            let denied = Denied { refusal, origin };
            Handled::Done(self.deny(head, request.caller, &denied))
        };
        if let To::Refused(refusal) = to {
            return denied(refusal);
        }
        if request.body.len() > max_body {
            return denied(Refusal::TooLarge);
        }
        let Some(target) = head.target() else {
            return denied(Refusal::Target);
        };
        match (to, self.public()) {
            (To::Post(kind), _) if kind.is_form(request.body) => {
                let batch = form::batch(request.body).map(Cow::Owned);
                self.execute(request, batch, None, echo, connection)
            }
            (To::Post(_), _) => self.execute(
                request,
                Ok(Cow::Borrowed(request.body)),
                None,
                echo,
                connection,
            ),
            (To::Script(callback), _) => {
                let query = target.query.unwrap_or_default();
                let batch = form::batch(query.as_bytes()).map(Cow::Owned);
                self.execute(request, batch, Some(callback), echo, connection)
            }
            (To::Socket, _) => {
                let peer = self.peer(request, Transport::WebSocket);
                Handled::Socket(Box::new(self.upgrade(peer)))
            }
            (To::Events(client), _) => {
                let peer = self.peer(request, Transport::EventSource);
                self.events(&client, &peer, echo.as_deref(), connection)
            }
            (To::Content(handler, inbox), _) => {
                let peer = self.peer(request, Transport::LongPolling);
                let asked = ContentRequest::new(request, target, peer);
                if self.public.is_none() {
                    return Handled::Done(answer_here(&*handler, &asked));
                }
                let hooked = self.hook.as_ref().map(|hook| self.about(hook, request));
                let handler = (handler, &inbox);
                later(PendingResponse::content(
                    self, connection, handler, asked, hooked,
                ))
            }
            (To::Options, Some(Public { endpoint, .. })) => {
                Handled::Done(endpoint.options(head, OriginKind::echoing(echo.as_deref())))
            }
            (To::File, Some(public)) => self.file(request, &public.files, target.path),
            (To::Server, _) => Handled::Done(Response::new(204).header("Allow", SERVER_ALLOW)),
            (To::Options | To::File | To::Refused(_), _) => denied(Refusal::NotFound),
        }
    }

    /// Executes a message of a WebSocket.
    ///
    /// # Errors
    /// If it is no batch of messages, or too much of one.
    pub fn frame(
        &self,
        peer: Peer,
        text: &str,
        connection: ConnectionHandle,
    ) -> Result<Executed, BatchError> {
        let parsed = protocol::parse(text.as_bytes(), &self.limits);
        let batch = parsed.inspect_err(|error| {
            let seen = format_args!("a message on a WebSocket of {}: {error}", peer.ip);
            self.broker.refusals().count(reason_of(error), seen);
        })?;
        Ok(self.broker.execute(Call {
            peer,
            batch,
            connection,
        }))
    }

    /// How often each status of a refusal was sent.
    pub fn refused_statuses(&self) -> Vec<(u16, u64)> {
        self.statuses.snapshot()
    }

    /// What sets and reads cookies, unless they are not used.
    pub(super) fn cookies(&self) -> Option<&Cookies> {
        let public = self.public()?;
        public.endpoint.uses_cookies().then_some(&public.cookies)
    }

    pub(super) fn count(&self, status: u16) {
        self.statuses.count(status);
    }

    /// Refuses a request because too much waits for user code already.
    pub(super) fn busy(&self, ip: IpAddr) -> Response {
        self.count_busy(ip);
        self.count(503);
        Response::text(503, "too many requests wait already").with_retry()
    }

    pub(super) fn count_busy(&self, ip: IpAddr) {
        let seen = format_args!("a request from {ip}: too much waits already");
        self.broker.refusals().count(Reason::Busy, seen);
    }

    fn execute(
        &self,
        request: &Request<'_>,
        body: Result<Cow<'_, [u8]>, Refusal>,
        callback: Option<Box<str>>,
        echo: Option<Box<str>>,
        connection: &ConnectionHandle,
    ) -> Handled {
        let refused = |refused: Refused<'_>| {
            let response = self.refuse(refused, Some(&request.head), request.caller);
            Handled::Done(response.readable_by(echo.as_deref()))
        };
        let body = match body {
            Ok(body) => body,
            Err(refusal) => return refused(refusal.refused()),
        };
        let batch = match protocol::parse(body, &self.limits) {
            Ok(batch) => batch,
            Err(error) => {
                return refused(Refused {
                    reason: reason_of(&error),
                    status: 400,
                    line: &error.to_string(),
                });
            }
        };
        let transport = match callback {
            Some(_) => Transport::CallbackPolling,
            None => Transport::LongPolling,
        };
        let executed = self.broker.execute(Call {
            peer: self.peer(request, transport),
            batch,
            connection: connection.clone(),
        });
        let format = Format {
            callback,
            origin: echo,
            secure: request.caller.secure,
        };
        Handled::Bayeux(format, executed)
    }

    fn peer(&self, request: &Request<'_>, transport: Transport) -> Peer {
        let cookies = self.cookies();
        Peer {
            ip: request.caller.ip,
            transport,
            browser: cookies.and_then(|cookies| cookies.browser(&request.head.headers)),
            secure: request.caller.secure,
        }
    }
}

/// A response that is being made, or the refusal to have one made.
fn later(pending: Result<PendingResponse, Response>) -> Handled {
    pending.map_or_else(Handled::Done, Handled::Pending)
}

/// Responses that wait for the hook, or for the file system, at the most; there is one per
/// connection.
const INBOX: usize = 16_384;

/// The methods of the server as a whole.
const SERVER_ALLOW: &str = "GET, HEAD, POST, OPTIONS";
