//! Settings that are text: files, and whatever has a test of its own.

use std::path::PathBuf;

use super::kind::{Form, Kind};

/// A file or folder.
pub(crate) struct File {
    /// `FILE` or `DIR`.
    pub(crate) placeholder: &'static str,
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
pub(crate) struct Text {
    /// What stands for it in a usage line.
    pub(crate) placeholder: &'static str,
    /// The spelling, for help.
    pub(crate) spelling: &'static str,
    /// Checks it and brings it into the form in which it is compared.
    pub(crate) read: fn(&str) -> Result<String, String>,
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

pub(crate) const FILE: File = File {
    placeholder: "FILE",
};
pub(crate) const DIR: File = File { placeholder: "DIR" };

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
}
