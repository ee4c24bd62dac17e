//! What a program does with its node: posting, calling, exporting, looking around.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::NodeInner;
use crate::link::event::Observer;
use crate::link::router::{Answer, Claim, Request, Router};
use crate::link::{Alias, CallError, Event, ExportError, Handler, NodeId, PostError, Stats, names};

/// What to do with a message to an alias that nobody exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Absent {
    /// Fail with [`PostError::UnknownAlias`].
    Fail,
    /// Keep it until somebody does, at most for `Limits::outbox_time`, or the time of the call.
    #[default]
    Keep,
}

/// What to do when too much waits for the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Fail with [`PostError::Full`].
    Fail,
    /// Wait until there is room, at most for so long.
    Block(Duration),
}

/// How patient a post or call is. The default keeps what has no receiver yet, and waits for room
/// for up to 10 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostOptions {
    /// If nobody exports the alias.
    pub absent: Absent,
    /// If too much waits.
    pub full: Full,
}

impl Default for PostOptions {
    fn default() -> Self {
        Self {
            absent: Absent::Keep,
            full: Full::Block(Duration::from_secs(10)),
        }
    }
}

impl PostOptions {
    /// Fails rather than waits.
    pub const AT_ONCE: Self = Self {
        absent: Absent::Fail,
        full: Full::Fail,
    };
}

/// A node, for any thread; clones are the same node. It does not keep the node running.
///
/// Messages go to an alias, or to `node/alias` with the name or id of a node. Whether that is this
/// process, a neighbour or behind others makes no difference.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) inner: Arc<NodeInner>,
    /// In whose name it posts.
    sender: Arc<str>,
}

impl Handle {
    pub(crate) fn new(inner: &Arc<NodeInner>, sender: &str) -> Self {
        Self {
            inner: Arc::clone(inner),
            sender: sender.into(),
        }
    }

    /// The id of this node.
    pub fn id(&self) -> NodeId {
        self.inner.identity.id
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.inner.identity.name
    }

    /// Makes a handler reachable from everywhere under an alias, from now on and announced at once.
    /// See [`Methods`](crate::link::Methods) for a handler with several events.
    ///
    /// # Errors
    /// See [`ExportError`]; in particular if somebody exports the alias.
    pub fn export(&self, alias: &str, handler: impl Handler) -> Result<Export, ExportError> {
        self.export_as(alias, Claim::Sole, handler)
    }

    /// As [`export`](Self::export), for a name that is this node's by agreement, such as that of a
    /// server: it never gives way to another that has taken it before the two were linked. Two that
    /// have the same name firmly keep it each, for themselves and those who heard of them first.
    ///
    /// # Errors
    /// As [`export`](Self::export).
    pub fn export_firmly(&self, alias: &str, handler: impl Handler) -> Result<Export, ExportError> {
        self.export_as(alias, Claim::Firm, handler)
    }

    /// As [`export`](Self::export), but other nodes may export the same alias in the same way; each
    /// message goes to one of them, in turn.
    ///
    /// # Errors
    /// As [`export`](Self::export).
    pub fn export_shared(&self, alias: &str, handler: impl Handler) -> Result<Export, ExportError> {
        self.export_as(alias, Claim::Shared, handler)
    }

    fn export_as(
        &self,
        alias: &str,
        claim: Claim,
        handler: impl Handler,
    ) -> Result<Export, ExportError> {
        // Kept beyond the call: if it is refused, it is not dropped while the router is locked.
        let handler: Arc<dyn Handler> = Arc::new(handler);
        let export = |router: &mut Router| router.export(alias, claim, Arc::clone(&handler));
        let token = self.inner.with(export)?;
        Ok(Export {
            node: Self::new(&self.inner, alias),
            token,
            kept: false,
        })
    }

