//! A held connect, from the side of the connection that will answer it.

use std::sync::Arc;

use super::answer::{Answer, Flight};
use super::core::Core;
use super::failures::Lines;
use super::session::{Finish, Gone, Look, Session, State};
use super::stream::Attachment;
use crate::extensions::Heard;
use crate::protocol::{Advice, ClientId, ErrorText, ReplyTo, add_ext, error};
use crate::transport::Link;

/// What a connect reply needs besides the session's state.
pub(crate) struct ConnectTerms {
    /// The raw JSON of the request's id.
    pub(crate) id: Option<Box<str>>,
    /// The interval the client asked for, for this one connect.
    pub(crate) interval_ms: Option<u64>,
    /// The request carried advice, or it was the first connect: the reply carries it too.
    pub(crate) advise: bool,
    /// The session has a stream of events: nothing comes with connects, which need not come often.
    pub(crate) heartbeat: bool,
    /// What extensions keep of the request.
    pub(crate) heard: Option<Box<Heard>>,
}

pub(crate) struct HeldConnect {
    pub(crate) core: Arc<Core>,
    pub(crate) session: Arc<Session>,
    pub(crate) number: u64,
    pub(crate) link: Link,
    pub(crate) terms: ConnectTerms,
    /// The tie that the connect has made, until the connection takes it.
    pub(crate) attached: Option<Box<Attachment>>,
    pub(crate) answered: bool,
}

impl ConnectTerms {
    fn echo<'a>(&'a self, client_id: Option<&'a str>) -> ReplyTo<'a> {
        let id = self.id.as_deref();
        ReplyTo {
            channel_raw: CONNECT,
            id,
            client_id,
            subscription: None,
        }
    }

    /// Appends the reply to a connect that went well. Advice is given when it is due, or when it
    /// is not what the client was last told.
    pub(crate) fn write_success(
        &self,
        core: &Core,
        session: &Session,
        state: &mut State,
        out: &mut Vec<u8>,
    ) {
        let reply = self
            .echo(session.remote_id().map(ClientId::as_str))
            .success(out);
        let advice = if self.heartbeat {
            Advice::retry(core.config.timeout_ms(), 0)
        } else {
            let interval_ms = core.config.interval_ms(self.interval_ms);
            Advice::retry(interval_ms, core.config.timeout_ms())
        };
        if self.advise || state.advised != Some(advice) {
            reply.advice(&advice).finish();
            state.advised = Some(advice);
        }
    }
}

impl HeldConnect {
    /// The answer, if it is time for it.
    pub(crate) fn look(&mut self) -> Option<Answer> {
        let session = Arc::clone(&self.session);
        let mut failures = Lines::default();
        let mut state = session.lock();
        let mut answer = match state.look(self.number) {
            Look::Wait => return None,
            Look::Messages => self.finish(&mut state, None),
            Look::Finished(finish) => self.finish(&mut state, Some(finish)),
            Look::Superseded => {
                let advice = Advice::retry_after(SLOW_RETRY_MS);
                state.advised = Some(advice);
                self.failure(&error::connect_superseded(), &advice, &mut failures)
            }
            Look::Gone(gone) => self.farewell(&mut state, gone, &mut failures),
        };
        let over = state.is_over();
        drop(state);
        failures.write();
        if over {
            self.core.let_go(&self.session);
        }
        self.answered = true;
        if let Some(heard) = self.terms.heard.take() {
            let mut members = Vec::new();
            heard.write(self.core.clock.now(), &mut members);
            if !members.is_empty() {
                add_ext(&mut answer.replies, &members);
            }
        }
        answer.attached.extend(self.attached.take().map(|tie| *tie));
        answer.filtered = self.session.filtered;
        answer.close |= self.core.is_draining();
        Some(answer)
    }

    fn finish(&self, state: &mut State, finish: Option<Finish>) -> Answer {
        state.release(self.number);
        let mut answer = Answer::new(Vec::with_capacity(96));
        let told = state.tells_all(RESPONSE_BYTES);
        let messages = state
            .may_ride()
            .then(|| state.take_off(&self.link, RESPONSE_BYTES, &mut answer.messages));
        answer.flight = Some(Flight::new(
            Arc::clone(&self.core),
            Arc::clone(&self.session),
            messages,
        ));
        let replies = &mut answer.replies;
        if told {
            let reply = self.terms.echo(self.client_id()).success(replies);
            reply.advice(&Advice::none()).finish();
        } else if finish == Some(Finish::Draining) {
            self.terms.echo(self.client_id()).success(replies).finish();
            answer.close = true;
        } else {
            self.terms
                .write_success(&self.core, &self.session, state, replies);
        }
        let lifetime = self.core.config.lifetime(self.terms.interval_ms);
        state.lives_for(lifetime, self.core.clock.now());
        self.core.ticker.schedule(&self.session, state);
        answer
    }

    /// The session ended while its connect was held.
    fn farewell(&self, state: &mut State, gone: Gone, failures: &mut Lines) -> Answer {
        state.release(self.number);
        state.tells_all(RESPONSE_BYTES);
        let mut answer = match gone {
            Gone::Disconnected | Gone::Dismissed => {
                let mut replies = Vec::new();
                let reply = self.terms.echo(self.client_id()).success(&mut replies);
                reply.advice(&Advice::none()).finish();
                Answer::new(replies)
            }
            Gone::Expired | Gone::Overflowed | Gone::Stopped => {
                let (error, advice) = (error::session_unknown(), Advice::handshake(0));
                self.failure(&error, &advice, failures)
            }
        };
        answer.close = gone == Gone::Stopped;
        answer
    }

    fn failure(&self, error: &ErrorText, advice: &Advice, failures: &mut Lines) -> Answer {
        let mut replies = Vec::new();
        let to = self.terms.echo(self.client_id());
        self.core.counters.failed.count(error);
        failures.add(&to, error);
        to.failure(&mut replies, error, Some(advice)).finish();
        Answer::new(replies)
    }

    fn client_id(&self) -> Option<&str> {
        self.session.remote_id().map(ClientId::as_str)
    }
}

impl Drop for HeldConnect {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let now = self.core.clock.now();
        let mut state = self.session.lock();
        if state.release(self.number) {
            let lives = self.core.config.lifetime(self.terms.interval_ms);
            state.lives_for(lives, now);
            self.core.ticker.schedule(&self.session, &mut state);
        }
        let over = state.is_over();
        drop(state);
        if over {
            self.core.let_go(&self.session);
        }
    }
}

/// The most bytes of messages in one response; one message always fits. Stock clients give up
/// above 1 MiB.
pub(crate) const RESPONSE_BYTES: usize = 512 << 10;

/// The wait advised to clients that are too many or too eager.
pub(crate) const SLOW_RETRY_MS: u64 = 2000;
const CONNECT: &str = "\"/meta/connect\"";
