//! The cookie that tells one browser from another.
//!
//! Its value is a random id followed by a keyed hash of it, so that a made-up value is told from an
//! issued one without keeping any.

use std::fmt;

use siphasher::sip128::SipHasher24;

use super::headers::{Headers, is_token};
use crate::settings::{Auto, Conflict, Named, Off, Switch, Text, Word, settings};
use crate::transport::BrowserId;

settings! {
    /// What the cookie is called, and to whom browsers send it. The default says no more than
    /// browsers of any age understand: old cookie jars fail on an attribute that they do not know.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CookieConfig {}
    "Browsers" {
        /// Name of the cookie that tells browsers apart.
        ///
        /// Behind one host name, several servers need several names.
        name as "cookie_name": String = Text::any("NAME"), default "BAYEUX_BROWSER";

        /// With which requests of pages of other sites browsers send the cookie.
        ///
        /// `unset` says nothing, since old cookie jars fail on what they do not know; browsers
        /// then take `lax`. Pages of other sites need `none`, and cookie_partitioned besides, else
        /// the server cannot tell that several windows are of one browser. Browsers take `none`
        /// over encrypted connections only.
        same_site as "cookie_same_site": SameSite = Word::<SameSite>::KIND, default "unset";

        /// Whether the cookie is for encrypted connections only.
        ///
        /// `auto`: if it is set over one, or a trusted proxy says that it is.
        secure as "cookie_secure": Option<bool> = Auto(Switch), default "auto";

        /// Name whose hosts share the cookie, such as `app.example`.
        ///
        /// Off: it goes to the host that set it.
        domain as "cookie_domain": Option<String> = Off(Text::any("DOMAIN")), default "off";

        /// Gives a browser another cookie below each site (CHIPS).
        ///
        /// What browsers ask for that do without the cookies of other sites. It needs
        /// cookie_same_site `none`.
        partitioned as "cookie_partitioned": bool = Switch, default "false";
    }
}

/// With which requests of pages of other sites browsers send a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Nothing is said about it: browsers of today take `Lax`.
    Unset,
    /// When one follows a link, but with nothing that a page does by itself.
    Lax,
    /// With none.
    Strict,
    /// With all, if they are encrypted.
    None,
}

impl Named for SameSite {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("unset", Self::Unset),
        ("lax", Self::Lax),
        ("strict", Self::Strict),
        ("none", Self::None),
    ];
}

impl CookieConfig {
    /// Whether browsers would take the cookie, and send it back.
    ///
    /// # Errors
    ///
    /// What they would object to first.
    pub fn check(&self) -> Result<(), Conflict> {
        let wrong = |key, message| Err(Conflict::new(key, message));
        if self.name.len() > NAME_BYTES || !is_token(self.name.as_bytes()) {
            return wrong(
                "cookie_name",
                "must be 1 to 128 letters, digits and characters of !#$%&'*+-.^_`|~",
            );
        }
        if self.domain.as_deref().is_some_and(|name| !is_domain(name)) {
            return wrong(
                "cookie_domain",
                "must be a name such as `app.example`, without a dot at its beginning or end",
            );
        }
        if self.domain.is_some() && self.begins("__Host-") {
            return wrong(
                "cookie_domain",
                "cannot be set for a cookie_name that begins with `__Host-`",
            );
        }
        if self.secure == Some(false) && self.demands_secure().is_some() {
            return wrong(
                "cookie_secure",
                "cannot be false with cookie_same_site `none`, cookie_partitioned or a \
                 cookie_name that begins with `__Host-` or `__Secure-`: browsers drop such a \
                 cookie",
            );
        }
        Ok(())
    }

    /// The setting for which browsers drop the cookie where it is not `Secure`.
    pub(crate) fn demands_secure(&self) -> Option<&'static str> {
        let named = self.begins("__Host-") || self.begins("__Secure-");
        let table = [
            ("cookie_same_site", self.same_site == SameSite::None),
            ("cookie_partitioned", self.partitioned),
            ("cookie_name", named),
        ];
        let row = table.into_iter().find(|(_, demands)| *demands);
        row.map(|(setting, _)| setting)
    }

    fn begins(&self, prefix: &str) -> bool {
        let start = self.name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    }
}

/// A host name: labels, of which the last is no number (that would be an address).
fn is_domain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(plain))
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Sets and reads the cookie.
#[derive(Debug)]
pub(super) struct Cookies {
    key: CookieKey,
    config: CookieConfig,
}

impl Cookies {
    pub(super) fn new(key: CookieKey, config: CookieConfig) -> Self {
        Self { key, config }
    }