    /// Posts a message. `Ok` means that it was accepted, in order; what becomes of it then is told
    /// by [`Event::Undelivered`](crate::link::Event::Undelivered) and
    /// [`Event::Rejected`](crate::link::Event::Rejected), if it is not handled. Blocks while too
    /// much waits for the receiver, for up to 10 s; see [`post_with`](Self::post_with).
    ///
    /// # Errors
    /// See [`PostError`]; nothing was sent then.
    pub fn post(
        &self,
        address: &str,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<(), PostError> {
        self.post_with(PostOptions::default(), address, event, args)
    }

    /// As [`post`](Self::post), with more or less patience.
    ///
    /// # Errors
    /// See [`PostError`]; nothing was sent then.
    pub fn post_with(
        &self,
        options: PostOptions,
        address: &str,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<(), PostError> {
        let args = to_json(args)?;
        let request = self.request(address, event, &args)?;
        let keep = options.absent == Absent::Keep;
        self.patiently(options.full, |router| router.post(&request, keep))
    }

    /// Posts a message to everybody who exports the alias. Never blocks. Returns how many it was
    /// accepted for.
    ///
    /// # Errors
    /// See [`PostError`]; it is no error if nobody exports the alias.
    pub fn broadcast(
        &self,
        alias: &str,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<usize, PostError> {
        let args = to_json(args)?;
        let request = self.request(alias, event, &args)?;
        self.inner.with(|router| router.broadcast(&request))
    }

    /// Calls and waits for the answer, at most for so long in all. Fails at once if nobody exports
    /// the alias.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call<T: DeserializeOwned>(
        &self,
        address: &str,
        event: &str,
        args: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<T, CallError> {
        let options = PostOptions {
            absent: Absent::Fail,
            full: Full::Block(timeout),
        };
        self.start_call(options, address, event, args, timeout)?
            .wait()
    }

    /// Begins a call without waiting for its answer. The time of the call begins here.
    ///
    /// # Errors
    /// If it is not sent.
    pub fn start_call(
        &self,
        options: PostOptions,
        address: &str,
        event: &str,
        args: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<Call, CallError> {
        let args = to_json(args)?;
        let request = self.request(address, event, &args)?;
        let keep = options.absent == Absent::Keep;
        let (waiter, answer) = crossbeam_channel::bounded(1);
        // What it takes to be sent is a part of its time.
        let until = self.inner.after(timeout);
        let begin = |router: &mut Router| {
            let left = until.saturating_duration_since(self.inner.now());
            router.call(&request, left, keep, waiter.clone())
        };
        let id = self.patiently(options.full, begin)?;
        Ok(Call {
            inner: Arc::clone(&self.inner),
            id,
            answer,
            done: false,
        })
    }

    fn request<'a>(
        &'a self,
        address: &'a str,
        event: &'a str,
        args: &'a str,
    ) -> Result<Request<'a>, PostError> {
        let (node, alias) = names::split(address)?;
        names::check(event)?;
        Ok(Request {
            node,
            alias,
            sender: &self.sender,
            event,
            args,
        })
    }

    fn patiently<T>(
        &self,
        full: Full,
        attempt: impl FnMut(&mut Router) -> Result<T, PostError>,
    ) -> Result<T, PostError> {
        let patience = match full {
            Full::Fail => Duration::ZERO,
            Full::Block(patience) => patience,
        };
        let is_done = |result: &Result<T, PostError>| {
            full == Full::Fail || !matches!(result, Err(PostError::Full))
        };
        self.inner.with_until(patience, is_done, attempt)
    }

    /// Waits until somebody exports the alias (or `node/alias`), at most for so long, or until the
    /// node is shut down. Whether somebody does.
    pub fn wait_for(&self, address: &str, timeout: Duration) -> bool {
        let Ok((node, alias)) = names::split(address) else {
            return false;
        };
        // After the end of the node nobody would come.
        let is_there = |router: &mut Router| router.is_exported(node, alias);
        self.until(timeout, |router| is_there(router) || router.is_stopped())
            && self.inner.with(is_there)
    }

    /// Waits until everything that was accepted has been handled, or given up, at most for so long.
    /// Whether it has. A handler of what this node has posted to itself is waited for too; it
    /// should not do this itself.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.until(timeout, |router| router.unconfirmed() == 0)
    }

    pub(super) fn until(&self, timeout: Duration, is_so: impl Fn(&mut Router) -> bool) -> bool {
        self.inner.with_until(timeout, |so| *so, is_so)
    }

    /// Tells the observer what happens from now on, in order, on a worker thread. It may block;
    /// what it is much too slow for is dropped and counted.
    pub fn observe(&self, observer: impl Fn(&Event) + Send + Sync + 'static) {
        let observer: Observer = Arc::new(observer);
        self.inner.with(|router| router.events().observe(observer));
    }

    /// As [`observe`](Self::observe), until what is returned is dropped. An event that is being
    /// told then still is.
    pub fn observe_while(&self, observer: impl Fn(&Event) + Send + Sync + 'static) -> Observing {
        let observer: Observer = Arc::new(observer);
        let observed = Arc::clone(&observer);
        self.inner.with(|router| router.events().observe(observed));
        Observing {
            inner: Arc::clone(&self.inner),
            observer,
        }
    }

    /// All aliases that can be posted to, of this node and of others.
    pub fn aliases(&self) -> Vec<Alias> {
        self.inner.with(|router| router.aliases())
    }

    /// The nodes that can be reached, with their names, nearest first.
    pub fn nodes(&self) -> Vec<(NodeId, Arc<str>)> {
        self.inner.with(|router| router.reachable())
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        self.inner.with(|router| router.stats())
    }
}

fn to_json(args: &(impl Serialize + ?Sized)) -> Result<String, PostError> {
    serde_json::to_string(args).map_err(|error| PostError::Args(error.to_string()))
}

/// What is exported under an alias. Dropping it ends the export, and everybody is told.
#[must_use = "dropping an export ends it"]
#[derive(Debug)]
pub struct Export {
    node: Handle,
    token: u64,
    kept: bool,
}

impl Export {
    /// The node, posting in the name of the alias: receivers see it as the sender.
    pub fn node(&self) -> &Handle {
        &self.node
    }

