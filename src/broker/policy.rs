//! Who may do what: one question for every kind of message.

use std::fmt;

use super::flags::Flags;
use crate::protocol::{Advice, ClientId, Message, Pattern, Target};
use crate::transport::Peer;

/// Decides about every message of remote clients.
///
/// Called on a worker thread, never with a lock held; it may block, and holds up only the client
/// that asked. A panic counts as a denial.
pub trait Policy: Send + Sync + 'static {
    /// May this be done? What is denied is not done, and leaves no trace but the reply.
    fn authorize(&self, request: &AuthRequest<'_>) -> Decision;

    /// Which kinds of message it judges; others are allowed without a detour over a worker thread.
    /// Asked once for each kind, when the broker starts. Default: all.
    fn authorizes(&self, _action: Action) -> bool {
        true
    }
}

impl<F> Policy for F
where
    F: Fn(&AuthRequest<'_>) -> Decision + Send + Sync + 'static,
{
    fn authorize(&self, request: &AuthRequest<'_>) -> Decision {
        self(request)
    }
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Get a session.
    Handshake,
    /// Poll, or hold a connect.
    Connect,
    /// Receive what is published on channels.
    Subscribe,
    /// Receive it no longer.
    Unsubscribe,
    /// End the session.
    Disconnect,
    /// Publish on a broadcast channel.
    Publish,
    /// Call a service.
    Call,
}

impl Action {
    /// Whether it is about a session, not a message for others: all but publishing and calling.
    pub fn is_meta(self) -> bool {
        !matches!(self, Self::Publish | Self::Call)
    }

    const ALL: [Self; 7] = [
        Self::Handshake,
        Self::Connect,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Disconnect,
        Self::Publish,
        Self::Call,
    ];

    /// What a message to there wants to do. `None`: nothing that is judged.
    pub(crate) fn of(target: &Target) -> Option<Self> {
        Some(match target {
            Target::Handshake => Self::Handshake,
            Target::Connect => Self::Connect,
            Target::Subscribe => Self::Subscribe,
            Target::Unsubscribe => Self::Unsubscribe,
            Target::Disconnect => Self::Disconnect,
            Target::Broadcast(_) => Self::Publish,
            Target::Service(_) => Self::Call,
            Target::UnknownMeta(_) => return None,
        })
    }
}

/// The policy, and what it judges.
pub(crate) struct PolicyHook {
    policy: Box<dyn Policy>,
    judged: [bool; Action::ALL.len()],
}

impl PolicyHook {
    pub(crate) fn new(policy: Box<dyn Policy>) -> Self {
        let judged = Action::ALL.map(|action| policy.authorizes(action));
        Self { policy, judged }
    }

    /// The policy, if it judges that.
    pub(crate) fn for_action(&self, action: Action) -> Option<&dyn Policy> {
        self.judged[action as usize].then_some(&*self.policy)
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody in particular: a handshake, an anonymous publish, a call of an open service.
    Anonymous,
    /// A session.
    Session(ClientId),
}

/// One message, as the policy sees it.
pub struct AuthRequest<'a> {
    /// What is to be done.
    pub action: Action,
    /// Who asks.
    pub principal: Principal,
    /// Where the message came from.
    pub peer: &'a Peer,
    /// The message's channel.
    pub channel: &'a str,
    /// The patterns of a subscribe or unsubscribe.
    pub subscriptions: &'a [Pattern],
    /// The message's `data`, raw JSON.
    pub data: Option<&'a str>,
    /// The message's `ext`, raw JSON. Credentials come here.
    pub ext: Option<&'a str>,
    /// The message's `id`, raw JSON.
    pub id: Option<&'a str>,
    /// The `connectionType` of a connect.
    pub connection_type: Option<&'a str>,
    /// The message's fields that Bayeux does not define.
    pub extra: Extra<'a>,
    /// What hooks remember about the client. Those set while a handshake is judged become the
    /// session's if it is allowed; those of a client without session are forgotten at once.
    pub flags: &'a Flags,
}

/// Without what may be secret: `ext` has credentials, `data` is for the receivers.
impl fmt::Debug for AuthRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthRequest")
            .field("action", &self.action)
            .field("principal", &self.principal)
            .field("peer", &self.peer)
            .field("channel", &self.channel)
            .field("subscriptions", &self.subscriptions)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Fields of a message that Bayeux does not define.
#[derive(Clone, Copy)]
pub struct Extra<'a>(pub(super) Message<'a>);

impl<'a> Extra<'a> {
    /// The value of the first field of that name, raw JSON.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let mut all = self.iter();
        all.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Names and values (raw JSON), in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (String, &'a str)> + use<'a> {
        let fields = self.0.extra();
        fields.filter_map(|(key, value)| Some((serde_json::from_str(key).ok()?, value)))
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// Refuse.
    Deny {
        /// The middle part of the error, as in `403:<reason>:subscribe_denied`; may be empty.
        reason: String,
        /// Advice for the reply; without it a denied handshake is told not to come back.
        advice: Option<Advice>,
    },
}

impl Decision {
    /// Refuses with a reason.
    pub fn deny(reason: impl Into<String>) -> Self {
        Self::Deny {
            reason: reason.into(),
            advice: None,
        }
    }
}

/// What a message listener says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The message goes on.
    Pass,
    /// Nobody gets it; the sender is told `404::message_deleted`.
    Veto,
}
