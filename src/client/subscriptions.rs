//! Who gets what comes: subscriptions, listeners of events, and the queue to the user's code.
//!
//! User code, a log writer included, is neither run nor dropped in here, as the owner holds a lock:
//! what is to run is queued as [`Job`]s, what is to be logged or dropped is put aside.

use std::any::Any;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Error;
use super::event::{Event, Stats};
use super::message::Message;
use super::receipt::{Outcome, Receipt};
use super::ring::Ring;
use crate::protocol::{ChannelKind, ChannelName, Pattern, for_each_match};

/// Where the messages of one subscription go.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    Ring(Arc<Ring>),
    Callback(Arc<Callback>),
}

/// A function of the user, with a switch.
pub(crate) struct Callback {
    run: Box<dyn Fn(&Message) + Send + Sync>,
    ended: AtomicBool,
}

/// A function that hears of events.
#[derive(Clone)]
pub(crate) struct Listener(pub(crate) Arc<dyn Fn(&Event) + Send + Sync>);

/// User code to run, with what it is given.
#[derive(Debug)]
pub(crate) enum Job {
    Message(Arc<Callback>, Message),
    Event(Listener, Event),
    Drop(Trash),
    /// Tells whoever waits that everything before it has run.
    CaughtUp(Arc<Receipt>),
}

/// What owns user code and has ended.
pub(crate) type Trash = Vec<Box<dyn Any + Send>>;

/// What the server knows of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing, ever: it is of meta or service channels.
    Local,
    /// Nothing yet in this session.
    Unknown,
    /// There is a subscribe with that id, on its way or about to be.
    Asked(u64),
    Confirmed,
}

/// Several subscriptions may share a pattern; the server is asked for each pattern once, as some
/// servers deliver as often as they were asked.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    patterns: HashMap<Box<str>, Entry>,
    last_key: u64,
    listeners: Vec<Listener>,
    pub(crate) stats: Stats,
    jobs: VecDeque<Job>,
    /// Of the messages among them.
    job_bytes: usize,
    trash: Trash,
    /// Events for the log, which may not be written here.
    told: Vec<Event>,
    limit: usize,
    byte_limit: usize,
}

/// The subscriptions of one pattern.
#[derive(Debug)]
struct Entry {
    standing: Standing,
    ext: Option<Box<str>>,
    waiting: Vec<Arc<Receipt>>,
    sinks: Vec<(u64, Sink)>,
}

impl Subscriptions {
    /// So many messages, and bytes of them, may wait for callbacks.
    pub(crate) fn new(limit: usize, byte_limit: usize) -> Self {
        Self {
            patterns: HashMap::new(),
            last_key: 0,
            listeners: Vec::new(),
            stats: Stats::default(),
            jobs: VecDeque::new(),
            job_bytes: 0,
            trash: Vec::new(),
            told: Vec::new(),
            limit,
            byte_limit,
        }
    }

    /// Adds a subscriber. Returns the key to remove it with, and whether the server is to be asked
    /// with the id of the receipt, which gets the outcome. Without one the server will be asked
    /// on the next session.
    pub(crate) fn add(
        &mut self,
        pattern: &Pattern,
        ext: Option<Box<str>>,
        sink: Sink,
        receipt: Option<Arc<Receipt>>,
    ) -> (u64, bool) {
        self.last_key += 1;
        let key = self.last_key;
        let entry = self.patterns.entry(pattern.as_str().into());
        let entry = entry.or_insert_with(|| Entry {
            standing: match pattern.kind() {
                ChannelKind::Broadcast => Standing::Unknown,
                _ => Standing::Local,
            },
            ext: None,
            waiting: Vec::new(),
            sinks: Vec::new(),
        });
        entry.ext = ext.or(entry.ext.take());
        entry.sinks.push((key, sink));
        let Some(receipt) = receipt else {
            return (key, false);
        };
        let ask = entry.standing == Standing::Unknown && entry.sinks.len() == 1;
        if ask {
            entry.standing = Standing::Asked(receipt.id);
        }
        match entry.standing {
            Standing::Local | Standing::Confirmed => {
                receipt.settle(Ok(Message::local_success()));
            }
            Standing::Asked(_) | Standing::Unknown => entry.waiting.push(receipt),
        }
        (key, ask)
    }

