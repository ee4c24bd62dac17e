//! From arguments, environment and file to a configuration, and `bayeux check`, which shows what
//! they come to.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::ArgMatches;

use super::arguments::CONFIG;
use super::output::{Failure, say};
use crate::config::{self, Entry, Loaded, SETTINGS, Source, Value};

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
fn file_name(matches: &ArgMatches) -> Option<PathBuf> {
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
    SETTINGS
        .iter()
        .filter_map(|setting| {
            let values: Vec<&str> = given(setting.key)?.map(String::as_str).collect();
            Some(Entry::new(
                setting.key,
                &values.join(","),
                Source::Flag(setting.flag()),
            ))
        })
        .collect()
}

/// Prints the settings in force as a configuration file, each with its source.
pub(super) fn check(matches: &ArgMatches) -> Result<(), Failure> {
    let loaded = settings(matches)?;
    let of_config = loaded.config.warnings().into_iter();
    let of_config = of_config.map(|warning| warning.to_string());
    for warning in loaded.warnings.into_iter().chain(of_config) {
        say(format_args!("warning: {warning}"));
    }
    let mut text: String = loaded.values.iter().map(line).collect();
    text += "\n# Memory that these settings allow at the most:\n";
    for row in loaded.config.bounds().to_string().lines() {
        text += &format!("# {row}\n");
    }
    // A reader that has seen enough is fine.
    let _ = io::stdout().write_all(text.as_bytes());
    match file_name(matches) {
        Some(path) => say(format_args!("{}: ok", path.display())),
        None => say("ok"),
    }
    Ok(())
}

/// `key = value # source`, as the file would have it.
fn line(value: &Value) -> String {
    let Value {
        setting,
        text,
        source,
    } = value;
    let plain = text.parse::<u64>().is_ok() || matches!(text.as_str(), "true" | "false");
    // Switches and numbers need no quotes; in text only these two cannot stand as they are.
    let value = match plain {
        true => text.clone(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    match source {
        Source::Default => format!("{} = {value}\n", setting.key),
        _ => format!("{} = {value} # {source}\n", setting.key),
    }
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
        let flag = |key: &str, text: &str| Entry::new(key, text, Source::Flag(key.to_owned()));
        assert_eq!(
            flags(&matches),
            [flag("listen", "a:1,b:2"), flag("demo", "true")]
        );
    }
}
