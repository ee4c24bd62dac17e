//! The sessions of a socket, with the connects that are held for them. Nearly all sockets have one.
//! One with several learns which of them something has happened to, so that a look at it costs as
//! much as has changed, and not as much as it carries.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::broker::{Attachment, Exchange, InFlight};
use crate::transport::{ConnectionHandle, WakeSink};
use crate::util::OneOrMany;

/// A session whose messages go to the socket.
struct Entry {
    /// Its connect that is held.
    held: Option<Box<Exchange>>,
    session: Attachment,
}

#[derive(Default)]
pub(super) struct Sessions {
    entries: OneOrMany<Entry>,
    /// The connect of the only one may be answered.
    may_be_answered: bool,
    /// There were several.
    several: Option<Box<Several>>,
}

/// Which of several sessions there is something to do for. Each is known by its place.
struct Several {
    changed: Arc<Changed>,
    /// Those to look at.
    todo: VecDeque<usize>,
    /// Those whose connects may be answered.
    answerable: Vec<usize>,
    /// Those that have messages in flight.
    in_flight: Vec<usize>,
}

/// Where sessions of one socket are woken: it notes which, and wakes the socket.
struct Changed {
    connection: ConnectionHandle,
    places: Mutex<Vec<u64>>,
}

impl WakeSink for Changed {
    fn wake(&self, keys: &[u64]) {
        self.places.lock().extend_from_slice(keys);
        let ConnectionHandle { sink, key } = &self.connection;
        sink.wake(&[*key]);
    }

    fn is_behind(&self) -> bool {
        self.connection.sink.is_behind()
    }

    fn connection(&self) -> Option<&ConnectionHandle> {
        Some(&self.connection)
    }
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a session that is tied to that connection, the socket's.
    pub(super) fn push(&mut self, session: Attachment, connection: &ConnectionHandle) {
        let at = self.entries.len();
        let held = None;
        self.entries.push(Entry { held, session });
        if at > 0 && self.several.is_none() {
            let changed = Arc::new(Changed {
                connection: connection.clone(),
                places: Mutex::default(),
            });
            self.several = Some(Box::new(Several {
                changed,
                todo: VecDeque::new(),
                answerable: Vec::new(),
                in_flight: Vec::new(),
            }));
            (0..at).for_each(|before| self.place(before));
        }
        self.place(at);
    }

    /// The session at that place is woken by it from now on, and may have been without it before.
    fn place(&mut self, at: usize) {
        let (Some(several), Some(entry)) = (&mut self.several, self.entries.get_mut(at)) else {
            return;
        };
        entry.session.wake_by(&ConnectionHandle {
            sink: Arc::clone(&several.changed) as _,
            key: at as u64,
        });
        several.todo.push_back(at);
        several.answerable.push(at);
    }

    /// Takes a session out, with its connect.
    pub(super) fn remove(&mut self, at: usize) -> Option<(Attachment, Option<Box<Exchange>>)> {
        let last = self.entries.len().checked_sub(1)?;
        // The last one takes its place.
        let mut removed = self.entries.remove(last)?;
        if let Some(place) = self.entries.get_mut(at) {
            mem::swap(place, &mut removed);
            if let Some(several) = &mut self.several {
                let moved = several.in_flight.iter_mut().filter(|place| **place == last);
                moved.for_each(|place| *place = at);
            }
            self.place(at);
        }
        Some((removed.session, removed.held))
    }

    /// Keeps a connect that is held with its session; gives back the one that has no session here:
    /// this one, or the one before it.
    pub(super) fn hold(&mut self, exchange: Exchange) -> Option<Exchange> {
        let last = self.entries.len().saturating_sub(1);
        let places = [
            Some(last),
            exchange.held_by().map(|handle| handle.key as usize),
        ];
        for at in places.into_iter().flatten() {
            if let Some(entry) = self.entries.get_mut(at) {
                if entry.session.has_held(&exchange) {
                    let before = entry.held.replace(Box::new(exchange));
                    return before.map(|before| *before);
                }
            }
        }
        Some(exchange)
    }

    /// Whether a connect is held for the only session, or for the first of several.
    pub(super) fn holds(&self) -> bool {
        self.entries
            .first()
            .is_some_and(|entry| entry.held.is_some())
    }

    /// Begins to look at those that something may have happened to; how many those are.
    pub(super) fn changed(&mut self) -> usize {
        let Some(several) = &mut self.several else {
            return self.entries.len();
        };
        let mut places = several.changed.places.lock();
        several.todo.extend(places.drain(..).map(|at| at as usize));
        if places.capacity() > KEPT {
            *places = Vec::new();
        }
        drop(places);
        several.todo.len()
    }

    /// The place of the next of them.
    pub(super) fn next_changed(&mut self) -> Option<usize> {
        match &mut self.several {
            Some(several) => several.todo.pop_front(),
            None => Some(0),
        }
    }

    /// Leaves one for later.
    pub(super) fn put_off(&mut self, at: usize) {
        if let Some(several) = &mut self.several {
            several.todo.push_front(at);
        }
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut Attachment> {
        self.entries.get_mut(at).map(|entry| &mut entry.session)
    }

    /// There are messages of that one in flight from now on.
    pub(super) fn begin_flight(&mut self, at: usize) {
        if let Some(several) = &mut self.several {
            several.in_flight.push(at);
        }
    }

    /// The connect of that one may be answered.
    pub(super) fn may_answer(&mut self, at: usize) {
        match &mut self.several {
            Some(several) => several.answerable.push(at),
            None => self.may_be_answered = true,
        }
    }

    /// Has the next connect looked at that may be answered; `None` when there is none any more.
    pub(super) fn poll<T>(
        &mut self,
        mut look: impl FnMut(&mut Exchange) -> Option<T>,
    ) -> Option<T> {
        loop {
            let at = match &mut self.several {
                Some(several) => several.answerable.pop()?,
                None if mem::take(&mut self.may_be_answered) => 0,
                None => return None,
            };
            let entry = self.entries.get_mut(at);
            let answered = entry.and_then(|entry| {
                let answer = look(entry.held.as_mut()?)?;
                entry.held = None;
                Some(answer)
            });
            if answered.is_some() {
                return answered;
            }
        }
    }

    /// What is in flight.
    pub(super) fn in_flight(&mut self) -> impl Iterator<Item = &mut InFlight> {
        let several = self.several.as_mut().map(|several| {
            several.in_flight.sort_unstable();
            several.in_flight.dedup();
            several.in_flight.as_slice()
        });
        let places = several.unwrap_or(&[0]);
        let (mut entries, mut next) = (self.entries.iter_mut(), 0);
        places.iter().filter_map(move |at| {
            let entry = entries.nth(*at - next)?;
            next = at + 1;
            entry.session.in_flight()
        })
    }

    /// Nothing is any more. What has happened to them meanwhile was not looked at.
    pub(super) fn end_flight(&mut self) {
        if let Some(several) = &mut self.several {
            several.todo.extend(several.in_flight.drain(..));
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        let places = match &self.several {
            Some(several) => &several.in_flight[..],
            None => &[0],
        };
        let mut entries = places.iter().filter_map(|at| self.entries.iter().nth(*at));
        entries.any(|entry| entry.session.is_cut())
    }

    /// Whether any has something that was not collected. Looks at all.
    pub(super) fn has_more(&self) -> bool {
        self.entries.iter().any(|entry| entry.session.has_more())
    }
}

/// Room that is kept for places of sessions that were woken together.
const KEPT: usize = 1024;
