//! The names of linked processes.

use crate::link;
use crate::settings::Text;

pub(super) const ALIAS: Text = Text {
    placeholder: "ALIAS",
    spelling: "",
    read: alias,
};
pub(super) const NODE: Text = Text {
    placeholder: "NAME",
    spelling: "",
    read: node_name,
};

/// An alias of a linked process, or `NODE/ALIAS`.
fn alias(text: &str) -> Result<String, String> {
    match link::split_address(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "`{text}` is no alias: up to 128 bytes, no spaces, no `_` first; or NODE/ALIAS"
        )),
    }
}

/// The name of a node among linked processes.
fn node_name(text: &str) -> Result<String, String> {
    match link::check_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => Err(format!(
            "`{text}` is no name of a node: up to 128 bytes, no spaces or slashes, no `_` first"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_among_linked_processes() {
        for good in ["judge", "a.b-c:d", "n/judge"] {
            assert_eq!(alias(good).as_deref(), Ok(good));
        }
        for bad in ["", "_x", "a b", "/x", "n/", "n/_x", "_n/x", "a/b/c"] {
            assert!(alias(bad).is_err() && node_name(bad).is_err(), "{bad}");
        }
        assert!(node_name("hub.example").is_ok() && node_name("n/judge").is_err());
        assert!(node_name(&"x".repeat(129)).is_err());
    }
}
