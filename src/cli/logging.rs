//! Where the log goes.

use std::fs::OpenOptions;
use std::io::{self, LineWriter, Write};

use simplelog::{ConfigBuilder, WriteLogger};

use super::output::Failure;
use crate::config::Config;

/// Installs a log writer for the whole traffic of a client, on standard error.
pub(super) fn show_everything() -> Result<(), Failure> {
    let format = ConfigBuilder::new()
        .set_time_level(log::LevelFilter::Off)
        .set_thread_level(log::LevelFilter::Off)
        .set_target_level(log::LevelFilter::Off)
        .set_location_level(log::LevelFilter::Off)
        .add_filter_allow_str("bayeux")
        .build();
    WriteLogger::init(
        log::LevelFilter::Debug,
        format,
        LineWriter::new(io::stderr()),
    )
    .map_err(|error| Failure::unable("log", error))
}

/// Installs the log writer: times in UTC, one write for each line.
pub(super) fn install(config: &Config) -> Result<(), Failure> {
    let writer: Box<dyn Write + Send> = match &config.log_file {
        None => Box::new(io::stderr()),
        Some(path) => {
            let opened = OpenOptions::new().append(true).create(true).open(path);
            Box::new(opened.map_err(|error| Failure::unable(path.display(), error))?)
        }
    };
    let format = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_time_level(log::LevelFilter::Error)
        .set_thread_level(log::LevelFilter::Off)
        .set_target_level(log::LevelFilter::Debug)
        .set_location_level(log::LevelFilter::Off)
        .build();
    WriteLogger::init(config.log_level, format, LineWriter::new(writer))
        .map_err(|error| Failure::unable("log", error))
}
