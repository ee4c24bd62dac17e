//! A policy that asks a linked process.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::remote::Judgement;
use crate::broker::{Action, AuthRequest, Decision, Policy, Principal};
use crate::link::Handle;

/// Asks the process that exports an alias about every message. What cannot be answered, because
/// nobody exports it or the answer does not come in time, is denied.
pub struct LinkedPolicy {
    node: Handle,
    alias: String,
    timeout: Duration,
    before: Option<Box<dyn Policy>>,
}

impl LinkedPolicy {
    /// Asks `alias`; before that `before`, whose denials are final.
    pub fn new(
        node: Handle,
        alias: &str,
        timeout: Duration,
        before: Option<Box<dyn Policy>>,
    ) -> Self {
        let alias = alias.to_owned();
        Self {
            node,
            alias,
            timeout,
            before,
        }
    }
}

impl fmt::Debug for LinkedPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkedPolicy")
            .field("alias", &self.alias)
            .finish_non_exhaustive()
    }
}

/// A question on the wire; [`Asked`](super::Asked) is how it is read.
#[derive(Serialize)]
struct Asking<'a> {
    action: &'static str,
    client: Option<String>,
    ip: String,
    channel: &'a str,
    subscriptions: Vec<String>,
    data: Option<&'a RawValue>,
    ext: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
}

impl Policy for LinkedPolicy {
    fn authorize(&self, request: &AuthRequest<'_>) -> Decision {
        let before = self.before.as_ref();
        let before = before.filter(|policy| policy.authorizes(request.action));
        let before = before.map(|policy| policy.authorize(request));
        if let Some(denied @ Decision::Deny { .. }) = before {
            return denied;
        }
        let asking = Asking {
            action: action(request.action),
            client: match &request.principal {
                Principal::Session(id) => Some(id.to_string()),
                Principal::Anonymous => None,
            },
            ip: request.peer.ip.to_string(),
            channel: request.channel,
            subscriptions: request
                .subscriptions
                .iter()
                .map(ToString::to_string)
                .collect(),
            data: raw(request.data),
            ext: raw(request.ext),
            id: raw(request.id),
        };
        match self.node.call(&self.alias, "judge", &asking, self.timeout) {
            Ok(Judgement { allow: true, .. }) => Decision::Allow,
            Ok(Judgement { reason, .. }) => Decision::deny(reason),
            Err(error) => {
                log::warn!("the authoriser {} does not answer: {error}", self.alias);
                Decision::deny("authoriser_unavailable")
            }
        }
    }
}

/// JSON as it is; what the broker gives is always valid.
pub(super) fn raw(json: Option<&str>) -> Option<&RawValue> {
    json.and_then(|json| serde_json::from_str(json).ok())
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Handshake => "handshake",
        Action::Connect => "connect",
        Action::Subscribe => "subscribe",
        Action::Unsubscribe => "unsubscribe",
        Action::Disconnect => "disconnect",
        Action::Publish => "publish",
        Action::Call => "call",
    }
}
