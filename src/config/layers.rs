//! The layers from which a configuration comes: flag over environment over file over default; and
//! how what is wrong in one of them is told.

use std::fmt;
use std::path::PathBuf;

use super::server::Config;
use super::table::SETTINGS;
use crate::settings::{Conflict, Setting, did_you_mean};

/// Where a value comes from. Later variants win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
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

impl Source {
    fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Source {
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
    pub source: Source,
}

impl Entry {
    /// An entry.
    pub fn new(key: &str, text: &str, source: Source) -> Self {
        Self {
            key: key.to_owned(),
            text: text.to_owned(),
            source,
        }
    }
}

/// Something wrong in one of the layers, with the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// The setting, if it is about one.
    pub key: Option<String>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Problem {
    pub(super) fn new(source: Source, key: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            source,
            key: key.map(str::to_owned),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, &self.key) {
            // A flag or a variable is the setting's name already.
            (Source::Default, Some(key)) => write!(f, "{key}: {}", self.message),
            (Source::File { .. }, Some(key)) => {
                write!(f, "{}: {key}: {}", self.source, self.message)
            }
            _ => write!(f, "{}: {}", self.source, self.message),
        }
    }
}

/// The value in force for one setting.
#[derive(Clone, Debug)]
pub struct Value {
    /// Which.
    pub setting: &'static Setting<Config>,
    /// Its value, as it was written.
    pub text: String,
    /// Where it was written.
    pub source: Source,
}

/// What the layers come to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The typed values.
    pub config: Config,
    /// The same as text with its source, in the order of the table.
    pub values: Vec<Value>,
    /// What was written but has no effect, one line each; see also [`Config::warnings`].
    pub warnings: Vec<String>,
}

/// Merges the layers and checks the result. The order of the entries does not matter, except among
/// those of one layer for one setting, where the last one wins.
///
/// Every entry is checked, also one that another layer overrules. The error has all problems.
pub fn load(entries: impl IntoIterator<Item = Entry>) -> Result<Loaded, Vec<Problem>> {
    let default = |setting: &'static Setting<Config>| Value {
        setting,
        text: setting.default_text(),
        source: Source::Default,
    };
    let mut values: Vec<Value> = SETTINGS.iter().map(default).collect();
    let mut problems = Vec::new();
    for Entry { key, text, source } in entries {
        let Some(value) = values.iter_mut().find(|value| value.setting.key == key) else {
            problems.push(unknown_key(&key, source));
            continue;
        };
        if let Err(message) = value.setting.set(&mut Config::default(), &text) {
            problems.push(Problem::new(source, Some(&key), message));
        } else if source.rank() >= value.source.rank() {
            value.text = text;
            value.source = source;
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut config = Config::default();
    for Value { setting, text, .. } in &values {
        let set = setting.set(&mut config, text);
        set.expect("because each text has been read before");
    }
    let source = |key| {
        let value = values.iter().find(|value| value.setting.key == key);
        value.map_or(Source::Default, |value| value.source.clone())
    };
    if let Err(error) = config.check() {
        let conflicts = error.conflicts.into_iter();
        let problem = |Conflict { key, message }| Problem::new(source(key), Some(key), message);
        return Err(conflicts.map(problem).collect());
    }
    let warnings = without_effect(&config, &values);
    Ok(Loaded {
        config,
        values,
        warnings,
    })
}

/// The problem of a key that is none.
pub(super) fn unknown_key(key: &str, source: Source) -> Problem {
    let hint = did_you_mean(key, SETTINGS.iter().map(|setting| setting.key));
    Problem::new(source, None, format!("unknown key `{key}`{hint}"))
}

/// Settings that somebody wrote down, but that the chosen connector does not have.
fn without_effect(config: &Config, values: &[Value]) -> Vec<String> {
    if config.connector.is_native() {
        return Vec::new();
    }
    let written = values
        .iter()
        .filter(|value| value.source != Source::Default);
    let vain = written.filter(|value| value.setting.native_only);
    vain.map(
        |Value {
             setting, source, ..
         }| {
            let key = setting.key;
            format!("{source}: {key} has no effect with the connector tiny-http")
        },
    )
    .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn flag(key: &str, text: &str) -> Entry {
        Entry::new(key, text, Source::Flag(key.replace('_', "-")))
    }

    fn variable(key: &str, text: &str) -> Entry {
        let name = format!("BAYEUX_{}", key.to_uppercase());
        Entry::new(key, text, Source::Environment(name))
    }

    fn file(key: &str, text: &str, line: usize) -> Entry {
        Entry::new(
            key,
            text,
            Source::File {
                path: "b.toml".into(),
                line,
            },
        )
    }

    fn lines(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn precedence() {
        let layers = [
            file("timeout", "1s", 1),
            variable("timeout", "2s"),
            flag("timeout", "3s"),
        ];
        // Each subset, in both orders.
        for subset in 0_usize..8 {
            let chosen: Vec<Entry> = (0..3)
                .filter(|n| subset & (1 << n) != 0)
                .map(|n| layers[n].clone())
                .collect();
            let seconds = match subset {
                0 => 30,
                _ => 1 + u64::from(subset.ilog2()),
            };
            let source = chosen
                .last()
                .map_or(Source::Default, |entry| entry.source.clone());
            for entries in [chosen.clone(), chosen.into_iter().rev().collect()] {
                let loaded = load(entries).unwrap();
                assert_eq!(
                    loaded.config.broker.timeout,
                    Duration::from_secs(seconds),
                    "{subset}"
                );
                let mut values = loaded.values.iter();
                let timeout = values.find(|value| value.setting.key == "timeout").unwrap();
                assert_eq!(timeout.source, source);
            }
        }
    }

    #[test]
    fn all_problems_with_their_places() {
        let problems = load([
            file("max_bdy", "1MiB", 3),
            file("timeout", "30", 4),
            variable("overflow", "drop"),
            flag("max_sessions", "many"),
            // Overruled, but wrong all the same.
            flag("timeout", "5s"),
        ]);
        assert_eq!(
            lines(&problems.unwrap_err()),
            [
                "b.toml:3: unknown key `max_bdy`; did you mean `max_body`?",
                "b.toml:4: timeout: `30` has no unit; did you mean `30s` or `30ms`?",
                "BAYEUX_OVERFLOW: `drop` is none of drop-oldest, drop-newest, disconnect",
                "--max-sessions: `many` is no whole number",
            ]
        );
    }

    #[test]
    fn conflicts_have_the_place_of_their_key() {
        let problems = load([
            file("require_browser_cookie", "true", 7),
            flag("allowed_origin", "*"),
            flag("timeout", "0s"),
        ]);
        let lines = lines(&problems.unwrap_err());
        assert!(
            lines[0].starts_with("b.toml:7: require_browser_cookie: cannot be"),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with("interval: with a timeout of 0s"),
            "{lines:?}"
        );
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let loaded = load([
            flag("connector", "tiny-http"),
            file("header_timeout", "3s", 2),
        ]);
        assert_eq!(
            loaded.unwrap().warnings,
            ["b.toml:2: header_timeout has no effect with the connector tiny-http"]
        );
        assert!(
            load([file("header_timeout", "3s", 2)])
                .unwrap()
                .warnings
                .is_empty()
        );
    }
}
