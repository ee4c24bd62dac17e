//! The other side: a linked process that takes part in a server.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ALIAS, SERVICE};
use crate::link::{
    CallError, Event, Export, ExportError, Fault, Handle, Message, Methods, Observing, PostError,
    PostOptions,
};

type Callback = Arc<dyn Fn(&str, &Value) + Send + Sync>;
type Callbacks = Arc<Mutex<HashMap<String, Callback>>>;

/// A client of a Bayeux server in a linked process. It may be made before there is a link; whenever
/// the server comes back, it subscribes again. Dropping it ends its subscriptions.
pub struct Remote {
    export: Export,
    _watch: Observing,
    callbacks: Callbacks,
}

impl Remote {
    /// Takes part under an alias of its own, which must be free.
    ///
    /// # Errors
    /// If it is not.
    pub fn new(node: &Handle, alias: &str) -> Result<Self, ExportError> {
        let callbacks = Callbacks::default();
        let called = Arc::clone(&callbacks);
        let message = move |message: &Message| {
            let delivered: Delivered = message.args()?;
            let callback = called.lock().get(&delivered.subscription).cloned();
            if let Some(callback) = callback {
                callback(&delivered.channel, &delivered.data);
            }
            Ok::<_, Fault>(())
        };
        let export = node.export(alias, Methods::new().on("message", message))?;
        let (node, again) = (export.node().clone(), Arc::clone(&callbacks));
        let own: Box<str> = alias.into();
        let watch = export.node().observe_while(move |event| match event {
            // Without its alias the server forgets it too.
            Event::AliasAdded { alias, owner }
                if **alias == *ALIAS || (**alias == *own && *owner == node.id()) =>
            {
                subscribe_again(&node, &again);
            }
            Event::Rejected {
                alias,
                event,
                reason,
                ..
            } if alias == ALIAS => log::warn!("the server refuses to {event}: {reason}"),
            _ => {}
        });
        Ok(Self {
            export,
            _watch: watch,
            callbacks,
        })
    }

    /// Calls the function with channel and data of each message, one after the other, on a worker
    /// thread. A second subscription to the same pattern takes the place of the first.
    pub fn subscribe(
        &self,
        pattern: &str,
        callback: impl Fn(&str, &Value) + Send + Sync + 'static,
    ) {
        let callback = Arc::new(callback);
        let older = self.callbacks.lock().insert(pattern.to_owned(), callback);
        // The user's, as what it holds; not to be dropped under the lock.
        drop(older);
        // Otherwise the server gets to know when it comes.
        if self.node().wait_for(ALIAS, Duration::ZERO) {
            tell(self.node().post(ALIAS, "subscribe", pattern));
        }
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, pattern: &str) {
        let callback = self.callbacks.lock().remove(pattern);
        drop(callback);
        if self.node().wait_for(ALIAS, Duration::ZERO) {
            tell(self.node().post(ALIAS, "unsubscribe", pattern));
        }
    }

    /// Publishes, and waits for the number of clients it was queued for.
    ///
    /// # Errors
    /// See [`CallError`]; a channel that cannot be published on is a fault.
    pub fn publish(&self, channel: &str, data: &impl Serialize) -> Result<usize, CallError> {
        self.node()
            .call(ALIAS, "publish", &(channel, data), TIMEOUT)
    }

    /// Sends a message to one client of the server, whatever it is subscribed to.
    ///
    /// # Errors
    /// See [`CallError`]; an unknown client, or one whose queue is full, is a fault.
    pub fn push(
        &self,
        client: &str,
        channel: &str,
        data: &impl Serialize,
    ) -> Result<(), CallError> {
        self.node()
            .call(ALIAS, "push", &(client, channel, data), TIMEOUT)
    }

