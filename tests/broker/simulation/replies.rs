//! What goes into the model, what comes out, and what the replies are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use bayeux::Gone;
use bayeux::{BrowserId, Transport};
use bayeux::{ChannelName, Pattern};
use serde_json::{Value, json};

/// A message on its way to receivers.
pub(crate) struct Sent {
    pub(crate) channel: String,
    /// Who published, as the index of a client, and the how manieth of its messages it is.
    pub(crate) publisher: u64,
    pub(crate) number: u64,
    pub(crate) json: Value,
}

impl Sent {
    pub(crate) fn new(channel: &str, data: &Value) -> Rc<Self> {
        Rc::new(Self {
            channel: channel.to_owned(),
            publisher: data[0].as_u64().expect("who published"),
            number: data[1].as_u64().expect("the how manieth"),
            json: json!({"channel": channel, "data": data}),
        })
    }

    /// The last message to whoever is sent away.
    pub(super) fn farewell() -> Rc<Self> {
        Rc::new(Self {
            channel: "/meta/disconnect".to_owned(),
            publisher: u64::MAX,
            number: 1,
            json: json!({"channel": "/meta/disconnect", "successful": true}),
        })
    }

    pub(super) fn size(&self) -> usize {
        self.json.to_string().len()
    }
}

/// What the broker counts.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) received: u64,
    pub(crate) published: u64,
    pub(crate) queued: u64,
    pub(crate) handshakes: u64,
    pub(crate) dropped_oldest: u64,
    pub(crate) dropped_newest: u64,
    pub(crate) dropped_with_session: u64,
    pub(crate) refused: u64,
    pub(crate) ended: BTreeMap<&'static str, u64>,
}

/// A request as it reaches the broker.
pub(crate) struct Request<'a> {
    pub(crate) key: u64,
    pub(crate) messages: &'a [Value],
    pub(crate) transport: Transport,
    pub(crate) browser: Option<BrowserId>,
    pub(crate) owner: IpAddr,
}

/// What is answered; a client id that is not known yet is left out.
#[derive(Default, Debug)]
pub(crate) struct Expected {
    pub(crate) held: bool,
    pub(crate) items: Vec<Value>,
    /// How many of them are in flight.
    pub(crate) messages: usize,
}

pub(super) fn name_of(gone: Gone) -> &'static str {
    match gone {
        Gone::Disconnected => "disconnected",
        Gone::Dismissed => "dismissed",
        Gone::Expired => "expired",
        Gone::Overflowed => "overflowed",
        Gone::Evicted => "evicted",
        Gone::Stopped => "stopped",
    }
}

pub(super) fn matches(subscriptions: &BTreeSet<String>, channel: &str) -> bool {
    let name = ChannelName::try_from(channel).expect("a channel");
    let matching = |text: &String| Pattern::try_from(&**text).is_ok_and(|p| p.matches(&name));
    subscriptions.iter().any(matching)
}

/// The patterns of a subscribe or unsubscribe that are recorded.
pub(super) fn patterns(message: &Value) -> Result<Vec<String>, &'static str> {
    let subscription = &message["subscription"];
    let list = match subscription {
        Value::Null => return Err("403::subscription_missing"),
        Value::Array(list) if list.is_empty() => return Err("403::subscription_invalid"),
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let mut patterns = Vec::new();
    for element in &list {
        let text = element.as_str().unwrap_or_default();
        if Pattern::try_from(text).is_err() {
            return Err("403::subscription_invalid");
        }
        patterns.push(text.to_owned());
    }
    if patterns.iter().any(|text| text.starts_with("/meta")) {
        return Err("403:denied_by_security_policy:subscribe_denied");
    }
    patterns.retain(|text| !text.starts_with("/service"));
    Ok(patterns)
}

pub(super) fn echo(message: &Value) -> Value {
    let mut reply = json!({"channel": message["channel"]});
    let channel = message["channel"].as_str().expect("a channel");
    let handshake = channel == "/meta/handshake";
    let subscribing = channel.ends_with("subscribe");
    for (field, wanted) in [
        ("id", true),
        ("clientId", !handshake),
        ("subscription", subscribing),
    ] {
        if let Some(value) = message.get(field).filter(|_| wanted) {
            reply[field] = value.clone();
        }
    }
    reply
}

pub(super) fn success(message: &Value) -> Value {
    let mut reply = echo(message);
    reply["successful"] = json!(true);
    reply
}

pub(super) fn failure(message: &Value, error: &str) -> Value {
    let mut reply = echo(message);
    reply["successful"] = json!(false);
    reply["error"] = json!(error);
    reply
}

/// What a held connect is told when its session ends.
pub(super) fn farewell(request: &Value, gone: Gone) -> Value {
    let (mut reply, advice) = match gone {
        Gone::Disconnected | Gone::Dismissed => (success(request), json!({"reconnect": "none"})),
        _ => (
            failure(request, "402::session_unknown"),
            json!({"reconnect": "handshake", "interval": 0}),
        ),
    };
    reply["advice"] = advice;
    reply
}
