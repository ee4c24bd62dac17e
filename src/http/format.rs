//! How an answer of the broker becomes a response: plain JSON, a script, or a comment, with the
//! cookie and the headers for pages of other origins.

use super::cors::push_echo;
use super::pending::Finished;
use super::refusal::RETRY_AFTER;
use super::response::{Body, NO_STORE_NO_SNIFF, Response, push_end, push_header, push_length};
use super::script;
use super::site::Site;
use crate::broker::{Answer, AnswerStatus};
use crate::transport::BrowserId;

/// What a request wants of its answer's form. Kept beside a held connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pub(super) callback: Option<Box<str>>,
    /// The origin to echo.
    pub(super) origin: Option<Box<str>>,
    /// Whether a cookie is for encrypted connections only.
    pub(super) secure: bool,
}

impl Format {
    /// The response for an answer. The connection is to be closed after it if the answer says so.
    pub fn respond(&self, answer: &Answer, site: &Site) -> Response {
        let status = answer.status.code();
        site.count(status);
        let (media, body) = self.body(answer);
        let mut response = Response::new(status).header("Content-Type", media);
        response.headers.extend_from_slice(NO_STORE_NO_SNIFF);
        if status == 503 {
            push_header(&mut response.headers, "Retry-After", RETRY_AFTER);
        }
        if let Some(cookie) = self.cookie(answer, site) {
            push_header(&mut response.headers, "Set-Cookie", &cookie);
        }
        if let Some(origin) = &self.origin {
            push_echo(&mut response.headers, origin);
        }
        response.body = Body::Bytes(body);
        response
    }

    /// The same, with what its connection has to know.
    pub fn finish(&self, mut answer: Answer, site: &Site) -> Finished {
        Finished {
            response: self.respond(&answer, site),
            in_flight: answer.in_flight.take(),
            close: answer.close,
        }
    }

    /// Appends the whole response, head and body, as [`respond`](Self::respond) would make it.
    /// `keep_alive` says whether the connection could stay open; the result, whether it does.
    ///
    /// The usual answer is copied straight to where it leaves from.
    pub fn write(
        &self,
        answer: &Answer,
        site: &Site,
        date: &str,
        keep_alive: bool,
        http10: bool,
        out: &mut Vec<u8>,
    ) -> bool {
        let keep_alive = keep_alive && !answer.close;
        if self.is_plain(answer) {
            let len = answer.array_len();
            out.reserve(PLAIN_HEAD.len() + CONNECTION_ROOM + len);
            out.extend_from_slice(PLAIN_HEAD);
            push_length(out, len as u64);
            push_end(out, date, keep_alive, http10);
            answer.write_array(out);
        } else {
            let response = self.respond(answer, site);
            response.write_head(date, keep_alive, http10, out);
            out.extend_from_slice(response.body.in_memory().unwrap_or_default());
        }
        keep_alive
    }

    fn is_plain(&self, answer: &Answer) -> bool {
        answer.status == AnswerStatus::Ok
            && answer.cookie.is_none()
            && !answer.filtered
            && self.callback.is_none()
            && self.origin.is_none()
    }

    fn body(&self, answer: &Answer) -> (&'static str, Vec<u8>) {
        let mut array = Vec::with_capacity(answer.array_len());
        answer.write_array(&mut array);
        match &self.callback {
            Some(callback) => (script::SCRIPT_TYPE, script::script(callback, &array)),
            None if answer.filtered => (script::COMMENT_TYPE, script::comment(&array)),
            None => (JSON_TYPE, array),
        }
    }

    fn cookie(&self, answer: &Answer, site: &Site) -> Option<String> {
        let id: BrowserId = answer.cookie?;
        Some(site.cookies()?.set_cookie(id, self.secure))
    }
}

pub(super) const JSON_TYPE: &str = "application/json;charset=UTF-8";

/// The beginning of nearly every response.
const PLAIN_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\n\
    Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";

