//! All settings in one table, whichever module they belong to.

use std::fmt;
use std::sync::LazyLock;

use super::knobs::Config;
use crate::settings::{Form, Row, Settings};

/// One setting, as flags, environment variables, file keys and help see it.
pub struct Knob {
    /// Its name and the key of the file, such as `max_body`.
    pub key: &'static str,
    /// Heading under which it is listed.
    pub section: &'static str,
    /// What it does, one line; then, after an empty line, why, with more detail.
    pub about: &'static str,
    /// The limits, as text: `A to B` or `A or more`.
    pub limits: Option<&'static str>,
    /// The default in words; where it is not computed the same as
    /// [`default_text`](Self::default_text).
    pub default: &'static str,
    /// Only the native connector can obey it.
    pub native_only: bool,
    form: fn() -> Form,
    computed: Option<fn() -> String>,
    set: Box<Set>,
    verify: Box<Verify>,
}

type Set = dyn Fn(&mut Config, &str) -> Result<(), String> + Send + Sync;
type Verify = dyn Fn(&Config) -> Result<(), String> + Send + Sync;

impl Knob {
    fn new<C>(
        row: &'static Row<C>,
        part: fn(&Config) -> &C,
        part_mut: fn(&mut Config) -> &mut C,
    ) -> Self {
        Self {
            key: row.key,
            section: row.section,
            about: row.about,
            limits: row.limits,
            default: row.default,
            native_only: row.native_only,
            form: row.form,
            computed: row.computed,
            set: Box::new(move |config, text| (row.set)(part_mut(config), text)),
            verify: Box::new(move |config| (row.verify)(part(config))),
        }
    }

    /// The flag without its dashes: `max-body`.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// The environment variable: `BAYEUX_MAX_BODY`.
    pub fn variable(&self) -> String {
        format!("BAYEUX_{}", self.key.to_ascii_uppercase())
    }

    /// What its value looks like.
    pub fn form(&self) -> Form {
        (self.form)()
    }

    /// The default as it would be written; computed on this machine if need be.
    pub fn default_text(&self) -> String {
        self.computed
            .map_or_else(|| self.default.to_owned(), |compute| compute())
    }

    pub(super) fn set(&self, config: &mut Config, text: &str) -> Result<(), String> {
        (self.set)(config, text)
    }

    pub(super) fn verify(&self, config: &Config) -> Result<(), String> {
        (self.verify)(config)
    }
}

impl fmt::Debug for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Knob({})", self.key)
    }
}

/// All settings, in the order of the help text: by section, and there by module.
pub static KNOBS: LazyLock<Vec<Knob>> = LazyLock::new(|| {
    fn rows<C: Settings>(
        part: fn(&Config) -> &C,
        part_mut: fn(&mut Config) -> &mut C,
    ) -> impl Iterator<Item = Knob> {
        C::ROWS
            .iter()
            .map(move |row| Knob::new(row, part, part_mut))
    }
    let own = rows(|config| config, |config| config);
    let broker = rows(|config| &config.broker, |config| &mut config.broker);
    let queue = rows(
        |config| &config.broker.queue,
        |config| &mut config.broker.queue,
    );
    let extensions = rows(
        |config| &config.broker.extensions,
        |config| &mut config.broker.extensions,
    );
    let cookie = rows(
        |config| &config.site.cookie,
        |config| &mut config.site.cookie,
    );
    let site = rows(|config| &config.site, |config| &mut config.site);
    let bayeux = broker.chain(extensions).chain(queue);
    let mut all: Vec<Knob> = own.chain(bayeux).chain(cookie).chain(site).collect();
    #[cfg(feature = "native")]
    all.extend(rows(|config| &config.native, |config| &mut config.native));
    let place = |section| SECTIONS.iter().position(|known| *known == section);
    all.sort_by_key(|knob| place(knob.section));
    all
});

/// In the order of the help text.
pub(super) const SECTIONS: [&str; 9] = [
    "Listening",
    "Bayeux",
    "Sessions and queues",
    "Browsers",
    "Requests",
    "Threads",
    "Files",
    "Linked processes",
    "Operations",
];
