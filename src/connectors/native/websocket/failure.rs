//! Everything that a frame can be refused for: one table with the close code and the reason.

use crate::refusals::Reason;

macro_rules! failures {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $reason:literal;)*) => {
        /// Why a socket cannot go on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Failure {
            $($(#[doc = $doc])* $name,)*
        }

        impl Failure {
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The close code (RFC 6455, 7.4).
            pub(super) fn code(self) -> u16 {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// What it is counted as.
            pub(super) fn counts_as(self) -> Reason {
                match self {
                    Self::TooLarge => Reason::MaxMessage,
                    Self::NotUtf8 => Reason::Messages,
                    _ => Reason::WebSocketFrame,
                }
            }

            /// The reason, for whoever reads the client's log.
            pub(super) fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)*
                }
            }
        }
    };
}

failures! {
    /// A reserved bit is set, and no extension was agreed on.
    ReservedBit = 1002, "a reserved bit is set";
    /// An opcode that is not defined.
    Opcode = 1002, "an unknown opcode";
    /// A frame of the client that is not masked.
    Unmasked = 1002, "a frame is not masked";
    /// A length that is not in its shortest form, or has its highest bit set.
    Length = 1002, "a malformed frame length";
    /// A control frame in fragments.
    FragmentedControl = 1002, "a control frame in fragments";
    /// A control frame with more than 125 bytes.
    LongControl = 1002, "a control frame is too long";
    /// A continuation of nothing.
    Continuation = 1002, "a continuation without a beginning";
    /// A message that begins inside another.
    Interleaved = 1002, "a message inside another";
    /// A close frame with half a code, or with a code that must not be sent.
    CloseCode = 1002, "an invalid close code";
    /// A binary message.
    Binary = 1003, "binary messages are not understood";
    /// A text that is no UTF-8.
    NotUtf8 = 1007, "a text is not UTF-8";
    /// A close frame with a reason that is no UTF-8.
    CloseReason = 1007, "a close reason is not UTF-8";
    /// A message larger than allowed.
    TooLarge = 1009, "the message is too large";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_may_be_sent_and_reasons_fit_into_a_control_frame() {
        for failure in Failure::ALL {
            assert!(matches!(failure.code(), 1002 | 1003 | 1007 | 1009));
            assert!(failure.reason().is_ascii() && (1..=123).contains(&failure.reason().len()));
        }
    }
}