    /// Keeps the export for as long as the node runs.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if !self.kept {
            let (alias, token) = (&self.node.sender, self.token);
            self.node.inner.with(|router| router.unexport(alias, token));
        }
    }
}

/// A call whose answer has not come. Dropping it gives the call up; what was not sent is withdrawn.
#[must_use = "dropping a call gives it up"]
#[derive(Debug)]
pub struct Call {
    inner: Arc<NodeInner>,
    id: u64,
    answer: Receiver<Answer>,
    done: bool,
}

impl Call {
    /// Waits for the answer, for as long as the time of the call.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn wait<T: DeserializeOwned>(mut self) -> Result<T, CallError> {
        // The router answers every call, in time; it is gone only with the node.
        let answer = self.answer.recv().unwrap_or(Err(CallError::Stopped));
        self.done = true;
        let value = answer?;
        serde_json::from_str(&value).map_err(|error| CallError::Answer(error.to_string()))
    }

    /// Gives it up: the answer is not waited for, and what was not sent is not sent.
    pub fn cancel(self) {}
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.done {
            self.inner.with(|router| router.cancel(self.id));
        }
    }
}

/// An observer that is told of events. Dropping this ends it.
#[must_use = "dropping it ends the observer"]
pub struct Observing {
    inner: Arc<NodeInner>,
    observer: Observer,
}

impl Drop for Observing {
    fn drop(&mut self) {
        let events = |router: &mut Router| router.events().unobserve(&self.observer);
        drop(self.inner.with(events));
    }
}

impl fmt::Debug for Observing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observing").finish_non_exhaustive()
    }
}