/// `Content-Length`, `Date`, `Connection` and the empty line fit in.
const CONNECTION_ROOM: usize = 112;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerConfig;
    use crate::http::SiteConfig;
    use crate::http::testing::{Seen, answered, handle, site};

    const HANDSHAKE: &str =
        r#"{"channel":"/meta/handshake","supportedConnectionTypes":["long-polling"]}"#;
    const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

    fn plain() -> Format {
        Format {
            callback: None,
            origin: None,
            secure: false,
        }
    }

    /// An answer to `[]`, made to hold these replies.
    fn answer(site: &Site, replies: &str) -> Answer {
        let (_, mut answer) = answered(handle(site, "POST", "/cometd", &[], b"[]"));
        answer.replies = replies.as_bytes().to_vec();
        answer
    }

    fn written(format: &Format, answer: &Answer, site: &Site, keep: bool, http10: bool) -> String {
        let mut out = Vec::new();
        let kept = format.write(answer, site, DATE, keep, http10, &mut out);
        assert_eq!(kept, keep && !answer.close);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_fast_way_writes_what_the_slow_way_writes() {
        let site = site(SiteConfig::default(), BrokerConfig::default());
        for replies in ["", r#"{"a":1}"#, r#"{"a":1},{"b":"*/\u{2028}"}"#] {
            for (keep, http10) in [(true, false), (false, false), (true, true), (false, true)] {
                let script = Format {
                    callback: Some("f".into()),
                    ..plain()
                };
                for (format, filtered) in [(plain(), false), (plain(), true), (script, false)] {
                    let mut answer = answer(&site, replies);
                    answer.filtered = filtered;
                    let mut slow = Vec::new();
                    let response = format.respond(&answer, &site);
                    response.write_head(DATE, keep, http10, &mut slow);
                    slow.extend_from_slice(response.body.in_memory().unwrap());
                    let fast = written(&format, &answer, &site, keep, http10);
                    assert_eq!(fast.into_bytes(), slow);
                }
            }
        }
    }

    #[test]
    fn a_plain_answer_is_copied_into_the_room_made_for_it() {
        let site = site(SiteConfig::default(), BrokerConfig::default());
        let answer = answer(&site, &format!(r#"{{"a":"{}"}}"#, "x".repeat(100_000)));
        let mut out = Vec::new();
        assert!(plain().is_plain(&answer));
        plain().write(&answer, &site, DATE, true, true, &mut out);
        assert!(
            out.capacity() <= out.len() + 64,
            "{} {}",
            out.capacity(),
            out.len()
        );
    }

    #[test]
    fn the_head_says_all_that_is_promised() {
        let site = site(SiteConfig::default(), BrokerConfig::default());
        let text = written(&plain(), &answer(&site, r#"{"a":1}"#), &site, true, false);
        let expected = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Length: 9\r\nDate: {DATE}\r\n\r\n[{{\"a\":1}}]"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn bodies_take_the_form_that_was_asked_for() {
        let site = site(SiteConfig::default(), BrokerConfig::default());
        let script = Format {
            callback: Some("cb".into()),
            ..plain()
        };
        let json = "application/json;charset=UTF-8";
        for (format, filtered, media, body) in [
            (&plain(), false, json, "[{\"a\":\"*/\u{2028}\"}]"),
            (
                &plain(),
                true,
                "text/json-comment-filtered;charset=UTF-8",
                "/*[{\"a\":\"*\\/\u{2028}\"}]*/",
            ),
            (
                &script,
                false,
                "text/javascript;charset=UTF-8",
                "/**/cb([{\"a\":\"*/\\u2028\"}]);",
            ),
            (
                &script,
                true,
                "text/javascript;charset=UTF-8",
                "/**/cb([{\"a\":\"*/\\u2028\"}]);",
            ),
        ] {
            let mut answer = answer(&site, "{\"a\":\"*/\u{2028}\"}");
            answer.filtered = filtered;
            let seen = Seen::of(&format.respond(&answer, &site));
            assert_eq!(
                (seen.status, seen.header("Content-Type")),
                (200, Some(media))
            );
            assert_eq!(seen.body, body);
            for (name, value) in [
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
            ] {
                assert_eq!(seen.header(name), Some(value));
            }
        }
    }

    #[test]
    fn unavailable_is_503_with_an_array_and_counted() {
        let site = site(SiteConfig::default(), BrokerConfig::default());
        let mut answer = answer(&site, r#"{"successful":false}"#);
        answer.status = AnswerStatus::Unavailable;
        answer.close = true;
        let text = written(&plain(), &answer, &site, true, false);
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(
            text.contains("\r\nRetry-After: 2\r\n") && text.contains("\r\nConnection: close\r\n")
        );
        assert!(text.ends_with("\r\n\r\n[{\"successful\":false}]"));
        assert!(site.refused_statuses().contains(&(503, 1)));
    }

    #[test]
    fn cookies_are_secure_behind_tls() {
        let site = site(SiteConfig::default(), BrokerConfig::default());
        for secure in [false, true] {
            let handled = handle(&site, "POST", "/cometd", &[], HANDSHAKE.as_bytes());
            let (format, answer) = answered(handled);
            let format = Format { secure, ..format };
            let seen = Seen::of(&format.respond(&answer, &site));
            assert_eq!(
                seen.header("Set-Cookie").unwrap().ends_with("; Secure"),
                secure
            );
            assert!(written(&format, &answer, &site, true, false).contains("\r\nSet-Cookie: "));
        }
    }
}
