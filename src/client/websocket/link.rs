//! What the lanes and their connection know of each other.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::super::error::Failure;
use super::super::machine::Lane;
use super::super::message::Message;

/// One connection, as the lanes see it.
#[derive(Debug, Default)]
pub(super) struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    ended: Option<Failure>,
    poll: Waiting,
    send: Waiting,
}

/// The exchange of a lane.
#[derive(Debug, Default)]
struct Waiting {
    /// Whether the batch was given to the connection.
    sent: bool,
    /// The messages that have no reply yet.
    missing: Vec<u64>,
}

impl Link {
    /// An exchange begins.
    pub(super) fn expect(&self, lane: Lane, ids: &[u64]) {
        *self.state.lock().of(lane) = Waiting {
            sent: false,
            missing: ids.to_vec(),
        };
    }

    /// It is a WebSocket now.
    pub(super) fn opened(&self) {
        self.state.lock().open = true;
    }

    pub(super) fn is_open(&self) -> bool {
        let state = self.state.lock();
        state.open && state.ended.is_none()
    }

    /// Whether it ever was a WebSocket.
    pub(super) fn was_open(&self) -> bool {
        self.state.lock().open
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ended.is_some()
    }

    /// The lane's batch is to leave now. Says whether it may: not after the lane was told that it
    /// did not.
    pub(super) fn leaves(&self, lane: Lane) -> bool {
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return false;
        }
        state.of(lane).sent = true;
        self.changed.notify_all();
        true
    }

    /// Messages came, and have been received.
    pub(super) fn received(&self, messages: &[Message]) {
        let mut state = self.state.lock();
        let mut complete = false;
        for message in messages.iter().filter(|message| is_reply(message)) {
            complete |= state.reply(message);
        }
        if complete {
            self.changed.notify_all();
        }
    }

    /// The connection is over; the first reason counts.
    pub(super) fn end(&self, failure: Failure) {
        self.state.lock().ended.get_or_insert(failure);
        self.changed.notify_all();
    }

    /// Waits until all replies have come: `network` for the batch to leave, for each of the three
    /// steps that may take, and then `network` and `hold` for the replies. A connection on which
    /// the batch cannot leave in time is over: whoever sends it again must be sure of that.
    pub(super) fn wait(
        &self,
        lane: Lane,
        network: Duration,
        hold: Duration,
    ) -> Result<(), Failure> {
        let mut state = self.state.lock();
        let unsent = |state: &mut State| state.ended.is_none() && !state.of(lane).sent;
        let connecting = network.saturating_mul(3);
        self.changed.wait_while_for(&mut state, unsent, connecting);
        if !state.of(lane).sent {
            let late = || Failure::Connect("not connected in time".into());
            let failure = state.ended.get_or_insert_with(late).clone();
            self.changed.notify_all();
            return Err(match failure.nothing_sent() {
                true => failure,
                false => Failure::Connect(failure.to_string()),
            });
        }
        let incomplete =
            |state: &mut State| state.ended.is_none() && !state.of(lane).missing.is_empty();
        let answering = network.saturating_add(hold);
        self.changed
            .wait_while_for(&mut state, incomplete, answering);
        let complete = state.of(lane).missing.is_empty();
        match &state.ended {
            _ if complete => Ok(()),
            // It had left before: whatever ended the connection, this may have arrived.
            Some(Failure::Connect(why)) => {
                Err(Failure::Io(std::io::ErrorKind::NotConnected, why.clone()))
            }
            Some(failure) => Err(failure.clone()),
            None => Err(Failure::Timeout),
        }
    }
}

impl State {
    fn of(&mut self, lane: Lane) -> &mut Waiting {
        match lane {
            Lane::Poll => &mut self.poll,
            Lane::Send => &mut self.send,
        }
    }

    /// Says whether it was the last one that a lane was waiting for.
    fn reply(&mut self, message: &Message) -> bool {
        let lane = match message.channel() {
            "/meta/handshake" | "/meta/connect" => &mut self.poll.missing,
            _ => &mut self.send.missing,
        };
        let position = match message.id() {
            Some(id) => lane.iter().position(|one| id.parse() == Ok(*one)),
            // A server that does not echo the id answers in order.
            None => (!lane.is_empty()).then_some(0),
        };
        position.map(|position| lane.remove(position)).is_some() && lane.is_empty()
    }
}

/// Not what a service says, which may have the id of what it answers.
fn is_reply(message: &Message) -> bool {
    let meta = message.channel().starts_with("/meta/");
    message.successful().is_some() && (meta || !message.has_data())
}

#[cfg(test)]
mod tests {
    use super::super::super::wire;
    use super::*;

    const SOON: Duration = Duration::from_millis(5);

    fn received(link: &Link, messages: &str) {
        link.received(&wire::decode(messages.as_bytes()).unwrap());
    }

    fn wait(link: &Link, lane: Lane) -> Result<(), Failure> {
        link.wait(lane, SOON, Duration::ZERO)
    }

    #[test]
    fn an_exchange_ends_with_its_last_reply() {
        let link = Link::default();
        link.expect(Lane::Poll, &[1]);
        link.expect(Lane::Send, &[2, 3]);
        assert!(link.leaves(Lane::Poll) && link.leaves(Lane::Send));
        received(
            &link,
            r#"[{"channel":"/a","successful":true,"id":"2"},{"channel":"/a","data":1,"id":"3"},
            {"channel":"/service/a","data":1,"id":"3","successful":true},
            {"channel":"/a","successful":true,"id":"1"}]"#,
        );
        assert_eq!(wait(&link, Lane::Send), Err(Failure::Timeout));
        received(&link, r#"[{"channel":"/b","successful":false,"id":3}]"#);
        assert_eq!(wait(&link, Lane::Send), Ok(()));
        assert_eq!(wait(&link, Lane::Poll), Err(Failure::Timeout));
        received(&link, r#"{"channel":"/meta/connect","successful":true}"#);
        assert_eq!(wait(&link, Lane::Poll), Ok(()));
    }

    #[test]
    fn what_did_not_leave_may_be_sent_again() {
        let link = Link::default();
        link.expect(Lane::Poll, &[1]);
        link.expect(Lane::Send, &[2]);
        assert!(link.leaves(Lane::Poll));
        let code = Some(1001);
        let closed = Failure::Closed {
            code,
            reason: "bye".into(),
        };
        link.end(closed.clone());
        link.end(Failure::Timeout);
        assert_eq!(wait(&link, Lane::Poll), Err(closed));
        let unsent = wait(&link, Lane::Send).unwrap_err();
        assert!(unsent.nothing_sent() && unsent.to_string().contains("1001: bye"));
        assert!(link.has_ended() && !link.is_open());
    }

    #[test]
    fn what_was_given_up_does_not_leave_later() {
        let link = Link::default();
        link.expect(Lane::Poll, &[1]);
        link.expect(Lane::Send, &[2]);
        assert!(wait(&link, Lane::Send).unwrap_err().nothing_sent());
        link.opened();
        assert!(!link.leaves(Lane::Send), "it is sent again elsewhere");
        assert!(!link.leaves(Lane::Poll), "this one will be");
        assert!(wait(&link, Lane::Poll).unwrap_err().nothing_sent());
        assert!(link.has_ended() && !link.is_open());
    }
}
