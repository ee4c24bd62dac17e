//! The part of the model that makes requests, and is told what came of them.
//!
//! The answer to a request over HTTP comes as a whole. What goes through a WebSocket is told piece
//! by piece: it opened, a request departs, messages came, it closed.

use std::time::{Duration, Instant};

use super::Model;
use crate::client::error::{Error, Failure};
use crate::client::event::{Event, State};
use crate::client::message::Message;
use crate::client::session::Step;
use crate::client::transport::Transport;
use crate::client::wire;
use crate::clock::later;
use crate::protocol::json;

/// The two sequences of requests. Each has at most one under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// Handshakes and connects.
    Connect,
    /// Everything else.
    Send,
}

/// A request to carry out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) exchange: Exchange,
    /// No other has it.
    pub(crate) number: u64,
    /// An array of messages as JSON.
    pub(crate) body: String,
    /// A handshake, whose body is up to the driver, who knows the credentials.
    pub(crate) handshake: Option<Handshake>,
    /// How long the answer may take besides what the network takes.
    pub(crate) hold: Duration,
    /// The WebSocket to send it through, to be opened if that number is new. `None`: by HTTP.
    pub(crate) socket: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) id: u64,
    pub(crate) offer: &'static [Transport],
}

/// What the server answered to a request over HTTP.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// In their order.
    pub(crate) messages: Vec<Message>,
    /// How long the server wants to be left alone.
    pub(crate) pause: Option<Duration>,
}

/// A request that is carried out.
#[derive(Debug)]
pub(super) struct UnderWay {
    number: u64,
    hold: Duration,
    socket: Option<u64>,
    /// Whether it was given to its WebSocket.
    sent: bool,
    /// Only through a WebSocket: HTTP keeps its own.
    deadline: Option<Instant>,
}

/// The WebSocket that there is, or is about to be.
#[derive(Debug)]
pub(super) struct Socket {
    number: u64,
    open: bool,
}

impl Model {
    /// What is to be sent now, if anything. To be asked after [`Self::expire`].
    pub(crate) fn next(&mut self, now: Instant, exchange: Exchange) -> Option<Request> {
        if self.ended.is_some() {
            return None;
        }
        let (mut body, mut handshake, mut hold) = (String::new(), None, Duration::ZERO);
        match exchange {
            Exchange::Send => {
                let client_id = self.session.open();
                body = self.outbox.take(now, client_id, &self.options)?;
            }
            Exchange::Connect => {
                let step = self.session.next(now)?;
                let id = self.ids.next();
                self.connect_id = id;
                match step {
                    Step::Handshake => {
                        let offer = self.fallback.offer();
                        handshake = Some(Handshake { id, offer });
                    }
                    Step::Connect {
                        probe,
                        ext,
                        hold: held,
                    } => {
                        body = self.connect(probe, ext.as_deref());
                        hold = held;
                    }
                }
            }
        }
        let (number, socket) = self.depart(now, exchange, hold);
        Some(Request {
            exchange,
            number,
            body,
            handshake,
            hold,
            socket,
        })
    }

    /// When to ask [`Self::expire`] and [`Self::next`] again, if nothing happens before.
    pub(crate) fn due(&self, exchange: Exchange) -> Option<Instant> {
        match (&self.under_way[exchange as usize], exchange) {
            (Some(request), _) => request.deadline,
            (None, Exchange::Connect) => self.session.due(),
            (None, Exchange::Send) => self.outbox.due().filter(|_| self.session.open().is_some()),
        }
    }

    /// Whether who sleeps until [`Self::due`] is to ask again.
    pub(crate) fn is_wanted(&self, exchange: Exchange) -> bool {
        let waits = match exchange {
            Exchange::Connect => self.session.due().is_some(),
            Exchange::Send => self.outbox.is_waiting(),
        };
        waits || self.ended.is_some()
    }

