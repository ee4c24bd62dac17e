//! Where values come from, and how what is wrong with them is told.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from. Later variants win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table of settings.
    Default,
    /// A configuration file.
    File {
        /// Its name, as it was given.
        path: PathBuf,
        /// Line of the key, counted from 1.
        line: usize,
    },
    /// An environment variable, by name.
    Environment(String),
    /// A flag, by name without its dashes.
    Flag(String),
}

impl Origin {
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A value for a setting, as text, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The setting's key, such as `max_body`.
    pub key: String,
    /// The value; the elements of a list are separated by commas.
    pub text: String,
    /// Where it stands.
    pub origin: Origin,
}

impl Entry {
    /// An entry.
    pub fn new(key: &str, text: &str, origin: Origin) -> Self {
        Self {
            key: key.to_owned(),
            text: text.to_owned(),
            origin,
        }
    }
}

/// Something wrong in one of the layers, with the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// The setting, if it is about one.
    pub key: Option<String>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, &self.key) {
            // A flag or a variable is the setting's name already.
            (Origin::Default, Some(key)) => write!(f, "{key}: {}", self.message),
            (Origin::File { .. }, Some(key)) => {
                write!(f, "{}: {key}: {}", self.origin, self.message)
            }
            _ => write!(f, "{}: {}", self.origin, self.message),
        }
    }
}
