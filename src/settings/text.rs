//! Settings that are read by a function of their own: files, addresses, names.

use std::path::PathBuf;

use super::kind::{Form, Kind};

/// A value that a function reads.
pub(crate) struct Text<T> {
    /// What stands for it in a usage line.
    pub(crate) placeholder: &'static str,
    /// Checks it and brings it into the form in which it is compared.
    pub(crate) read: fn(&str) -> Result<T, String>,
}

impl<T> Kind for Text<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Result<T, String> {
        (self.read)(text)
    }

    fn form(&self) -> Form {
        Form::one(self.placeholder, "")
    }
}

pub(crate) const FILE: Text<PathBuf> = Text {
    placeholder: "FILE",
    read: path,
};
pub(crate) const DIR: Text<PathBuf> = Text {
    placeholder: "DIR",
    read: path,
};

impl Text<String> {
    /// Text that is checked together with other settings.
    pub(crate) const fn any(placeholder: &'static str) -> Self {
        Self {
            placeholder,
            read: |text| Ok(text.to_owned()),
        }
    }
}

/// A file or folder.
fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("the name is empty".to_owned()),
        _ => Ok(PathBuf::from(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        assert_eq!(FILE.parse("./off"), Ok(PathBuf::from("./off")));
        assert_eq!(FILE.parse("").unwrap_err(), "the name is empty");
    }
}
