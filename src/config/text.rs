//! Settings that are text: files, the endpoint's path, origins, names.

use std::path::PathBuf;

use crate::http::{self, AllowedOrigin, InvalidOrigin};
use crate::link;
use crate::settings::{Form, Kind};

/// A file or folder.
pub(super) struct File {
    /// `FILE` or `DIR`.
    placeholder: &'static str,
}

impl Kind for File {
    type Value = PathBuf;

    fn parse(&self, text: &str) -> Result<PathBuf, String> {
        if text.is_empty() {
            Err("the name is empty".to_owned())
        } else {
            Ok(PathBuf::from(text))
        }
    }

    fn form(&self) -> Form {
        Form::one(self.placeholder, "")
    }
}

/// Text with a test of its own: the endpoint's path, an origin, a file name.
pub(super) struct Text {
    /// What stands for it in a usage line.
    placeholder: &'static str,
    /// The spelling, for help.
    spelling: &'static str,
    /// Checks it and brings it into the form in which it is compared.
    read: fn(&str) -> Result<String, String>,
}

impl Kind for Text {
    type Value = String;

    fn parse(&self, text: &str) -> Result<String, String> {
        (self.read)(text)
    }

    fn form(&self) -> Form {
        Form::one(self.placeholder, self.spelling)
    }
}

/// An origin whose pages are let in.
pub(super) struct Origin;

impl Kind for Origin {
    type Value = AllowedOrigin;

    fn parse(&self, text: &str) -> Result<AllowedOrigin, String> {
        text.parse()
            .map_err(|error: InvalidOrigin| error.to_string())
    }

    fn form(&self) -> Form {
        Form::one("ORIGIN", "")
    }
}

pub(super) const PATH: Text = Text {
    placeholder: "PATH",
    spelling: "",
    read: endpoint_path,
};
pub(super) const HEADER: Text = Text {
    placeholder: "NAME",
    spelling: "",
    read: header_name,
};
/// Checked with the other settings of the cookie.
pub(super) const COOKIE: Text = Text {
    placeholder: "NAME",
    spelling: "",
    read: |text| Ok(text.to_owned()),
};
/// Checked with the other settings of the cookie.
pub(super) const DOMAIN: Text = Text {
    placeholder: "DOMAIN",
    spelling: "",
    read: |text| Ok(text.to_owned()),
};
pub(super) const INDEX: Text = Text {
    placeholder: "NAME",
    spelling: "",
    read: index_name,
};
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
pub(super) const FILE: File = File {
    placeholder: "FILE",
};
pub(super) const DIR: File = File { placeholder: "DIR" };

/// The path of the endpoint, without a slash at its end; or `/`.
fn endpoint_path(text: &str) -> Result<String, String> {
    if text == "/" {
        return Ok(text.to_owned());
    }
    let path = text.trim_end_matches('/');
    if !path.starts_with('/') {
        let better = match path {
            "" => "/cometd".to_owned(),
            _ => format!("/{path}"),
        };
        let hint = match endpoint_path(&better) {
            Ok(better) => format!("; did you mean `{better}`?"),
            Err(_) => ", such as `/cometd`".to_owned(),
        };
        return Err(format!("`{text}` is no path of an endpoint{hint}"));
    }
    http::check_path(path).map_err(|wrong| format!("`{text}` {wrong}"))?;
    Ok(path.to_owned())
}

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

/// The name of a header, or `*`.
fn header_name(text: &str) -> Result<String, String> {
    if http::is_token(text.as_bytes()) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no name of a header"))
}

/// The name of an index file.
fn index_name(text: &str) -> Result<String, String> {
    if http::is_servable(text) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no plain file name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let file = File {
            placeholder: "FILE",
        };
        assert_eq!(file.parse("./off"), Ok(PathBuf::from("./off")));
        assert_eq!(file.parse("").unwrap_err(), "the name is empty");
    }

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

    #[test]
    fn paths() {
        assert_eq!(endpoint_path("/").unwrap(), "/");
        assert_eq!(endpoint_path("/cometd").unwrap(), "/cometd");
        assert_eq!(endpoint_path("/a/b/").unwrap(), "/a/b");
        for (text, part) in [
            ("//", "did you mean `/cometd`?"),
            ("a b", "such as `/cometd`"),
            ("", "did you mean `/cometd`?"),
            ("cometd", "did you mean `/cometd`?"),
            ("/a//b", "an empty or a dot segment"),
            ("/../b", "an empty or a dot segment"),
            ("/a b", "contains ` `"),
            ("/a?b", "contains `?`"),
            ("/a%2f", "contains `%`"),
        ] {
            let error = endpoint_path(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn names_of_headers() {
        for good in ["*", "X-CSRF-Token"] {
            assert_eq!(header_name(good).as_deref(), Ok(good));
        }
        assert!(header_name("a b").is_err() && header_name("").is_err());
    }

    #[test]
    fn index_names() {
        assert_eq!(index_name("index.html").as_deref(), Ok("index.html"));
        for bad in ["a/b", "..", ".htaccess", "a\\b"] {
            assert!(index_name(bad).is_err(), "{bad}");
        }
    }
}
