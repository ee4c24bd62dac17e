//! A message as its handler gets it, and how it is answered.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::node::{Handle, NodeInner};
use super::router::Delivery;
use super::{Fault, FaultKind, NodeId, PostError};

/// Gets the messages to an alias of this node: one after the other, in the order of each sender, on
/// a worker thread. It may block, and holds up nobody but those who wait for the same alias. A
/// panic is answered with [`FaultKind::Panic`].
pub trait Handler: Send + Sync + 'static {
    /// Handles one message. A call that is not answered here, nor by its [`Reply`] later, fails
    /// with [`FaultKind::NoAnswer`].
    fn handle(&self, message: Message);
}

impl<F> Handler for F
where
    F: Fn(Message) + Send + Sync + 'static,
{
    fn handle(&self, message: Message) {
        self(message);
    }
}

/// Who has sent a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The node it comes from.
    pub node: NodeId,
    /// The name of that node. A neighbour has proved it; of others a neighbour says so.
    pub name: Arc<str>,
    /// The alias in whose name it was sent, if any.
    pub alias: Option<Box<str>>,
}

/// A post or a call.
#[derive(Debug)]
pub struct Message {
    alias: Arc<str>,
    delivery: Delivery,
    reply: Option<Reply>,
    node: Arc<NodeInner>,
}

impl Message {
    pub(crate) fn new(node: &Arc<NodeInner>, alias: &Arc<str>, delivery: Delivery) -> Self {
        let reply = delivery.call.map(|id| Reply {
            node: Arc::clone(node),
            to: delivery.from,
            id: Some(id),
        });
        Self {
            alias: Arc::clone(alias),
            delivery,
            reply,
            node: Arc::clone(node),
        }
    }

    /// The alias that it was sent to.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// What it is about.
    pub fn event(&self) -> &str {
        &self.delivery.event
    }

    /// The arguments.
    ///
    /// # Errors
    /// [`FaultKind::InvalidArgs`] if they are not of that type.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_str(&self.delivery.args)
            .map_err(|error| Fault::new(FaultKind::InvalidArgs, error.to_string()))
    }

    /// The arguments as they came; not yet known to be JSON.
    pub fn raw_args(&self) -> &str {
        &self.delivery.args
    }

    /// Who has sent it.
    pub fn sender(&self) -> Sender {
        let alias = Some(&self.delivery.sender).filter(|alias| !alias.is_empty());
        Sender {
            node: self.delivery.from,
            name: Arc::clone(&self.delivery.from_name),
            alias: alias.cloned(),
        }
    }

    /// Whether the sender waits for an answer.
    pub fn is_call(&self) -> bool {
        self.delivery.call.is_some()
    }

    /// The node it was delivered by, posting in the name of the alias.
    pub fn node(&self) -> Handle {
        Handle::new(&self.node, &self.alias)
    }

    /// Posts to the sender, at the alias in whose name it has posted.
    ///
    /// # Errors
    /// [`PostError::UnknownAlias`] if it named none; else as [`Handle::post`].
    pub fn post_back(&self, event: &str, args: &impl Serialize) -> Result<(), PostError> {
        let sender = self.sender();
        let alias = sender.alias.ok_or(PostError::UnknownAlias)?;
        self.node()
            .post(&format!("{}/{alias}", sender.node), event, args)
    }

    /// Answers with a result. A post is only told of a failure, as [`Event::Rejected`].
    ///
    /// [`Event::Rejected`]: super::Event::Rejected
    pub fn finish(mut self, result: Result<impl Serialize, Fault>) {
        let result = result.and_then(|value| to_json(&value));
        self.conclude(result);
    }

    fn conclude(&mut self, result: Result<String, Fault>) {
        match (self.reply.take(), result) {
            (Some(reply), result) => reply.send(result),
            (None, Err(fault)) => {
                let (alias, delivery) = (&self.alias, &self.delivery);
                self.node
                    .with(|router| router.reject(alias, delivery, fault));
            }
            (None, Ok(_)) => {}
        }
    }

    /// The means to answer a call later, from any thread. `None`: nobody waits.
    pub fn take_reply(&mut self) -> Option<Reply> {
        self.reply.take()
    }
}

/// Answers one call. Dropped, it says [`FaultKind::NoAnswer`], or [`FaultKind::Panic`] if that is
/// why.
#[derive(Debug)]
pub struct Reply {
    node: Arc<NodeInner>,
    to: NodeId,
    id: Option<u64>,
}

impl Reply {
    /// Answers.
    pub fn answer(self, result: Result<impl Serialize, Fault>) {
        self.send(result.and_then(|value| to_json(&value)));
    }

    fn send(mut self, result: Result<String, Fault>) {
        let Some(id) = self.id.take() else {
            return;
        };
        // An answer is bounded as any message is.
        let max = self.node.limits.max_message;
        let result = match result {
            Ok(value) if value.len() > max => {
                let text = format!("{} of {max}", value.len());
                Err(Fault::new(FaultKind::TooLarge, text))
            }
            result => result.map(String::into_boxed_str),
        };
        self.node.with(|router| router.answer(self.to, id, result));
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let kind = match std::thread::panicking() {
                true => FaultKind::Panic,
                false => FaultKind::NoAnswer,
            };
            let fault = Err(Fault::new(kind, ""));
            self.node.with(|router| router.answer(self.to, id, fault));
        }
    }
}

fn to_json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(Fault::failed)
}

type Method = Box<dyn Fn(&Message) -> Result<String, Fault> + Send + Sync>;

/// A handler with a function for each event. What it does not know is answered with
/// [`FaultKind::UnknownEvent`].
#[derive(Default)]
pub struct Methods(HashMap<String, Method>);

impl Methods {
    /// Knows no event yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What to do on an event. The result is the answer to a call, and nothing to a post.
    #[must_use]
    pub fn on<T, F>(mut self, event: &str, method: F) -> Self
    where
        T: Serialize,
        F: Fn(&Message) -> Result<T, Fault> + Send + Sync + 'static,
    {
        let run = move |message: &Message| to_json(&method(message)?);
        self.0.insert(event.to_owned(), Box::new(run));
        self
    }
}

impl Handler for Methods {
    fn handle(&self, mut message: Message) {
        let result = match self.0.get(message.event()) {
            Some(method) => method(&message),
            None => Err(Fault::new(FaultKind::UnknownEvent, message.event())),
        };
        message.conclude(result);
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
