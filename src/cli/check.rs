//! `bayeux check`: is the configuration accepted, and what does it come to?

use std::io::{self, Write};

use clap::ArgMatches;

use super::failure::{Failure, say};
use super::settings::{file_name, settings};
use crate::config::{Origin, Setting};

/// Prints the settings in force as a configuration file, each with its origin.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let loaded = settings(matches)?;
    for warning in &loaded.warnings {
        say(format_args!("warning: {warning}"));
    }
    let text: String = loaded.settings.iter().map(line).collect();
    // A reader that has seen enough is fine.
    let _ = io::stdout().write_all(text.as_bytes());
    match file_name(matches) {
        Some(path) => say(format_args!("{}: ok", path.display())),
        None => say("ok"),
    }
    Ok(())
}

/// `key = value # origin`, as the file would have it.
fn line(setting: &Setting) -> String {
    let Setting { knob, text, origin } = setting;
    let plain = text.parse::<u64>().is_ok() || matches!(text.as_str(), "true" | "false");
    // Switches and numbers need no quotes; in text only these two cannot stand as they are.
    let value = match plain {
        true => text.clone(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    match origin {
        Origin::Default => format!("{} = {value}\n", knob.key),
        _ => format!("{} = {value} # {origin}\n", knob.key),
    }
}
