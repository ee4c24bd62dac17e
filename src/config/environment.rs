//! Settings from environment variables.

use std::ffi::OsString;

use super::layers::{Entry, Problem, Source};
use super::table::SETTINGS;
use crate::settings::{Setting, nearest};

/// The variable that names the configuration file; no setting, since a file cannot name itself.
const FILE_VARIABLE: &str = "BAYEUX_CONFIG";

/// The entries of the environment: all variables of the settings' names that are not empty.
///
/// A misspelt one is a problem. Other variables that begin with `BAYEUX_` are not ours: container
/// systems set such for every service of that name.
pub fn environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<Entry>, Vec<Problem>> {
    let names: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let mut entries = Vec::new();
    let mut problems = Vec::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with("BAYEUX_")) else {
            continue;
        };
        if name == FILE_VARIABLE || value.is_empty() {
            continue;
        }
        let source = Source::Environment(name.to_owned());
        let Some(index) = names.iter().position(|known| known == name) else {
            let bare = |name| str::strip_prefix(name, "BAYEUX_").unwrap_or(name);
            let known = names.iter().map(String::as_str).chain([FILE_VARIABLE]);
            if let Some(better) = nearest(bare(name), known.map(bare)) {
                let message = format!("unknown variable; did you mean `BAYEUX_{better}`?");
                problems.push(Problem::new(source, None, message));
            }
            continue;
        };
        match value.to_str() {
            Some(text) => entries.push(Entry::new(SETTINGS[index].key, text, source)),
            None => problems.push(Problem::new(source, None, "is not UTF-8")),
        }
    }
    if problems.is_empty() {
        Ok(entries)
    } else {
        Err(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn variables() {
        let pairs = |pairs: &[(&str, &str)]| {
            environment(
                pairs
                    .iter()
                    .map(|&(name, value)| (name.into(), value.into())),
            )
        };
        let entries = pairs(&[
            ("HOME", "/root"),
            ("BAYEUX_CONFIG", "x.toml"),
            ("BAYEUX_TIMEOUT", "2s"),
            ("BAYEUX_LISTEN", ""),
            ("BAYEUX_PORT", "tcp://10.0.0.1:80"),
            ("BAYEUX_SERVICE_HOST", "10.0.0.1"),
        ]);
        assert_eq!(
            entries.unwrap(),
            [Entry::new(
                "timeout",
                "2s",
                Source::Environment("BAYEUX_TIMEOUT".to_owned())
            )]
        );
        let problems = pairs(&[("BAYEUX_TIMOUT", "2s"), ("BAYEUX_CONFIGS", "x")]).unwrap_err();
        assert_eq!(
            lines(&problems),
            [
                "BAYEUX_TIMOUT: unknown variable; did you mean `BAYEUX_TIMEOUT`?",
                "BAYEUX_CONFIGS: unknown variable; did you mean `BAYEUX_CONFIG`?",
            ]
        );
    }

    #[test]
    #[cfg(unix)]
    fn variables_that_are_no_text() {
        use std::os::unix::ffi::OsStringExt;
        let value = OsString::from_vec(vec![0xff]);
        let problems = environment([(OsString::from("BAYEUX_PATH"), value)]).unwrap_err();
        assert_eq!(lines(&problems), ["BAYEUX_PATH: is not UTF-8"]);
    }
}
