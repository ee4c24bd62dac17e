//! The error texts of replies: `code:arguments:text`, in one table.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

/// The `error` of a reply, such as `402::session_unknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorText(Cow<'static, str>);

impl ErrorText {
    /// The text as it goes on the wire, before JSON escaping.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The code that it begins with: one of 301, 400, 402, 403, 404, 405, 409, 500 and 503.
    pub fn code(&self) -> u16 {
        let code = self.0.split(':').next().and_then(|code| code.parse().ok());
        code.expect("because every error of the table begins with a number")
    }

    /// Its last part, which says what is wrong without repeating what a peer has sent.
    pub fn text(&self) -> &str {
        self.0.rsplit(':').next().unwrap_or_default()
    }
}

/// The codes that errors begin with, in rising order.
pub(crate) const ERROR_CODES: [u16; 9] = [301, 400, 402, 403, 404, 405, 409, 500, 503];

impl Deref for ErrorText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! errors {
    ($( $(#[$doc:meta])* $name:ident $(($arg:ident))? = $code:literal $text:literal; )*) => {
        $( errors!(@one $(#[$doc])* $name $(($arg))? = $code $text); )*
    };
    (@one $(#[$doc:meta])* $name:ident = $code:literal $text:literal) => {
        $(#[$doc])*
        pub(crate) fn $name() -> ErrorText {
            ErrorText(Cow::Borrowed(concat!($code, "::", $text)))
        }
    };
    (@one $(#[$doc:meta])* $name:ident($arg:ident) = $code:literal $text:literal) => {
        $(#[$doc])*
        pub(crate) fn $name($arg: &str) -> ErrorText {
            with_argument($code, $arg, $text)
        }
    };
}

errors! {
    /// Handshake: none of the client's connection types is offered here.
    connection_types_unsupported(types) = "301" "connection_types_unsupported";
    /// The message has no channel.
    channel_missing = "400" "channel_missing";
    /// A known field has the wrong type.
    invalid_field(field) = "400" "invalid_field";
    /// A known field is there twice.
    duplicate_field(field) = "400" "duplicate_field";
    /// No such session.
    session_unknown = "402" "session_unknown";
    /// A field that the message must have is not there.
    missing_parameter(field) = "402" "missing_parameter";
    /// (Un)subscribe without `subscription`.
    subscription_missing = "403" "subscription_missing";
    /// `subscription` is neither a pattern nor an array of patterns.
    subscription_invalid = "403" "subscription_invalid";
    /// Not done: handshake.
    handshake_denied(reason) = "403" "handshake_denied";
    /// Not done: connect.
    connect_denied(reason) = "403" "connect_denied";
    /// Not done: subscribe.
    subscribe_denied(reason) = "403" "subscribe_denied";
    /// Not done: unsubscribe.
    unsubscribe_denied(reason) = "403" "unsubscribe_denied";
    /// Not done: disconnect.
    disconnect_denied(reason) = "403" "disconnect_denied";
    /// Not done: publish, to a service too.
    publish_denied(reason) = "403" "publish_denied";
    /// Not done: a message would have created the channel.
    channel_create_denied(reason) = "403" "channel_create_denied";
    /// An extension or a listener took the message out.
    message_deleted = "404" "message_deleted";
    /// Nobody serves that channel.
    unknown_service(channel) = "404" "unknown_service";
    /// The channel is no valid name to send to.
    channel_invalid = "405" "channel_invalid";
    /// The id is neither a short string nor an integer.
    message_id_invalid = "405" "message_id_invalid";
    /// A newer connect of the session took over.
    connect_superseded = "409" "connect_superseded";
    /// The handler failed.
    service_failed(channel) = "500" "service_failed";
    /// No room for another session.
    session_limit = "503" "session_limit";
    /// The address holds enough connects.
    held_limit = "503" "held_limit";
    /// The server is about to stop.
    draining = "503" "draining";
    /// The handler has more to do than it can keep.
    busy(channel) = "503" "busy";
}

/// Arguments come from peers in part, so there is an end to them, in bytes.
const MAX_ARGUMENT: usize = 256;

fn with_argument(code: &str, argument: &str, text: &str) -> ErrorText {
    let mut end = argument.len().min(MAX_ARGUMENT);
    while !argument.is_char_boundary(end) {
        end -= 1;
    }
    // The parts of an error are told apart by the colon.
    let argument = argument[..end].replace(':', " ");
    ErrorText(Cow::Owned(format!("{code}:{argument}:{text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_per_error() {
        let table = [
            (
                connection_types_unsupported("a,b"),
                "301:a,b:connection_types_unsupported",
            ),
            (channel_missing(), "400::channel_missing"),
            (invalid_field("channel"), "400:channel:invalid_field"),
            (duplicate_field("id"), "400:id:duplicate_field"),
            (session_unknown(), "402::session_unknown"),
            (missing_parameter("data"), "402:data:missing_parameter"),
            (subscription_missing(), "403::subscription_missing"),
            (subscription_invalid(), "403::subscription_invalid"),
            (handshake_denied(""), "403::handshake_denied"),
            (connect_denied("x"), "403:x:connect_denied"),
            (
                subscribe_denied("too_many"),
                "403:too_many:subscribe_denied",
            ),
            (unsubscribe_denied("x"), "403:x:unsubscribe_denied"),
            (disconnect_denied("x"), "403:x:disconnect_denied"),
            (publish_denied("read_only"), "403:read_only:publish_denied"),
            (channel_create_denied("x"), "403:x:channel_create_denied"),
            (message_deleted(), "404::message_deleted"),
            (
                unknown_service("/service/a"),
                "404:/service/a:unknown_service",
            ),
            (channel_invalid(), "405::channel_invalid"),
            (message_id_invalid(), "405::message_id_invalid"),
            (connect_superseded(), "409::connect_superseded"),
            (
                service_failed("/service/a"),
                "500:/service/a:service_failed",
            ),
            (session_limit(), "503::session_limit"),
            (held_limit(), "503::held_limit"),
            (draining(), "503::draining"),
            (busy("/service/a"), "503:/service/a:busy"),
        ];
        for (error, expected) in table {
            assert_eq!(error.as_str(), expected);
            assert_eq!(error.splitn(3, ':').count(), 3, "{error}");
            assert!(ERROR_CODES.contains(&error.code()), "{error}");
            assert!(expected.ends_with(&format!(":{}", error.text())), "{error}");
        }
        assert!(ERROR_CODES.is_sorted());
    }

    #[test]
    fn arguments_are_bounded_and_have_no_colons() {
        assert_eq!(
            publish_denied("a:b::c").as_str(),
            "403:a b  c:publish_denied"
        );
        let long = connection_types_unsupported(&"\u{20ac}".repeat(1000));
        assert_eq!(long.len(), "301::connection_types_unsupported".len() + 255);
    }
}
