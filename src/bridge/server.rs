//! The server's side: what it exports, and what it does with the aliases of others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;

use super::ALIAS;
use super::policy::raw;
use super::services::Services;
use crate::broker::{Broker, LocalClient, LocalSubscription, WeakBroker};
use crate::link::{
    Absent, Event, Export, ExportError, Fault, FaultKind, Full, Handle, Message, Methods, NodeId,
    Observing, PostError, PostOptions,
};
use crate::protocol::{ClientId, Publication};

/// How long a message waits for room on its way to a linked process. Meanwhile the next ones wait
/// in the queue of its local client. They do not wait after it, until there is room: a process that
/// has stopped reading would keep worker threads from others.
const PATIENCE: Duration = Duration::from_secs(1);

/// A server that linked processes take part in. Dropping it ends that.
#[derive(Debug)]
pub struct Bridge {
    _export: Export,
    _watch: Observing,
    guests: Arc<Guests>,
}

/// Local clients in the name of linked processes: one for each alias of a node.
struct Guests {
    node: Handle,
    broker: WeakBroker,
    /// `None` when the bridge has gone: a handler that still runs opens no more.
    clients: Mutex<Option<HashMap<Name, Arc<Guest>>>>,
    services: Services,
}

type Name = (NodeId, Box<str>);

struct Guest {
    subscriptions: Mutex<HashMap<String, LocalSubscription>>,
    client: LocalClient,
}

impl std::fmt::Debug for Guests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clients = self.clients.lock();
        write!(f, "Guests({})", clients.as_ref().map_or(0, HashMap::len))
    }
}

impl Bridge {
    /// Begins to serve the processes that are linked with the node. It does not keep the broker.
    ///
    /// # Errors
    /// If the alias is taken.
    pub fn install(broker: &Broker, node: &Handle) -> Result<Self, ExportError> {
        let guests = Arc::new(Guests {
            node: node.clone(),
            broker: broker.downgrade(),
            clients: Mutex::new(Some(HashMap::new())),
            services: Services::new(broker, node),
        });
        let watching = Arc::clone(&guests);
        let watch = node.observe_while(move |event| watching.watch(event));
        let export = node.export_firmly(ALIAS, methods(&guests))?;
        // Those that were there before.
        for alias in node.aliases() {
            guests.services.look_at(&alias.alias);
        }
        Ok(Self {
            _export: export,
            _watch: watch,
            guests,
        })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let guests = self.guests.clients.lock().take();
        drop(guests);
        self.guests.services.end();
    }
}

fn methods(guests: &Arc<Guests>) -> Methods {
    let [subscribing, unsubscribing, publishing, pushing] = [(); 4].map(|()| Arc::clone(guests));
    Methods::new()
        .on("subscribe", move |message| subscribing.subscribe(message))
        .on("unsubscribe", move |message| {
            unsubscribing.unsubscribe(message)
        })
        .on("publish", move |message| {
            let (channel, data): (String, Box<RawValue>) = message.args()?;
            publishing
                .guest(message)?
                .client
                .publish(&channel, &data)
                .map_err(Fault::failed)
        })
        .on("push", move |message| {
            let (id, channel, data): (String, String, Box<RawValue>) = message.args()?;
            let id = ClientId::parse(&id)
                .ok_or_else(|| Fault::new(FaultKind::InvalidArgs, "no client id"))?;
            pushing
                .guest(message)?
                .client
                .push(id, &channel, &data)
                .map_err(Fault::failed)
        })
}

/// What a subscriber gets; see [`Remote::subscribe`](super::Remote::subscribe).
#[derive(Serialize)]
struct Delivered<'a> {
    subscription: &'a str,
    channel: &'a str,
    data: Option<&'a RawValue>,
}

impl Guests {
    fn name(message: &Message) -> Name {
        let sender = message.sender();
        (sender.node, sender.alias.unwrap_or_default())
    }

