//! The cookie that tells one browser from another.
//!
//! Its value is a random id followed by a keyed hash of it, so that a made-up value is told from an
//! issued one without keeping any.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::headers::Headers;
use crate::transport::BrowserId;

/// The name of the cookie.
pub const COOKIE_NAME: &str = "BAYEUX_BROWSER";

/// Issues and recognises cookies. What one key issued another does not recognise.
#[derive(Clone)]
pub struct CookieKey(Hmac<Sha256>);

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
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self::new(&secret))
    }

    /// The key of a secret that several servers share, or that outlives a restart.
    pub fn new(secret: &[u8]) -> Self {
        let mac = Hmac::new_from_slice(secret).expect("HMAC takes keys of any length");
        Self(mac)
    }

    /// The cookie's value for a browser: 64 hexadecimal digits.
    pub fn value(&self, id: BrowserId) -> String {
        let tag = self.mac(id).finalize().into_bytes();
        let tag = u128::from_be_bytes(tag[..16].try_into().expect("the hash has 32 bytes"));
        format!("{:032x}{tag:032x}", id.0)
    }

    /// The browser that a value was issued to. The time taken tells nothing about the hash.
    pub fn verify(&self, value: &[u8]) -> Option<BrowserId> {
        if value.len() != 64 {
            return None;
        }
        let (id, tag) = value.split_at(32);
        let id = BrowserId(hexadecimal(id)?);
        let tag = hexadecimal(tag)?.to_be_bytes();
        self.mac(id).verify_truncated_left(&tag).ok().map(|()| id)
    }

    /// The browser a request comes from, if any of its cookies of that name is genuine.
    pub fn browser(&self, headers: &Headers<'_>) -> Option<BrowserId> {
        headers
            .get_all("cookie")
            .flat_map(|line| line.split(|byte| *byte == b';'))
            .filter_map(|pair| pair.trim_ascii_start().strip_prefix(COOKIE_NAME.as_bytes()))
            .filter_map(|rest| rest.trim_ascii().strip_prefix(b"="))
            .take(CANDIDATES)
            .find_map(|value| self.verify(value.trim_ascii()))
    }

    /// What `Set-Cookie` says to give a browser its id. `secure` behind TLS.
    pub fn set_cookie(&self, id: BrowserId, secure: bool) -> String {
        let value = self.value(id);
        let secure = if secure { "; Secure" } else { "" };
        format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")
    }

    fn mac(&self, id: BrowserId) -> Hmac<Sha256> {
        self.0.clone().chain_update(id.0.to_be_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;
    use httparse::Header;

    const ID: BrowserId = BrowserId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

    #[test]
    fn issued_values_are_recognised_by_their_key_only() {
        let key = CookieKey::new(b"secret");
        let value = key.value(ID);
        assert_eq!(key.verify(value.as_bytes()), Some(ID));
        assert_eq!(CookieKey::new(b"other").verify(value.as_bytes()), None);
        assert_eq!(CookieKey::random().unwrap().verify(value.as_bytes()), None);
        assert!(value.starts_with("0123456789abcdef0011223344556677"));
    }

    #[test]
    fn altered_and_made_up_values_are_not_recognised() {
        let key = CookieKey::new(b"secret");
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
        let key = CookieKey::new(b"secret");
        let value = key.value(ID);
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
            let lines = [
                Header {
                    name: "Cookie",
                    value: b"x=y",
                },
                Header {
                    name: "cookie",
                    value: line.as_bytes(),
                },
            ];
            let browser = key.browser(&Headers::new(&lines));
            assert_eq!(browser, found.then_some(ID), "{line}");
        }
    }

    #[test]
    fn the_header_names_all_attributes() {
        let key = CookieKey::new(b"secret");
        let plain = format!(
            "BAYEUX_BROWSER={}; Path=/; HttpOnly; SameSite=Lax",
            key.value(ID)
        );
        assert_eq!(key.set_cookie(ID, false), plain);
        assert_eq!(key.set_cookie(ID, true), plain + "; Secure");
    }
}