    /// The browser a request comes from, if any of its cookies of that name is genuine.
    pub(super) fn browser(&self, headers: &Headers<'_>) -> Option<BrowserId> {
        headers
            .get_all("cookie")
            .flat_map(|line| line.split(|byte| *byte == b';'))
            .filter_map(|pair| {
                let rest = pair.trim_ascii_start();
                rest.strip_prefix(self.config.name.as_bytes())
            })
            .filter_map(|rest| rest.trim_ascii().strip_prefix(b"="))
            .take(CANDIDATES)
            .find_map(|value| self.key.verify(value.trim_ascii()))
    }

    /// What `Set-Cookie` says to give a browser its id. `encrypted` is whether its connection is.
    pub(super) fn set_cookie(&self, id: BrowserId, encrypted: bool) -> String {
        let CookieConfig {
            name,
            same_site,
            secure,
            domain,
            partitioned,
        } = &self.config;
        let mut cookie = format!("{name}={}; Path=/; HttpOnly", self.key.value(id));
        if secure.unwrap_or(encrypted) {
            cookie.push_str("; Secure");
        }
        if let Some(domain) = domain {
            cookie.extend(["; Domain=", domain]);
        }
        cookie.push_str(match same_site {
            SameSite::Unset => "",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::Strict => "; SameSite=Strict",
            SameSite::None => "; SameSite=None",
        });
        if *partitioned {
            cookie.push_str("; Partitioned");
        }
        cookie
    }
}

/// Issues and recognises cookies. What one key issued another does not recognise.
#[derive(Clone)]
pub struct CookieKey(SipHasher24);

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(..)")
    }
}

impl CookieKey {
    /// A key for the life of this process, from the system's generator.
    ///
    /// # Errors
    ///
    /// The generator's.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = [0; 16];
        getrandom::fill(&mut secret)?;
        Ok(Self::new(&secret))
    }

    /// The key of a secret that several servers share, or that outlives a restart: random bytes.
    pub fn new(secret: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(secret))
    }

    /// The cookie's value for a browser: 64 hexadecimal digits.
    pub fn value(&self, id: BrowserId) -> String {
        format!("{:032x}{:032x}", id.0, self.tag(id))
    }

    /// The browser that a value was issued to. The time taken tells nothing about the hash.
    pub fn verify(&self, value: &[u8]) -> Option<BrowserId> {
        if value.len() != 64 {
            return None;
        }
        let (id, tag) = value.split_at(32);
        let id = BrowserId(hexadecimal(id)?);
        // All bits at once, not byte by byte.
        (hexadecimal(tag)? ^ self.tag(id) == 0).then_some(id)
    }

    fn tag(&self, id: BrowserId) -> u128 {
        self.0.hash(&id.0.to_be_bytes()).as_u128()
    }
}

/// Lower-case digits only, so that each id has one spelling.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    if !digits
        .iter()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return None;
    }
    u128::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// How many cookies of that name are tried: each costs a hash.
const CANDIDATES: usize = 4;

