//! Settings that are text: files, the endpoint's path, origins, names.

use std::path::PathBuf;

use super::kind::{Form, Kind};

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

pub(super) const PATH: Text = Text {
    placeholder: "PATH",
    spelling: "",
    read: endpoint_path,
};
pub(super) const ORIGIN: Text = Text {
    placeholder: "ORIGIN",
    spelling: "",
    read: origin,
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

/// The path of the endpoint, without a slash at its end.
fn endpoint_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let hint =
        |better: &str| format!("`{text}` is no path of an endpoint; did you mean `{better}`?");
    if path.is_empty() {
        return Err(hint("/cometd"));
    }
    if !path.starts_with('/') {
        return Err(hint(&format!("/{path}")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()+:@".contains(c);
    for segment in path[1..].split('/') {
        if segment.is_empty() || segment == "." || segment == ".." {
            return Err(format!("`{text}` has an empty or a dot segment"));
        }
        if let Some(c) = segment.chars().find(|&c| !plain(c)) {
            return Err(format!(
                "`{text}` contains `{}`, which is not for paths",
                c.escape_debug()
            ));
        }
    }
    Ok(path.to_owned())
}

/// An origin as browsers send it, or `*`.
fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, rest)) = lower.split_once("://") else {
        return Err(format!(
            "`{text}` is no origin; did you mean `https://{lower}`?"
        ));
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || scheme.is_empty() || host.contains(['*', '@', ' ']) {
        return Err(format!(
            "`{text}` is no origin; one looks like `https://app.example`"
        ));
    }
    // Browsers leave out the port that the scheme implies.
    let implied = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let bare = if implied.is_empty() {
        host
    } else {
        host.strip_suffix(implied).unwrap_or(host)
    };
    let better = format!("{scheme}://{bare}");
    if better == lower {
        Ok(better)
    } else {
        Err(format!(
            "`{text}` is more than an origin; did you mean `{better}`?"
        ))
    }
}

/// An alias of a linked process, or `NODE/ALIAS`.
fn alias(text: &str) -> Result<String, String> {
    let (node, alias) = text.split_once('/').unwrap_or(("any", text));
    if is_name(node) && is_name(alias) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no alias: up to 128 bytes, no spaces, no `_` first; or NODE/ALIAS"
    ))
}

/// The name of a node among linked processes.
fn node_name(text: &str) -> Result<String, String> {
    if is_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no name of a node: up to 128 bytes, no spaces or slashes, no `_` first"
    ))
}

/// As the nodes check it.
fn is_name(text: &str) -> bool {
    let wrong = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    !text.is_empty() && text.len() <= 128 && !text.starts_with('_') && !text.contains(wrong)
}

/// The name of an index file.
fn index_name(text: &str) -> Result<String, String> {
    if text.contains(['/', '\\']) || text.starts_with('.') {
        return Err(format!("`{text}` is no plain file name"));
    }
    Ok(text.to_owned())
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
        assert_eq!(endpoint_path("/cometd").unwrap(), "/cometd");
        assert_eq!(endpoint_path("/a/b/").unwrap(), "/a/b");
        for (text, part) in [
            ("/", "did you mean `/cometd`?"),
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
    fn origins() {
        for good in [
            "*",
            "http://app.example",
            "https://a.example:8443",
            "http://[::1]:8080",
            "app://x",
        ] {
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        assert_eq!(
            origin("HTTPS://App.Example").as_deref(),
            Ok("https://app.example")
        );
        for (text, part) in [
            ("app.example", "did you mean `https://app.example`?"),
            ("http://app.example/", "did you mean `http://app.example`?"),
            (
                "http://app.example/x?y",
                "did you mean `http://app.example`?",
            ),
            (
                "http://app.example:80",
                "did you mean `http://app.example`?",
            ),
            (
                "https://app.example:443",
                "did you mean `https://app.example`?",
            ),
            ("https://*.example", "is no origin"),
            ("https://", "is no origin"),
            ("null", "is no origin"),
        ] {
            let error = origin(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn index_names() {
        assert_eq!(index_name("index.html").as_deref(), Ok("index.html"));
        for bad in ["a/b", "..", ".htaccess", "a\\b"] {
            assert!(index_name(bad).is_err(), "{bad}");
        }
    }
}
