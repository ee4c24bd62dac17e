//! Every setting of a server, defined once.
//!
//! In scope: [`Config`] as plain data, with the parts that other modules own; the table of
//! [`Setting`]s from which flags, environment variables, file keys and help come; merging the
//! layers flag, environment, file and default; checks across the parts.
//! Out of scope: the command line itself (`cli`), how a setting is declared and read from text
//! (`settings`), and what the settings do (everyone else).
//!
//! ```
//! use bayeux::config::{Config, Entry, Source, load};
//! use std::time::Duration;
//!
//! // An embedder writes values ...
//! let mut config = Config::default();
//! config.broker.timeout = Duration::from_secs(20);
//! config.check().unwrap();
//!
//! // ... a program reads them as text; what a flag says wins.
//! let loaded = load([
//!     Entry::new("timeout", "20s", Source::Flag("timeout".into())),
//!     Entry::new("timeout", "10s", Source::Environment("BAYEUX_TIMEOUT".into())),
//! ])
//! .unwrap();
//! assert_eq!(loaded.config.broker.timeout, Duration::from_secs(20));
//! ```

mod address;
#[cfg(feature = "cli")]
mod bounds;
mod check;
mod environment;
#[cfg(feature = "cli")]
mod file;
mod layers;
mod server;
mod table;

pub use address::ListenAddress;
pub use check::ConfigError;
#[cfg(feature = "cli")]
pub(crate) use check::exposed;
pub use environment::environment;
#[cfg(feature = "cli")]
pub use file::read_file;
pub use layers::{Entry, Loaded, Problem, Source, Value, load};
pub use server::{Config, Connector};
pub use table::SETTINGS;

pub use crate::settings::{Conflict, Form, Setting, duration};
pub use crate::util::{InvalidNetwork, Network, raise_file_limit};
