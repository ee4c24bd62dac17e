//! From arguments, environment and file to a configuration.

use std::env;
use std::fs;
use std::path::PathBuf;

use clap::ArgMatches;

use super::arguments::CONFIG;
use super::failure::Failure;
use crate::config::{self, Entry, KNOBS, Loaded, Origin};

/// The configuration in force.
///
/// Raises the file limit of the process first, since a default follows it.
pub(super) fn settings(matches: &ArgMatches) -> Result<Loaded, Failure> {
    config::raise_file_limit();
    let mut entries = Vec::new();
    let mut wrong = Vec::new();
    for layer in [file(matches)?, config::environment(env::vars_os())] {
        match layer {
            Ok(layer) => entries.extend(layer),
            Err(problems) => wrong.extend(problems),
        }
    }
    entries.extend(flags(matches));
    match config::load(entries) {
        Ok(loaded) if wrong.is_empty() => Ok(loaded),
        Ok(_) => Err(wrong.into()),
        Err(problems) => {
            wrong.extend(problems);
            Err(wrong.into())
        }
    }
}

/// The configuration file, if one is named.
pub(super) fn file_name(matches: &ArgMatches) -> Option<PathBuf> {
    let flag = matches.get_one::<String>(CONFIG).map(PathBuf::from);
    let variable = || env::var_os("BAYEUX_CONFIG").filter(|name| !name.is_empty());
    flag.or_else(|| variable().map(PathBuf::from))
}

type Layer = Result<Vec<Entry>, Vec<config::Problem>>;

fn file(matches: &ArgMatches) -> Result<Layer, Failure> {
    let Some(path) = file_name(matches) else {
        return Ok(Ok(Vec::new()));
    };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(config::read_file(&path, &text)),
        Err(error) => Err(Failure::Wrong(vec![format!("{}: {error}", path.display())])),
    }
}

fn flags(matches: &ArgMatches) -> Vec<Entry> {
    let given = |key: &str| matches.get_many::<String>(key);
    KNOBS
        .iter()
        .filter_map(|knob| {
            let values: Vec<&str> = given(knob.key)?.map(String::as_str).collect();
            Some(Entry::new(
                knob.key,
                &values.join(","),
                Origin::Flag(knob.flag()),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::program;

    #[test]
    fn flags_become_entries() {
        let matches = program()
            .try_get_matches_from(["bayeux", "--listen", "a:1", "--listen", "b:2", "--demo"])
            .unwrap();
        let flag = |key: &str, text: &str| Entry::new(key, text, Origin::Flag(key.to_owned()));
        assert_eq!(
            flags(&matches),
            [flag("listen", "a:1,b:2"), flag("demo", "true")]
        );
    }
}