    /// Ends one. If it was its pattern's last, says what the server knows of that.
    pub(crate) fn remove(&mut self, pattern: &str, key: u64) -> Option<Standing> {
        let entry = self.patterns.get_mut(pattern)?;
        let position = entry.sinks.iter().position(|(other, _)| *other == key)?;
        let (_, sink) = entry.sinks.remove(position);
        entry.waiting.retain(Receipt::is_watched);
        let last = entry.sinks.is_empty();
        let standing = entry.standing;
        self.discard(sink, &Error::Closed);
        if last {
            self.remove_all(pattern, &Error::Closed);
        }
        last.then_some(standing)
    }

    /// Ends all of a pattern, and fails the subscribe. Says whether somebody was waiting for it.
    pub(crate) fn remove_all(&mut self, pattern: &str, reason: &Error) -> bool {
        let Some(entry) = self.patterns.remove(pattern) else {
            return false;
        };
        let watched = entry.fail(reason);
        for (_, sink) in entry.sinks {
            self.discard(sink, reason);
        }
        watched
    }

    /// A subscription is out of the table. What waits for its callback is dropped too.
    pub(crate) fn discard(&mut self, sink: Sink, reason: &Error) {
        match &sink {
            Sink::Ring(ring) => ring.end(reason.clone()),
            Sink::Callback(callback) => callback.ended.store(true, Ordering::Release),
        }
        self.trash.push(Box::new(sink));
    }

    /// Ends all subscriptions. What waits for a callback still gets there.
    pub(crate) fn close(&mut self, reason: &Error) {
        for (_, entry) in std::mem::take(&mut self.patterns) {
            entry.fail(reason);
            for (_, sink) in entry.sinks {
                if let Sink::Ring(ring) = &sink {
                    ring.end(reason.clone());
                }
                self.trash.push(Box::new(sink));
            }
        }
    }

    /// The outcome of the subscribe with that id. A failure ends the subscriptions of the pattern.
    pub(crate) fn settle(&mut self, pattern: &str, id: u64, outcome: Outcome) {
        let Some(entry) = self.patterns.get_mut(pattern) else {
            return;
        };
        match outcome {
            _ if entry.standing != Standing::Asked(id) => {}
            Ok(reply) => {
                entry.standing = Standing::Confirmed;
                for receipt in entry.waiting.drain(..) {
                    receipt.settle(Ok(reply.clone()));
                }
            }
            Err(error) => {
                if !self.remove_all(pattern, &error) {
                    let pattern = pattern.to_owned();
                    self.emit(&Event::SubscriptionLost { pattern, error });
                }
            }
        }
    }

    /// Whether the subscribe with that id still matters.
    pub(crate) fn is_asked(&self, pattern: &str, id: u64) -> bool {
        let entry = self.patterns.get(pattern);
        entry.is_some_and(|entry| entry.standing == Standing::Asked(id))
    }

    /// What was confirmed is confirmed no longer.
    pub(crate) fn session_lost(&mut self) {
        for entry in self.patterns.values_mut() {
            if entry.standing == Standing::Confirmed {
                entry.standing = Standing::Unknown;
            }
        }
    }

    /// What the server is to be asked for on a new session, oldest first, each with a new id and
    /// its `ext`: all but those whose subscribe is among the queued.
    pub(crate) fn ask_again(
        &mut self,
        queued: &HashSet<u64>,
        mut new_id: impl FnMut() -> u64,
    ) -> Vec<(u64, Box<str>, Option<Box<str>>)> {
        let missing = |entry: &Entry| match entry.standing {
            Standing::Local => false,
            Standing::Asked(id) => !queued.contains(&id),
            Standing::Unknown | Standing::Confirmed => true,
        };
        let mut missing: Vec<_> = self
            .patterns
            .iter_mut()
            .filter(|(_, entry)| missing(entry))
            .collect();
        missing.sort_by_key(|(_, entry)| entry.sinks.first().map(|(key, _)| *key));
        let mut asked = Vec::new();
        for (pattern, entry) in missing {
            let id = new_id();
            entry.standing = Standing::Asked(id);
            asked.push((id, pattern.clone(), entry.ext.clone()));
        }
        asked
    }

