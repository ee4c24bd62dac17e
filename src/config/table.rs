//! All settings in one table, whichever module they belong to.

use std::sync::LazyLock;

use super::server::Config;
use crate::settings::{Setting, Settings};

/// All settings, in the order of the help text: by section, and there by module.
pub static SETTINGS: LazyLock<Vec<Setting<Config>>> = LazyLock::new(|| {
    fn add<P: Settings>(
        all: &mut Vec<Setting<Config>>,
        part: fn(&Config) -> &P,
        part_mut: fn(&mut Config) -> &mut P,
    ) {
        all.extend(P::rows().into_iter().map(|row| row.of(part, part_mut)));
    }
    let mut all = Config::rows();
    add(&mut all, |c| &c.broker, |c| &mut c.broker);
    add(
        &mut all,
        |c| &c.broker.extensions,
        |c| &mut c.broker.extensions,
    );
    add(&mut all, |c| &c.broker.queue, |c| &mut c.broker.queue);
    add(&mut all, |c| &c.broker.traffic, |c| &mut c.broker.traffic);
    add(&mut all, |c| &c.site.cookie, |c| &mut c.site.cookie);
    add(&mut all, |c| &c.site, |c| &mut c.site);
    #[cfg(feature = "native")]
    add(&mut all, |c| &c.native, |c| &mut c.native);
    all.sort_by_key(|setting| SECTIONS.iter().position(|known| *known == setting.section));
    all
});

/// The setting with that key.
pub(super) fn setting(key: &str) -> Option<&'static Setting<Config>> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

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