    /// Handles what clients send to `/service/NAME`, for as long as the export is kept, in the
    /// place of the server's own service of that name, if it has one. The result is the data of
    /// the reply. Of two that begin at once, before they know of each other, one waits for the end
    /// of the other and is told by [`Event::AliasRefused`].
    ///
    /// # Errors
    /// If another process handles it.
    pub fn serve<T: Serialize>(
        &self,
        name: &str,
        service: impl Fn(&Request) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Result<Export, ExportError> {
        self.node().export(&service_alias(name), answering(service))
    }

    /// As [`serve`](Self::serve), together with other processes that do so too: each message goes
    /// to one of them, in turn.
    ///
    /// # Errors
    /// If another process handles it alone.
    pub fn serve_shared<T: Serialize>(
        &self,
        name: &str,
        service: impl Fn(&Request) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Result<Export, ExportError> {
        let methods = answering(service);
        self.node().export_shared(&service_alias(name), methods)
    }

    /// Decides what clients may do, for as long as the export is kept, if `alias` is what the
    /// server's setting `link_authoriser` says, behind the name of this node or alone.
    ///
    /// # Errors
    /// If another process does.
    pub fn authorise(
        &self,
        alias: &str,
        judge: impl Fn(&Asked) -> Judgement + Send + Sync + 'static,
    ) -> Result<Export, ExportError> {
        let judge = move |message: &Message| Ok(judge(&message.args()?));
        self.node().export(alias, Methods::new().on("judge", judge))
    }

    /// The node, posting in the name of the alias.
    pub fn node(&self) -> &Handle {
        self.export.node()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The node outlives this, and would subscribe again when the server comes back.
        let callbacks = std::mem::take(&mut *self.callbacks.lock());
        // In order, before another takes the alias. If it cannot be told, the end of the alias says
        // as much.
        for pattern in callbacks.keys() {
            let node = self.node();
            let _ = node.post_with(PostOptions::AT_ONCE, ALIAS, "unsubscribe", pattern);
        }
        drop(callbacks);
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("export", &self.export)
            .finish_non_exhaustive()
    }
}

fn subscribe_again(node: &Handle, callbacks: &Callbacks) {
    let patterns: Vec<String> = callbacks.lock().keys().cloned().collect();
    for pattern in patterns {
        tell(node.post(ALIAS, "subscribe", &pattern));
        // It may have been ended meanwhile, and the server have been told before.
        if !callbacks.lock().contains_key(&pattern) {
            tell(node.post(ALIAS, "unsubscribe", &pattern));
        }
    }
}

fn service_alias(name: &str) -> String {
    format!("{SERVICE}{}", name.replace('/', ":"))
}

fn answering<T: Serialize>(
    service: impl Fn(&Request) -> Result<T, Fault> + Send + Sync + 'static,
) -> Methods {
    Methods::new().on("call", move |message: &Message| {
        let data = service(&message.args()?)?;
        Ok([serde_json::json!({ "data": serde_json::to_value(data).map_err(Fault::failed)? })])
    })
}

fn tell(posted: Result<(), PostError>) {
    if let Err(error) = posted {
        log::warn!("the server cannot be told of a subscription: {error}");
    }
}

#[derive(Deserialize)]
struct Delivered {
    subscription: String,
    channel: String,
    data: Value,
}

/// A message of a client to a service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Request {
    /// The channel, below `/service/`.
    pub channel: String,
    /// The client's id.
    pub client: Option<String>,
    /// Its address.
    pub ip: String,
    /// What it has sent.
    pub data: Value,
    /// `ext` of the message.
    pub ext: Option<Value>,
}

/// What a client wants to do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Asked {
    /// `handshake`, `connect`, `subscribe`, `unsubscribe`, `disconnect`, `publish` or `call`.
    pub action: String,
    /// The client's id; `None` before a handshake.
    pub client: Option<String>,
    /// Its address.
    pub ip: String,
    /// The channel of the message.
    pub channel: String,
    /// What it wants to subscribe to, or no longer.
    pub subscriptions: Vec<String>,
    /// `data` of the message.
    pub data: Option<Value>,
    /// `ext` of the message. Credentials come here.
    pub ext: Option<Value>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether it may.
    pub allow: bool,
    /// Why not; the middle part of the error.
    #[serde(default)]
    pub reason: String,
}

impl Judgement {
    /// It may.
    pub fn allow() -> Self {
        Self {
            allow: true,
            reason: String::new(),
        }
    }

    /// It may not, for that reason.
    pub fn deny(reason: &str) -> Self {
        Self {
            allow: false,
            reason: reason.to_owned(),
        }
    }
}

/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(10);
