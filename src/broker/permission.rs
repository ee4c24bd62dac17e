//! What the policy is asked, and what it says.

use super::flags::Flags;
use super::policy::{Action, AuthRequest, Decision, Extra, Principal};
use super::pool::guarded;
use super::request::Run;
use super::session::Session;
use crate::protocol::{Advice, Message, Pattern};

/// What the policy said, when it said no.
pub(super) struct Denied {
    pub(super) reason: String,
    pub(super) advice: Option<Advice>,
}

impl Run {
    /// Asks the policy. Only on a thread that may run user code, or when there is no policy.
    pub(super) fn authorized(
        &self,
        message: Message<'_>,
        action: Action,
        session: Option<&Session>,
        subscriptions: &[Pattern],
    ) -> Result<(), Denied> {
        let nobody = Flags::default();
        let flags = session.map_or(&nobody, |session| &session.flags);
        self.authorized_with(flags, message, action, session, subscriptions)
    }

    /// Asks the policy, with these flags for it to look at and to change. With them is kept what an
    /// allowed message tells extensions.
    #[allow(clippy::too_many_arguments)] // what the request is made of
    pub(super) fn authorized_with(
        &self,
        flags: &Flags,
        message: Message<'_>,
        action: Action,
        session: Option<&Session>,
        subscriptions: &[Pattern],
    ) -> Result<(), Denied> {
        let Some(policy) = self.core.hooks.policy_for(action) else {
            self.remember(flags);
            return Ok(());
        };
        let mut request = self.auth_request(message, action, session, flags);
        request.subscriptions = subscriptions;
        match guarded("the policy", || policy.authorize(&request)) {
            Some(Decision::Allow) => {
                self.remember(flags);
                Ok(())
            }
            Some(Decision::Deny { reason, advice }) => Err(Denied { reason, advice }),
            None => Err(Denied {
                reason: String::new(),
                advice: None,
            }),
        }
    }

    pub(super) fn auth_request<'q>(
        &'q self,
        message: Message<'q>,
        action: Action,
        session: Option<&Session>,
        flags: &'q Flags,
    ) -> AuthRequest<'q> {
        let id = session.and_then(Session::remote_id);
        AuthRequest {
            action,
            principal: id.map_or(Principal::Anonymous, |id| Principal::Session(*id)),
            peer: &self.peer,
            channel: message.target().as_str(),
            subscriptions: &[],
            data: message.data(),
            ext: message.ext(),
            id: message.id(),
            connection_type: message.connection_type(),
            extra: Extra(message),
            flags,
        }
    }
}