/// Most bytes of the name.
const NAME_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::with_headers;

    const ID: BrowserId = BrowserId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

    type Change = fn(&mut CookieConfig);

    fn cookies(change: Change) -> Cookies {
        let mut config = CookieConfig::default();
        change(&mut config);
        Cookies::new(CookieKey::new(b"0123456789abcdef"), config)
    }

    #[test]
    fn issued_values_are_recognised_by_their_key_only() {
        let key = CookieKey::new(b"0123456789abcdef");
        let value = key.value(ID);
        assert_eq!(key.verify(value.as_bytes()), Some(ID));
        assert_eq!(
            CookieKey::new(b"0123456789abcdeg").verify(value.as_bytes()),
            None
        );
        assert_eq!(CookieKey::random().unwrap().verify(value.as_bytes()), None);
        assert!(value.starts_with("0123456789abcdef0011223344556677"));
        assert_eq!(format!("{key:?}"), "CookieKey(..)");
    }

    #[test]
    fn altered_and_made_up_values_are_not_recognised() {
        let key = CookieKey::new(b"0123456789abcdef");
        let value = key.value(ID);
        for at in 0..value.len() {
            let mut altered = value.clone().into_bytes();
            altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(key.verify(&altered), None, "{at}");
        }
        let upper = value.to_uppercase();
        let signed = format!("+{}", &value[1..]);
        let long = "a".repeat(5000);
        for made_up in [
            "",
            "abc",
            &"0".repeat(64),
            &long,
            &upper,
            &signed,
            &value[..63],
        ] {
            assert_eq!(key.verify(made_up.as_bytes()), None, "{made_up}");
        }
        assert_eq!(key.verify(&[0xff; 64]), None);
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let cookies = cookies(|_| {});
        let value = cookies.key.value(ID);
        let table = [
            (format!("BAYEUX_BROWSER={value}"), true),
            (format!("a=b; BAYEUX_BROWSER={value}; c=d"), true),
            (format!("a=b;BAYEUX_BROWSER = {value} "), true),
            (
                format!("BAYEUX_BROWSER=wrong; BAYEUX_BROWSER={value}"),
                true,
            ),
            (format!("XBAYEUX_BROWSER={value}"), false),
            (format!("BAYEUX_BROWSERX={value}"), false),
            (format!("bayeux_browser={value}"), false),
            (format!("a=BAYEUX_BROWSER={value}"), false),
            (
                format!("{}BAYEUX_BROWSER={value}", "BAYEUX_BROWSER=x;".repeat(4)),
                false,
            ),
            ("=; ;;; a=b=c; BAYEUX_BROWSER; \"".to_owned(), false),
            ("BAYEUX_BROWSER=".to_owned(), false),
        ];
        for (line, found) in &table {
            let lines = [("Cookie", "x=y"), ("cookie", line.as_str())];
            let browser = with_headers(&lines, |it| cookies.browser(&it));
            assert_eq!(browser, found.then_some(ID), "{line}");
        }
    }

    #[test]
    fn a_cookie_of_another_name_is_read_by_that_name() {
        let cookies = cookies(|config| config.name = "__Host-b".to_owned());
        let value = cookies.key.value(ID);
        assert!(
            cookies
                .set_cookie(ID, true)
                .starts_with(&format!("__Host-b={value}; "))
        );
        for (name, found) in [("__Host-b", true), ("BAYEUX_BROWSER", false)] {
            let line = format!("{name}={value}");
            let browser = with_headers(&[("Cookie", line.as_str())], |it| cookies.browser(&it));
            assert_eq!(browser.is_some(), found, "{name}");
        }
    }

    #[test]
    fn attributes_are_said_as_they_are_set() {
        let table: [(Change, bool, &str); 8] = [
            (|_| {}, false, ""),
            (|_| {}, true, "; Secure"),
            (|c| c.secure = Some(true), false, "; Secure"),
            (|c| c.secure = Some(false), true, ""),
            (|c| c.same_site = SameSite::Lax, false, "; SameSite=Lax"),
            (
                |c| c.same_site = SameSite::Strict,
                true,
                "; Secure; SameSite=Strict",
            ),
            (
                |c| c.domain = Some("app.example".to_owned()),
                false,
                "; Domain=app.example",
            ),
            (
                |c| (c.same_site, c.partitioned) = (SameSite::None, true),
                true,
                "; Secure; SameSite=None; Partitioned",
            ),
        ];
        for (change, encrypted, attributes) in table {
            let cookies = cookies(change);
            let value = cookies.key.value(ID);
            let expected = format!("BAYEUX_BROWSER={value}; Path=/; HttpOnly{attributes}");
            assert_eq!(cookies.set_cookie(ID, encrypted), expected);
        }
    }

    #[test]
    fn cookies_that_would_not_come_back_are_refused() {
        let name = |name: &str| CookieConfig {
            name: name.to_owned(),
            ..CookieConfig::default()
        };
        let domain = |domain: &str| CookieConfig {
            domain: Some(domain.to_owned()),
            ..CookieConfig::default()
        };
        let secure = |secure| {
            move |config| CookieConfig {
                secure: Some(secure),
                ..config
            }
        };
        let none = CookieConfig {
            same_site: SameSite::None,
            ..CookieConfig::default()
        };
        let parts = CookieConfig {
            partitioned: true,
            ..CookieConfig::default()
        };
        let host = CookieConfig {
            domain: Some("a.b".to_owned()),
            ..name("__host-x")
        };
        for (config, setting) in [
            (name(""), "cookie_name"),
            (name("a b"), "cookie_name"),
            (name("a=b"), "cookie_name"),
            (name("a;b"), "cookie_name"),
            (name("a\r\nb"), "cookie_name"),
            (name("\u{e9}"), "cookie_name"),
            (name(&"x".repeat(129)), "cookie_name"),
            (domain(""), "cookie_domain"),
            (domain(".app.example"), "cookie_domain"),
            (domain("app.example."), "cookie_domain"),
            (domain("a..b"), "cookie_domain"),
            (domain("a;b"), "cookie_domain"),
            (domain("127.0.0.1"), "cookie_domain"),
            (domain("app.example:80"), "cookie_domain"),
            (host, "cookie_domain"),
            (secure(false)(none.clone()), "cookie_secure"),
            (secure(false)(parts.clone()), "cookie_secure"),
            (secure(false)(name("__Host-x")), "cookie_secure"),
            (secure(false)(name("__secure-x")), "cookie_secure"),
        ] {
            let error = config.check().unwrap_err();
            assert_eq!(error.key, setting, "{config:?}");
        }
        for config in [
            CookieConfig::default(),
            secure(false)(CookieConfig::default()),
            secure(true)(none.clone()),
            none,
            parts,
            name(&"x".repeat(128)),
            name("__Host-x"),
            domain("app.example"),
            domain("localhost"),
        ] {
            assert_eq!(config.check(), Ok(()), "{config:?}");
        }
    }
}