    /// The local client in the name of the sender.
    fn guest(&self, message: &Message) -> Result<Arc<Guest>, Fault> {
        let name = Self::name(message);
        if let Some(guest) = self.find(&name) {
            return Ok(guest);
        }
        let broker = self
            .broker
            .upgrade()
            .ok_or_else(|| Fault::failed("the server stops"))?;
        let subscriptions = Mutex::default();
        let guest = Arc::new(Guest {
            subscriptions,
            client: broker.local_client(),
        });
        // Without an alias nobody could tell when it is over: it is used once.
        if name.1.is_empty() {
            return Ok(guest);
        }
        let address = address(&name);
        let guest = self.admit(&name, guest)?;
        // The alias may be gone already, and its end have been told.
        if !self.node.wait_for(&address, Duration::ZERO) {
            self.remove(&name);
            return Err(Fault::new(
                FaultKind::Denied,
                "the sender does not export its alias",
            ));
        }
        Ok(guest)
    }

    fn find(&self, name: &Name) -> Option<Arc<Guest>> {
        self.clients.lock().as_ref()?.get(name).cloned()
    }

    fn admit(&self, name: &Name, guest: Arc<Guest>) -> Result<Arc<Guest>, Fault> {
        let mut clients = self.clients.lock();
        let clients = clients
            .as_mut()
            .ok_or_else(|| Fault::failed("the server stops"))?;
        Ok(Arc::clone(clients.entry(name.clone()).or_insert(guest)))
    }

    fn subscribe(&self, message: &Message) -> Result<(), Fault> {
        let pattern: String = message.args()?;
        let name = Self::name(message);
        if name.1.is_empty() {
            return Err(Fault::new(
                FaultKind::Denied,
                "subscribe in the name of an alias",
            ));
        }
        let guest = self.guest(message)?;
        // Twice the same: with both for a moment, what is published meanwhile would come twice.
        if guest.subscriptions.lock().contains_key(&pattern) {
            return Ok(());
        }
        let mut courier = Courier {
            node: self.node.clone(),
            to: address(&name),
            lost: 0,
        };
        let subscription = pattern.clone();
        let deliver = move |publication: &Arc<Publication>| {
            courier.deliver(&Delivered {
                subscription: &subscription,
                channel: publication.channel().as_str(),
                data: raw(Some(publication.data())),
            });
        };
        let new = guest
            .client
            .subscribe(&pattern, deliver)
            .map_err(Fault::failed)?;
        let old = guest.subscriptions.lock().insert(pattern, new);
        drop(old);
        Ok(())
    }

    fn unsubscribe(&self, message: &Message) -> Result<bool, Fault> {
        let pattern: String = message.args()?;
        let guest = self.find(&Self::name(message));
        let old = guest.and_then(|guest| guest.subscriptions.lock().remove(&pattern));
        Ok(old.is_some())
    }

    fn watch(&self, event: &Event) {
        match event {
            Event::AliasAdded { alias, .. } => self.services.look_at(alias),
            Event::AliasRemoved { alias, owner } => {
                let name = (*owner, alias.as_ref().into());
                // It may be back by now, and have subscribed; then it would not do so again.
                if !self.node.wait_for(&address(&name), Duration::ZERO) {
                    self.remove(&name);
                }
                self.services.look_at(alias);
            }
            _ => {}
        }
    }

    fn remove(&self, name: &Name) {
        let guest = self
            .clients
            .lock()
            .as_mut()
            .and_then(|clients| clients.remove(name));
        drop(guest);
    }
}

/// Brings the messages of a subscription to a linked process.
struct Courier {
    node: Handle,
    to: String,
    /// Messages that found no room since one did.
    lost: u64,
}

impl Courier {
    fn deliver(&mut self, delivered: &Delivered<'_>) {
        let options = PostOptions {
            absent: Absent::Fail,
            full: match self.lost {
                0 => Full::Block(PATIENCE),
                _ => Full::Fail,
            },
        };
        let to = &self.to;
        match self.node.post_with(options, to, "message", delivered) {
            Ok(()) if self.lost > 0 => {
                log::warn!("{to} reads again; messages lost: {}", self.lost);
                self.lost = 0;
            }
            Ok(()) => {}
            Err(PostError::Full) => {
                if self.lost == 0 {
                    log::warn!("{to} does not read; its messages are lost until it does");
                }
                self.lost += 1;
            }
            Err(error) => log::warn!("a message for {to} is lost: {error}"),
        }
    }
}

fn address((node, alias): &Name) -> String {
    format!("{node}/{alias}")
}
