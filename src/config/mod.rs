//! Every setting of a server, defined once.
//!
//! In scope: [`Config`] as plain data, with the parts that other modules own; the table of
//! [`Knob`]s from which flags, environment variables, file keys and help come; merging the layers
//! flag, environment, file and default; checks across the parts.
//! Out of scope: the command line itself (`cli`), how a setting is declared and read from text
//! (`settings`), and obeying the settings (everyone else).
//!
//! ```
//! use bayeux::config::{Config, Entry, Origin, load};
//! use std::time::Duration;
//!
//! // An embedder writes values ...
//! let mut config = Config::default();
//! config.broker.timeout = Duration::from_secs(20);
//! config.check().unwrap();
//!
//! // ... a program reads them as text; what a flag says wins.
//! let loaded = load([
//!     Entry::new("timeout", "20s", Origin::Flag("timeout".into())),
//!     Entry::new("timeout", "10s", Origin::Environment("BAYEUX_TIMEOUT".into())),
//! ])
//! .unwrap();
//! assert_eq!(loaded.config.broker.timeout, Duration::from_secs(20));
//! ```

mod address;
mod check;
mod environment;
#[cfg(feature = "cli")]
mod file;
mod knobs;
mod layers;
mod origin;
mod table;
#[cfg(feature = "link")]
mod text;
mod words;

pub use address::ListenAddress;
pub use check::{ConfigError, Conflict};
pub use environment::environment;
#[cfg(feature = "cli")]
pub use file::read_file;
pub use knobs::Config;
pub use layers::{Loaded, Setting, load};
pub use origin::{Entry, Origin, Problem};
pub use table::{KNOBS, Knob};
pub use words::Connector;

pub use crate::settings::{Form, duration};
pub use crate::util::{InvalidNetwork, Network, raise_file_limit};