    /// The request over HTTP is over; or there is none, for want of credentials.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        exchange: Exchange,
        answer: Result<Answer, Error>,
    ) {
        match answer {
            Ok(Answer { messages, pause }) => {
                self.receive(now, &messages);
                self.finish(now, exchange, Ok(()), pause);
            }
            Err(error) => self.finish(now, exchange, Err(error), None),
        }
    }

    /// The WebSocket of that number can be used.
    pub(crate) fn opened(&mut self, now: Instant, number: u64) {
        if let Some(socket) = self.socket.as_mut().filter(|one| one.number == number) {
            socket.open = true;
            let network = self.options.network_timeout;
            for request in self.under_way.iter_mut().flatten() {
                if request.socket == Some(number) {
                    request.deadline = Some(later(now, network.saturating_add(request.hold)));
                }
            }
        }
    }

    /// The request is about to leave through the WebSocket. `false`: it must not, for it was given
    /// up and may be sent again.
    pub(crate) fn departs(&mut self, number: u64) -> bool {
        let open = self.ended.is_none();
        let mut requests = self.under_way.iter_mut().flatten();
        let request = requests.find(|one| open && one.number == number);
        request.is_some_and(|request| {
            request.sent = true;
            true
        })
    }

    /// Messages that came through a WebSocket, in their order.
    pub(crate) fn received(&mut self, now: Instant, messages: &[Message]) {
        self.receive(now, messages);
        let [connect, send] = [0, 1].map(|exchange: usize| {
            let request = self.under_way[exchange].as_ref();
            request.is_some_and(|request| request.socket.is_some())
        });
        if connect && self.session.is_answered() {
            self.finish(now, Exchange::Connect, Ok(()), None);
        }
        if send && self.outbox.is_answered() {
            self.finish(now, Exchange::Send, Ok(()), None);
        }
    }

    /// The WebSocket of that number is over.
    pub(crate) fn closed(&mut self, now: Instant, number: u64, failure: &Failure) {
        if self.socket.as_ref().is_some_and(|one| one.number == number) {
            self.socket = None;
            // Unless the session goes by HTTP, as the server wants it.
            if self.fallback.current() == Transport::WebSocket {
                let error = Error::Failed(failure.clone());
                let change = self.session.interrupted(now, error);
                self.apply(change);
            }
        }
        for exchange in [Exchange::Connect, Exchange::Send] {
            let request = self.under_way[exchange as usize].as_ref();
            let Some(request) = request.filter(|one| one.socket == Some(number)) else {
                continue;
            };
            let failure = match failure {
                // It had left before: whatever ended the connection, this may have arrived.
                Failure::Connect(why) if request.sent => {
                    Failure::Io(std::io::ErrorKind::NotConnected, why.clone())
                }
                failure if request.sent || failure.nothing_sent() => failure.clone(),
                failure => Failure::Connect(failure.to_string()),
            };
            self.finish(now, exchange, Err(Error::Failed(failure)), None);
        }
    }

    /// A request leaves now. Returns its number, and the WebSocket that it takes.
    fn depart(&mut self, now: Instant, exchange: Exchange, hold: Duration) -> (u64, Option<u64>) {
        self.requests += 1;
        let (mut socket, mut deadline) = (None, None);
        if self.fallback.current() == Transport::WebSocket {
            let (network, sockets) = (self.options.network_timeout, &mut self.sockets);
            let current = self.socket.get_or_insert_with(|| {
                *sockets += 1;
                let (number, open) = (*sockets, false);
                Socket { number, open }
            });
            // Opening takes at most three steps, from where the wait for the answer begins anew.
            let wait = match current.open {
                true => network.saturating_add(hold),
                false => network.saturating_mul(3),
            };
            socket = Some(current.number);
            deadline = Some(later(now, wait));
        }
        self.under_way[exchange as usize] = Some(UnderWay {
            number: self.requests,
            hold,
            socket,
            sent: false,
            deadline,
        });
        (self.requests, socket)
    }

    /// Gives up what has waited too long. Says whether there was any.
    pub(crate) fn expire(&mut self, now: Instant, exchange: Exchange) -> bool {
        let expired = |one: &&UnderWay| one.deadline.is_some_and(|deadline| deadline <= now);
        let request = self.under_way[exchange as usize].as_ref();
        match request.filter(expired).map(|one| (one.sent, one.socket)) {
            // A connection on which the connect is not answered is dead, whatever TCP says.
            Some((true, Some(socket))) if exchange == Exchange::Connect => {
                self.closed(now, socket, &Failure::Timeout);
            }
            Some((sent, _)) => {
                let failure = match sent {
                    true => Failure::Timeout,
                    false => Failure::Connect("not connected in time".into()),
                };
                self.finish(now, exchange, Err(Error::Failed(failure)), None);
            }
            None => return false,
        }
        true
    }

    /// The request is over, and all messages of its answer are received. `pause`: the server asked
    /// to be left alone so long.
    fn finish(
        &mut self,
        now: Instant,
        exchange: Exchange,
        result: Result<(), Error>,
        pause: Option<Duration>,
    ) {
        self.under_way[exchange as usize] = None;
        let failure = match &result {
            Err(Error::Failed(failure)) => Some(failure.clone()),
            Err(other) => Some(Failure::Protocol(other.to_string())),
            Ok(()) => None,
        };
        let pause = pause.or(failure.as_ref().and_then(Failure::retry_after));
        if exchange == Exchange::Send {
            self.outbox.finish(now, failure.map_or(Ok(()), Err), pause);
            return self.take_reports();
        }
        if let Some(failure) = failure {
            if self.fallback.fall_back(&failure) && self.session.again(now) {
                let error = Error::Failed(failure);
                return self.subscriptions.emit(&Event::FellBack { error });
            }
        }
        let change = self.session.finish(now, result, pause);
        self.apply(change);
        if self.session.state() == State::Handshaking {
            self.fallback.begin();
        }
    }

    fn connect(&self, probe: bool, ext: Option<&str>) -> String {
        let client_id = json::string(self.session.client_id().unwrap_or_default());
        let fields = [
            ("clientId", Some(&*client_id)),
            ("id", Some(&*json::string(&self.connect_id.to_string()))),
            (
                "connectionType",
                Some(&*json::string(self.fallback.current().name())),
            ),
            ("advice", probe.then_some("{\"timeout\":0}")),
            ("ext", ext),
        ];
        wire::single("/meta/connect", &fields)
    }
}
