//! The layers from which a configuration comes: flag over environment over file over default.

use super::check::Conflict;
use super::knobs::Config;
use super::origin::{Entry, Origin, Problem};
use super::table::KNOBS;
use super::table::Knob;
use crate::settings::nearest;

/// The value in force for one setting.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Which.
    pub knob: &'static Knob,
    /// Its value, as it was written.
    pub text: String,
    /// Where it was written.
    pub origin: Origin,
}

/// What the layers come to.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The typed values.
    pub config: Config,
    /// The same as text with its origin, in the order of the table.
    pub settings: Vec<Setting>,
    /// What is accepted but will not do what it says; one line each.
    pub warnings: Vec<String>,
}

/// Merges the layers and checks the result. The order of the entries does not matter, except among
/// those of one layer for one setting, where the last one wins.
///
/// Every entry is checked, also one that another layer overrules. The error has all problems.
pub fn load(entries: impl IntoIterator<Item = Entry>) -> Result<Loaded, Vec<Problem>> {
    let mut settings: Vec<Setting> = KNOBS
        .iter()
        .map(|knob| Setting {
            knob,
            text: knob.default_text(),
            origin: Origin::Default,
        })
        .collect();
    let mut problems = Vec::new();
    for Entry { key, text, origin } in entries {
        let Some(setting) = settings.iter_mut().find(|setting| setting.knob.key == key) else {
            problems.push(unknown_key(&key, origin));
            continue;
        };
        if let Err(message) = setting.knob.set(&mut Config::default(), &text) {
            problems.push(Problem {
                origin,
                key: Some(key),
                message,
            });
        } else if origin.rank() >= setting.origin.rank() {
            setting.text = text;
            setting.origin = origin;
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut config = Config::default();
    for setting in &settings {
        setting
            .knob
            .set(&mut config, &setting.text)
            .expect("because each text has been read before");
    }
    if let Err(error) = config.check() {
        let conflicts = error.conflicts.into_iter();
        let problem = |conflict: Conflict| problem_of(conflict.key, conflict.message, &settings);
        return Err(conflicts.map(problem).collect());
    }
    let mut warnings = without_effect(&config, &settings);
    warnings.extend(dropped_cookies(&config, &settings));
    Ok(Loaded {
        config,
        settings,
        warnings,
    })
}

/// A problem of a setting, at the place of its value in force.
fn problem_of(key: &'static str, message: String, settings: &[Setting]) -> Problem {
    let place = settings.iter().find(|setting| setting.knob.key == key);
    Problem {
        origin: place.map_or(Origin::Default, |setting| setting.origin.clone()),
        key: Some(key.to_owned()),
        message,
    }
}

/// A cookie that browsers will not keep.
fn dropped_cookies(config: &Config, settings: &[Setting]) -> Option<String> {
    let message = "needs tls_cert, trusted_proxy or cookie_secure: \
                   over plain http browsers drop such a cookie";
    let problem = |key| problem_of(key, message.to_owned(), settings);
    config.drops_cookies().map(|key| problem(key).to_string())
}

/// The problem of a key that is none.
pub(super) fn unknown_key(key: &str, origin: Origin) -> Problem {
    let hint = nearest(key, KNOBS.iter().map(|knob| knob.key));
    let hint = hint
        .map(|better| format!("; did you mean `{better}`?"))
        .unwrap_or_default();
    Problem {
        origin,
        message: format!("unknown key `{key}`{hint}"),
        key: None,
    }
}

/// Settings that somebody wrote down, but that the chosen connector cannot obey.
fn without_effect(config: &Config, settings: &[Setting]) -> Vec<String> {
    if config.connector.is_native() {
        return Vec::new();
    }
    settings
        .iter()
        .filter(|setting| setting.knob.native_only && setting.origin != Origin::Default)
        .map(|Setting { knob, origin, .. }| {
            format!(
                "{origin}: {} has no effect with the connector tiny-http",
                knob.key
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn flag(key: &str, text: &str) -> Entry {
        Entry::new(key, text, Origin::Flag(key.replace('_', "-")))
    }

    fn variable(key: &str, text: &str) -> Entry {
        let name = format!("BAYEUX_{}", key.to_uppercase());
        Entry::new(key, text, Origin::Environment(name))
    }

    fn file(key: &str, text: &str, line: usize) -> Entry {
        Entry::new(
            key,
            text,
            Origin::File {
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
            let origin = chosen
                .last()
                .map_or(Origin::Default, |entry| entry.origin.clone());
            for entries in [chosen.clone(), chosen.into_iter().rev().collect()] {
                let loaded = load(entries).unwrap();
                assert_eq!(
                    loaded.config.broker.timeout,
                    Duration::from_secs(seconds),
                    "{subset}"
                );
                let setting = loaded
                    .settings
                    .iter()
                    .find(|s| s.knob.key == "timeout")
                    .unwrap();
                assert_eq!(setting.origin, origin);
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

    #[test]
    fn a_cookie_that_browsers_drop_is_said() {
        let why = "needs tls_cert, trusted_proxy or cookie_secure: over plain http browsers drop \
                   such a cookie";
        for (setting, value) in [
            ("cookie_same_site", "none"),
            ("cookie_partitioned", "true"),
            ("cookie_name", "__Secure-id"),
        ] {
            let warnings = |more: &[Entry]| {
                let entries = more.iter().cloned().chain([file(setting, value, 2)]);
                load(entries).unwrap().warnings
            };
            assert_eq!(warnings(&[]), [format!("b.toml:2: {setting}: {why}")]);
            for (other, value) in [
                ("cookie_secure", "true"),
                ("trusted_proxy", "127.0.0.1"),
                ("allowed_origin", "*"),
            ] {
                assert_eq!(warnings(&[flag(other, value)]), [""; 0], "{setting} {other}");
            }
        }
        assert_eq!(load([]).unwrap().warnings, [""; 0]);
    }
}
