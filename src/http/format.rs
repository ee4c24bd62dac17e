//! How an answer of the broker becomes a response: plain JSON, a script, or a comment, with the
//! cookie and the headers for pages of other origins.

use super::pending::Finished;
use super::response::{Body, Response, push_end, push_length};
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
        let mut response = Response::uncached(status, media).with_retry();
        if let Some(cookie) = self.cookie(answer, site) {
            response = response.header("Set-Cookie", &cookie);
        }
        response.body = Body::Bytes(body);
        response.readable_by(self.origin.as_deref())
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
            Some(callback) => (SCRIPT_TYPE, script(callback, &array)),
            None if answer.filtered => (COMMENT_TYPE, comment(&array)),
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

/// The media type of a script.
const SCRIPT_TYPE: &str = "text/javascript;charset=UTF-8";
/// The media type of an array inside a comment.
const COMMENT_TYPE: &str = "text/json-comment-filtered;charset=UTF-8";

/// The callback that is called when the request names none.
pub(super) const DEFAULT_CALLBACK: &str = "jsonpcallback";

/// The callback's name, if it is one: a letter, `_` or `$`, then at most 63 letters, digits or
/// `_ $ . -`. Nothing else may come to stand in a script that this server sends.
pub(super) fn callback(name: &[u8]) -> Option<&str> {
    let (first, rest) = name.split_first()?;
    let starts = first.is_ascii_alphabetic() || b"_$".contains(first);
    let goes_on = rest
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_$.-".contains(byte));
    let fits = starts && goes_on && name.len() <= 64;
    if fits {
        std::str::from_utf8(name).ok()
    } else {
        None
    }
}

/// The script that calls `callback` with a JSON array. The comment in front keeps the response from
/// being taken for anything but a script; U+2028 and U+2029, line ends in old scripts, are escaped.
fn script(callback: &str, array: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(array.len() + callback.len() + 8);
    out.extend_from_slice(b"/**/");
    out.extend_from_slice(callback.as_bytes());
    out.push(b'(');
    replace(array, b'\xe2', &mut out, |rest| match rest {
        [0xe2, 0x80, 0xa8, ..] => Some((3, b"\\u2028")),
        [0xe2, 0x80, 0xa9, ..] => Some((3, b"\\u2029")),
        _ => None,
    });
    out.extend_from_slice(b");");
    out
}

/// A JSON array inside a comment, which a page of another origin cannot read by including it as
/// a script. What would end the comment early is escaped; in JSON it occurs inside strings only.
fn comment(array: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(array.len() + 4);
    out.extend_from_slice(b"/*");
    replace(array, b'*', &mut out, |rest| match rest {
        [b'*', b'/', ..] => Some((2, b"*\\/")),
        _ => None,
    });
    out.extend_from_slice(b"*/");
    out
}

/// Copies `from`, asking at every byte that equals `first` what to put in place of how many bytes.
fn replace<'r>(
    from: &[u8],
    first: u8,
    out: &mut Vec<u8>,
    by: impl Fn(&[u8]) -> Option<(usize, &'r [u8])>,
) {
    let mut copied = 0;
    let mut at = 0;
    while let Some(next) = from[at..].iter().position(|byte| *byte == first) {
        at += next;
        if let Some((len, text)) = by(&from[at..]) {
            out.extend_from_slice(&from[copied..at]);
            out.extend_from_slice(text);
            at += len;
            copied = at;
        } else {
            at += 1;
        }
    }
    out.extend_from_slice(&from[copied..]);
}

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

    #[test]
    fn callback_names() {
        let longest = "x".repeat(64);
        for name in [
            "cb",
            "_cometd_jsonp_1",
            "__jsonp1__",
            "$",
            "a.b-c_1",
            "al-ert",
            &longest,
        ] {
            assert_eq!(callback(name.as_bytes()), Some(name));
        }
        let too_long = "x".repeat(65);
        for name in [
            "",
            "1a",
            ".a",
            "-a",
            "a(b)",
            "a b",
            "a;b",
            "a\n",
            "a\0",
            "caf\u{e9}",
            &too_long,
        ] {
            assert_eq!(callback(name.as_bytes()), None, "{name:?}");
        }
        assert_eq!(callback(b"a\xff"), None);
    }

    #[test]
    fn scripts_call_the_function_and_escape_line_separators() {
        let table = [
            ("[]", "/**/cb([]);"),
            (
                "[\"a\u{2028}b\u{2029}\"]",
                "/**/cb([\"a\\u2028b\\u2029\"]);",
            ),
            ("[\"\u{2028}\u{2028}\"]", "/**/cb([\"\\u2028\\u2028\"]);"),
            (
                "[\"\u{201c}\u{20ac}\u{2030}\"]",
                "/**/cb([\"\u{201c}\u{20ac}\u{2030}\"]);",
            ),
        ];
        for (array, expected) in table {
            assert_eq!(
                String::from_utf8(script("cb", array.as_bytes())).unwrap(),
                expected
            );
        }
    }

    #[test]
    fn comments_cannot_be_ended_from_inside() {
        let table = [
            (r#"[{"a":1}]"#, r#"/*[{"a":1}]*/"#),
            (r#"["*/"]"#, r#"/*["*\/"]*/"#),
            (r#"["**/ * / */*/"]"#, r#"/*["**\/ * / *\/*\/"]*/"#),
            (r#"["*\/","*"]"#, r#"/*["*\/","*"]*/"#),
        ];
        for (array, expected) in table {
            let wrapped = String::from_utf8(comment(array.as_bytes())).unwrap();
            assert_eq!(wrapped, expected);
            let inner = &wrapped[2..wrapped.len() - 2];
            let value = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(inner), value(array));
        }
    }

    #[test]
    fn replacing_stops_at_cut_characters() {
        assert_eq!(script("f", b"\xe2\x80"), b"/**/f(\xe2\x80);");
        assert_eq!(comment(b"*"), b"/***/");
    }
}
