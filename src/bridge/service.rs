//! A service whose handler is in a linked process.

use std::time::Duration;

use serde::Serialize;
use serde_json::Map;
use serde_json::value::RawValue;

use super::SERVICE;
use super::policy::raw;
use crate::broker::{Service, ServiceCall, ServiceError, ServiceReply};
use crate::link::Handle;

/// How long a linked process may take for a call.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct LinkedService {
    pub(super) node: Handle,
    pub(super) alias: String,
}

/// A call on the wire; [`Request`](super::Request) is how it is read.
#[derive(Serialize)]
struct Calling<'a> {
    channel: &'a str,
    client: Option<String>,
    ip: String,
    data: Option<&'a RawValue>,
    ext: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
}

impl Service for LinkedService {
    fn call(&self, call: &ServiceCall<'_>) -> Result<Vec<ServiceReply>, ServiceError> {
        let calling = Calling {
            channel: call.channel.as_str(),
            client: call.client.as_ref().map(ToString::to_string),
            ip: call.peer.ip.to_string(),
            data: raw(Some(call.data)),
            ext: raw(call.ext),
            id: raw(call.id),
        };
        let failed = |error| ServiceError(format!("{}: {error}", self.alias));
        let replies: Vec<Map<String, serde_json::Value>> = self
            .node
            .call(&self.alias, "call", &calling, TIMEOUT)
            .map_err(failed)?;
        let reply = |fields: Map<_, _>| {
            let empty = ServiceReply::default();
            fields
                .into_iter()
                .try_fold(empty, |reply, (name, value)| reply.field(name, &value))
        };
        replies.into_iter().map(reply).collect()
    }
}

/// The channel of the service that an alias stands for.
pub(super) fn channel_of(alias: &str) -> Option<String> {
    let name = alias.strip_prefix(SERVICE)?;
    Some(format!("/service/{}", name.replace(':', "/")))
}
