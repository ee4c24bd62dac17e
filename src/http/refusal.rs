//! Why a request is turned down before the broker hears of it: one table, and how often each
//! status was sent.

use super::response::Response;
use crate::counters::Counter;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $name:ident = $status:literal, $text:literal;)*) => {
        /// A reason to refuse. Each has a status and one line of plain text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(in crate::http) enum Refusal {
            $($(#[doc = $doc])* $name,)*
        }

        impl Refusal {
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The HTTP status.
            pub(super) fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// What the client is told.
            pub(super) fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

refusals! {
    /// Neither a path, nor an `http` URL.
    Target = 400, "malformed request target";
    /// A form without a field `message`.
    NoMessage = 400, "the form has no field named message";
    /// One of several `message` fields is no JSON array or object.
    FormField = 400, "a message field holds neither a JSON array nor a JSON object";
    /// The name of the callback is not acceptable.
    Callback = 400, "bad callback name";
    /// The page's origin is neither the server's own nor allowed.
    Origin = 403, "origin not allowed";
    /// A script request that no own or allowed page is seen to make.
    Page = 403, "scripts are for pages of this server or of an allowed origin";
    /// A file that the server may not read.
    Unreadable = 403, "forbidden";
    /// A directory without any of the index files.
    Listing = 403, "Directory listing denied";
    /// No such file.
    NotFound = 404, "not found";
    /// The method is not for this path.
    Method = 405, "method not allowed";
    /// `If-Match` or `If-Unmodified-Since` does not hold.
    Precondition = 412, "precondition failed";
    /// The body is longer than allowed.
    TooLarge = 413, "the request body is too large";
    /// A body of a type, or in a coding, that is not understood.
    MediaType = 415, "unsupported media type";
    /// No part of the file lies in the range.
    Range = 416, "range not satisfiable";
    /// The server lacks something for the moment, such as free files.
    Unavailable = 503, "service unavailable";
}

/// How often each status of a refusal was sent.
#[derive(Debug, Default)]
pub(super) struct RefusalCounts([Counter; STATUSES.len()]);

impl RefusalCounts {
    /// Makes the response for a refusal and counts it.
    pub(super) fn refuse(&self, refusal: Refusal) -> Response {
        self.refuse_with(refusal.status(), refusal.text())
    }

    /// A refusal with a text of its own: one line, nothing from inside the server.
    pub(super) fn refuse_with(&self, status: u16, line: &str) -> Response {
        self.count(status);
        let response = Response::text(status, line);
        if status == 503 {
            response.header("Retry-After", RETRY_AFTER)
        } else {
            response
        }
    }

    /// Counts a response with this status. Those that refuse nothing are not counted.
    pub(super) fn count(&self, status: u16) {
        if let Some(at) = STATUSES.iter().position(|known| *known == status) {
            self.0[at].one();
        }
    }

    /// Every status with the number of times it was sent, in rising order.
    pub(super) fn snapshot(&self) -> Vec<(u16, u64)> {
        let counts = self.0.iter().map(Counter::get);
        STATUSES.into_iter().zip(counts).collect()
    }
}

/// Seconds; clients have their own back-off, this is for those that obey HTTP.
pub(super) const RETRY_AFTER: &str = "2";

const STATUSES: [u16; 17] = [
    400, 403, 404, 405, 408, 412, 413, 414, 415, 416, 417, 426, 431, 500, 501, 503, 505,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_one_line_of_text_and_is_counted() {
        for refusal in Refusal::ALL {
            let counts = RefusalCounts::default();
            let response = counts.refuse(*refusal);
            assert_eq!(response.status, refusal.status());
            let body = response.body.in_memory().unwrap();
            assert_eq!(body, format!("{}\n", refusal.text()).as_bytes());
            assert!(
                refusal
                    .text()
                    .bytes()
                    .all(|byte| (b' '..=b'~').contains(&byte))
            );
            let counted: Vec<_> = counts
                .snapshot()
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .collect();
            assert_eq!(counted, [(refusal.status(), 1)], "{refusal:?}");
        }
    }

    #[test]
    fn statuses_rise_and_what_is_no_refusal_is_not_counted() {
        assert!(STATUSES.is_sorted());
        let counts = RefusalCounts::default();
        counts.count(200);
        counts.count(304);
        assert!(counts.snapshot().iter().all(|(_, count)| *count == 0));
    }

    #[test]
    fn only_503_asks_to_come_back() {
        let counts = RefusalCounts::default();
        for refusal in Refusal::ALL {
            let headers = String::from_utf8(counts.refuse(*refusal).headers).unwrap();
            assert_eq!(
                headers.contains("Retry-After: "),
                refusal.status() == 503,
                "{refusal:?}"
            );
        }
    }
}