    /// Gives the message to all whose pattern matches. Says whether there are any.
    pub(crate) fn deliver(&mut self, message: &Message) -> bool {
        let mut found = false;
        let size = message.json().len();
        for sink in matching(&self.patterns, message.channel()) {
            found = true;
            match sink {
                Sink::Ring(ring) => ring.push(message.clone()),
                Sink::Callback(_)
                    if self.jobs.len() >= self.limit
                        || self.job_bytes > self.byte_limit.saturating_sub(size)
                            && self.job_bytes > 0 =>
                {
                    self.stats.callbacks_dropped += 1;
                }
                Sink::Callback(callback) => {
                    self.job_bytes += size;
                    let callback = Arc::clone(callback);
                    self.jobs.push_back(Job::Message(callback, message.clone()));
                }
            }
        }
        found
    }

    /// Has the receipt settled when everything that waits now has run.
    pub(crate) fn catch_up(&mut self, receipt: &Arc<Receipt>) {
        // Or those who gave up waiting for a callback would leave ever more behind it.
        let given_up = |last: &Job| matches!(last, Job::CaughtUp(one) if !Receipt::is_watched(one));
        while self.jobs.back().is_some_and(given_up) {
            self.jobs.pop_back();
        }
        self.jobs.push_back(Job::CaughtUp(Arc::clone(receipt)));
    }

    /// A function that hears of events from now on.
    pub(crate) fn listen(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    /// There will be no other events.
    pub(crate) fn dismiss(&mut self) {
        for listener in std::mem::take(&mut self.listeners) {
            self.trash.push(Box::new(listener));
        }
    }

    /// Tells the listeners.
    pub(crate) fn emit(&mut self, event: &Event) {
        if log::log_enabled!(log::Level::Debug) {
            self.told.push(event.clone());
        }
        for listener in &self.listeners {
            // More room than for messages: these tell why messages are missing.
            if self.jobs.len() >= self.limit.saturating_mul(2).max(16) {
                self.stats.callbacks_dropped += 1;
            } else {
                self.jobs
                    .push_back(Job::Event(listener.clone(), event.clone()));
            }
        }
    }

    pub(crate) fn next_job(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front();
        if let Some(Job::Message(_, message)) = &job {
            self.job_bytes -= message.json().len();
        }
        job.or_else(|| (!self.trash.is_empty()).then(|| Job::Drop(self.take_trash())))
    }

    /// What is to be logged.
    pub(crate) fn take_told(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.told)
    }

    pub(crate) fn has_jobs(&self) -> bool {
        !(self.jobs.is_empty() && self.trash.is_empty())
    }

    /// To be dropped where user code may run.
    pub(crate) fn take_trash(&mut self) -> Trash {
        std::mem::take(&mut self.trash)
    }
}

impl Entry {
    /// Fails the subscribe. Says whether somebody was waiting for it.
    fn fail(&self, reason: &Error) -> bool {
        let watched = self.waiting.iter().any(Receipt::is_watched);
        for receipt in &self.waiting {
            receipt.settle(Err(reason.clone()));
        }
        watched
    }
}

/// Every sink whose pattern matches.
fn matching<'a>(
    patterns: &'a HashMap<Box<str>, Entry>,
    channel: &str,
) -> impl Iterator<Item = &'a Sink> {
    let mut entries = Vec::new();
    if let Some(name) = ChannelName::try_from(channel)
        .ok()
        .filter(|_| !patterns.is_empty())
    {
        for_each_match(&name, |pattern| entries.extend(patterns.get(pattern)));
    }
    let sinks = |entry: &'a Entry| entry.sinks.iter().map(|(_, sink)| sink);
    entries.into_iter().flat_map(sinks)
}

impl Callback {
    pub(crate) fn new(run: impl Fn(&Message) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            run: Box::new(run),
            ended: AtomicBool::new(false),
        })
    }

    /// Runs it, unless its subscription has ended meanwhile.
    pub(crate) fn run(&self, message: &Message) {
        if !self.ended.load(Ordering::Acquire) {
            (self.run)(message);
        }
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").finish_non_exhaustive()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
