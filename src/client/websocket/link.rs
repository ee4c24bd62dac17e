//! What the lanes and their connection know of each other.

use std::collections::VecDeque;
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
    /// Exchanges so far.
    exchanges: u64,
    poll: Waiting,
    send: Waiting,
}

/// The exchange of a lane.
#[derive(Debug, Default)]
struct Waiting {
    /// Which exchange it is, 0 for none.
    number: u64,
    /// Whether the batch was given to the connection.
    sent: bool,
    /// The messages that have no reply yet.
    missing: VecDeque<u64>,
}

impl Link {
    /// An exchange begins. Returns its number.
    pub(super) fn expect(&self, lane: Lane, ids: &[u64]) -> u64 {
        let mut state = self.state.lock();
        state.exchanges += 1;
        let number = state.exchanges;
        *state.of(lane) = Waiting {
            number,
            sent: false,
            missing: ids.iter().copied().collect(),
        };
        number
    }

    /// It is a WebSocket now.
    pub(super) fn opened(&self) {
        self.state.lock().open = true;
    }

    pub(super) fn is_open(&self) -> bool {
        let state = self.state.lock();
        state.open && state.ended.is_none()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ended.is_some()
    }

    /// The batch of that exchange is about to leave. `false`: it must not, for its lane has given
    /// it up and may send it again.
    pub(super) fn sends(&self, lane: Lane, number: u64) -> bool {
        let mut state = self.state.lock();
        let open = state.ended.is_none();
        let waiting = state.of(lane);
        let wanted = open && waiting.number == number;
        waiting.sent |= wanted;
        drop(state);
        self.changed.notify_all();
        wanted
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
    /// steps that may take, and then `network` and `hold` for the replies.
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
            state.of(lane).number = 0;
            return Err(match &state.ended {
                Some(failure) if failure.nothing_sent() => failure.clone(),
                Some(failure) => Failure::Connect(failure.to_string()),
                None => Failure::Connect("not connected in time".into()),
            });
        }
        let incomplete =
            |state: &mut State| state.ended.is_none() && !state.of(lane).missing.is_empty();
        let answering = network.saturating_add(hold);
        self.changed
            .wait_while_for(&mut state, incomplete, answering);
        match &state.ended {
            _ if state.poll_or_send(lane).missing.is_empty() => Ok(()),
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

    fn poll_or_send(&self, lane: Lane) -> &Waiting {
        match lane {
            Lane::Poll => &self.poll,
            Lane::Send => &self.send,
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
        let found = position.and_then(|position| lane.remove(position));
        found.is_some() && lane.is_empty()
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
        let poll = link.expect(Lane::Poll, &[1]);
        let send = link.expect(Lane::Send, &[2, 3]);
        assert!(link.sends(Lane::Poll, poll));
        assert!(link.sends(Lane::Send, send));
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
        let poll = link.expect(Lane::Poll, &[1]);
        let given_up = link.expect(Lane::Send, &[2]);
        assert!(wait(&link, Lane::Send).unwrap_err().nothing_sent());
        let send = link.expect(Lane::Send, &[2]);
        assert!(!link.sends(Lane::Send, given_up), "it would leave twice");
        assert!(link.sends(Lane::Poll, poll));
        let code = Some(1001);
        let closed = Failure::Closed {
            code,
            reason: "bye".into(),
        };
        link.end(closed.clone());
        link.end(Failure::Timeout);
        assert_eq!(wait(&link, Lane::Poll), Err(closed));
        assert!(!link.sends(Lane::Send, send), "it goes to the next one");
        let unsent = wait(&link, Lane::Send).unwrap_err();
        assert!(unsent.nothing_sent() && unsent.to_string().contains("1001: bye"));
        assert!(link.has_ended() && !link.is_open());
    }
}
