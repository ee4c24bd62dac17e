//! A cookie jar for one server: enough to keep `BAYEUX_BROWSER` and what a load balancer sets.

use std::time::{Duration, SystemTime};

/// The cookies of one URL. Domains are not looked at: a jar never talks to a second host.
#[derive(Debug)]
pub(crate) struct Jar {
    path: String,
    secure: bool,
    cookies: Vec<Cookie>,
}

#[derive(Debug)]
struct Cookie {
    name: String,
    value: String,
    expires: Option<SystemTime>,
}

impl Jar {
    /// A jar for requests to `path`; `secure` when they are encrypted.
    pub(crate) fn new(path: &str, secure: bool) -> Self {
        Self {
            path: path.into(),
            secure,
            cookies: Vec::new(),
        }
    }

    /// Takes a `Set-Cookie` value over. What is malformed, too large or meant for other requests
    /// is ignored.
    pub(crate) fn store(&mut self, header: &str, now: SystemTime) {
        let mut parts = header.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let (name, value) = (name.trim(), value.trim());
        let printable = |text: &str| text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        if name.is_empty() || header.len() > MAX_BYTES || !printable(name) || !printable(value) {
            return;
        }
        let mut expires = None;
        let mut max_age = None;
        for attribute in parts {
            let (key, text) = attribute.split_once('=').unwrap_or((attribute, ""));
            match key.trim().to_ascii_lowercase().as_str() {
                "path" if !self.covers(text.trim()) => return,
                "secure" if !self.secure => return,
                "max-age" => max_age = text.trim().parse::<i64>().ok(),
                "expires" => expires = httpdate::parse_http_date(text.trim()).ok(),
                _ => {}
            }
        }
        if let Some(seconds) = max_age {
            let age = Duration::from_secs(seconds.max(0).unsigned_abs());
            expires = now.checked_add(age);
        }
        self.cookies.retain(|cookie| cookie.name != name);
        if expires.is_none_or(|at| at > now) && self.cookies.len() < MAX_COOKIES {
            self.cookies.push(Cookie {
                name: name.into(),
                value: value.into(),
                expires,
            });
        }
    }

    /// The value of the `Cookie` header, if there is anything to send.
    pub(crate) fn header(&mut self, now: SystemTime) -> Option<String> {
        self.cookies
            .retain(|cookie| cookie.expires.is_none_or(|at| at > now));
        let pairs = self
            .cookies
            .iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value));
        let pairs: Vec<_> = pairs.collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// RFC 6265, 5.1.4. A path that is no path stands for the default one.
    fn covers(&self, path: &str) -> bool {
        let rest = match self.path.strip_prefix(path) {
            _ if !path.starts_with('/') => return true,
            Some(rest) => rest,
            None => return false,
        };
        rest.is_empty() || path.ends_with('/') || rest.starts_with('/')
    }
}

/// More cookies than any Bayeux deployment sets; a server cannot fill the memory with them.
const MAX_COOKIES: usize = 20;

/// Of one `Set-Cookie` value; as in browsers.
const MAX_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn sent(headers: &[&str]) -> Option<String> {
        let mut jar = Jar::new("/cometd", false);
        headers.iter().for_each(|header| jar.store(header, NOW));
        jar.header(NOW)
    }

    #[test]
    fn cookies_come_back_and_are_replaced() {
        assert_eq!(sent(&[]), None);
        let set = "BAYEUX_BROWSER=abc; Path=/; HttpOnly; SameSite=None; Partitioned";
        assert_eq!(sent(&[set]).as_deref(), Some("BAYEUX_BROWSER=abc"));
        assert_eq!(sent(&["a=1", "b=2", "a=3"]).as_deref(), Some("b=2; a=3"));
    }

    #[test]
    fn paths_and_security_are_obeyed() {
        for (path, covered) in [
            ("/", true),
            ("/cometd", true),
            ("/cometd/", false),
            ("/com", false),
            ("/other", false),
            ("nonsense", true),
        ] {
            assert_eq!(
                sent(&[&format!("a=1; path={path}")]).is_some(),
                covered,
                "{path}"
            );
        }
        assert_eq!(sent(&["a=1; Secure"]), None);
        let mut jar = Jar::new("/", true);
        jar.store("a=1; Secure", NOW);
        assert!(jar.header(NOW).is_some());
    }

    #[test]
    fn cookies_end() {
        assert_eq!(sent(&["a=1", "a=; Max-Age=0"]), None);
        assert_eq!(
            sent(&["a=1", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]),
            None
        );
        assert_eq!(sent(&["a=1; Max-Age=-99999999999999"]), None);
        let mut jar = Jar::new("/", false);
        jar.store(
            "a=1; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            NOW,
        );
        assert!(jar.header(NOW + Duration::from_secs(9)).is_some());
        assert!(jar.header(NOW + Duration::from_secs(10)).is_none());
    }

    #[test]
    fn rubbish_is_ignored_and_the_jar_is_bounded() {
        let long = format!("a={}", "x".repeat(MAX_BYTES));
        for header in ["", "=", "=x", "noequals", "a\u{1}=1", "a=\u{7f}", &long] {
            assert_eq!(sent(&[header]), None, "{header:?}");
        }
        let many: Vec<_> = (0..100).map(|n| format!("c{n}=1")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(sent(&many).unwrap().split("; ").count(), MAX_COOKIES);
    }
}
