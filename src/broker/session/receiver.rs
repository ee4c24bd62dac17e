//! The receiver that takes a session's messages as they come, from the side of the session.

use std::sync::Arc;

use super::State;
use crate::broker::receiver::{Ended, Kind, Receiver};
use crate::protocol::Publication;
use crate::transport::ConnectionHandle;

impl State {
    /// Attaches a receiver that takes messages as they come. Returns its number, and the one whose
    /// place it took, which is to be woken.
    pub(crate) fn attach(
        &mut self,
        connection: &ConnectionHandle,
        kind: Kind,
        delivers: bool,
    ) -> (u64, Option<ConnectionHandle>) {
        let older = self.take_back();
        self.numbers += 1;
        self.receiver = Some(Receiver {
            number: self.numbers,
            connection: connection.clone(),
            kind,
            delivers,
        });
        self.update_wake_target();
        if self.is_kept_alive() {
            self.expires = None;
        }
        (self.numbers, older)
    }

    /// The receiver of that number is woken by this handle of its connection from now on.
    pub(crate) fn wake_by(&mut self, number: u64, handle: &ConnectionHandle) {
        let mine = self.receiver.as_mut();
        let Some(receiver) = mine.filter(|receiver| receiver.number == number) else {
            return;
        };
        receiver.connection = handle.clone();
        let held = self.hold.as_mut().map(|hold| &mut hold.connection);
        if let Some(held) = held.filter(|held| held.same(handle)) {
            *held = handle.clone();
        }
        self.update_wake_target();
    }

    /// The handle by which the session wakes that connection.
    pub(crate) fn handle_of(&self, connection: &ConnectionHandle) -> ConnectionHandle {
        let receiver = self.receiver.as_ref().map(|receiver| &receiver.connection);
        let known = receiver.filter(|handle| handle.same(connection));
        known.unwrap_or(connection).clone()
    }

    /// From now on messages leave with connects. Returns the receiver until now, to be woken.
    pub(crate) fn take_back(&mut self) -> Option<ConnectionHandle> {
        self.woken = false;
        let older = self.receiver.take()?;
        self.update_wake_target();
        Some(older.connection)
    }

    /// The receiver of that number has gone; returns of what kind it was, if it was the one at
    /// present.
    pub(crate) fn detach(&mut self, number: u64) -> Option<Kind> {
        let mine = self
            .receiver
            .take_if(|receiver| receiver.number == number)?;
        self.update_wake_target();
        self.woken = false;
        Some(mine.kind)
    }

    /// Whether the connection is the receiver already.
    pub(crate) fn is_attached_to(&self, connection: &ConnectionHandle) -> bool {
        let receiver = self.receiver.as_ref();
        receiver.is_some_and(|receiver| receiver.connection.same(connection))
    }

    /// Why the receiver of that number is it no more.
    pub(crate) fn ended(&self, number: u64) -> Option<Ended> {
        let mine = self.receiver.as_ref();
        let mine = mine.is_some_and(|receiver| receiver.number == number);
        let has_more = self.parting && mine && self.queue.len() > 0;
        if let Some(reason) = self.gone.filter(|_| !has_more) {
            return Some(Ended::Gone { reason });
        }
        match &self.receiver {
            Some(_) if mine => None,
            Some(_) => Some(Ended::TakenOver),
            None => Some(Ended::Released),
        }
    }

    /// Whether anything may have happened to a held connect since the receiver last asked.
    pub(crate) fn take_hold_changed(&mut self) -> bool {
        std::mem::take(&mut self.hold_changed) || !self.is_streaming()
    }

    /// Takes messages for the receiver, if there are any for it.
    pub(crate) fn collect(
        &mut self,
        budget: usize,
        out: &mut Vec<Arc<Publication>>,
    ) -> Option<u64> {
        let receiver = self
            .receiver
            .as_ref()
            .filter(|receiver| receiver.delivers)?;
        self.woken = false;
        if !self.ready() {
            return None;
        }
        let connection = receiver.connection.clone();
        Some(self.begin_write(&connection, budget, out))
    }

    /// Whether there is a stream of events.
    pub(crate) fn has_events(&self) -> bool {
        let receiver = self.receiver.as_ref();
        receiver.is_some_and(|receiver| receiver.kind == Kind::Events)
    }

    pub(super) fn is_kept_alive(&self) -> bool {
        let receiver = self.receiver.as_ref();
        receiver.is_some_and(|receiver| receiver.kind != Kind::Socket)
    }

    /// Whether messages leave by a receiver, and not with responses.
    pub(crate) fn is_streaming(&self) -> bool {
        self.receiver
            .as_ref()
            .is_some_and(|receiver| receiver.delivers)
    }
}
