//! The table of settings: its texts, defaults, limits, and what is said of wrong values.

use std::collections::BTreeSet;

use super::*;
use crate::broker::Overflow;
use crate::config::SETTINGS;
use crate::config::table::{SECTIONS, setting};
use crate::http::CallbackPolling;
use crate::settings::Kind;

fn same(one: &Config, other: &Config) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

#[test]
fn every_default_is_readable_and_within_its_limits() {
    let mut config = Config::default();
    for setting in SETTINGS.iter() {
        assert_eq!(
            setting.set(&mut config, &setting.default_text()),
            Ok(()),
            "{}",
            setting.key
        );
        assert_eq!(setting.verify(&config), Ok(()), "{}", setting.key);
    }
    assert!(same(&config, &Config::default()));
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn names() {
    let keys: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.key).collect();
    assert_eq!(keys.len(), SETTINGS.len());
    let total = setting("max_queued_total").unwrap();
    assert_eq!(total.flag(), "max-queued-total");
    assert_eq!(total.variable(), "BAYEUX_MAX_QUEUED_TOTAL");
}

#[test]
fn sections_follow_each_other() {
    let mut sections: Vec<&str> = SETTINGS.iter().map(|setting| setting.section).collect();
    sections.dedup();
    assert_eq!(sections, SECTIONS);
}

#[test]
fn texts_are_one_line_then_more() {
    for setting in SETTINGS.iter() {
        let first = setting.about.lines().next().unwrap().trim();
        assert!(
            first.ends_with('.') && first.len() <= 92,
            "{}: {first}",
            setting.key
        );
    }
}

#[test]
fn limits_are_checked_on_text_and_on_data() {
    let timeout = setting("timeout").unwrap();
    let mut config = Config::default();
    assert_eq!(
        timeout.set(&mut config, "25h"),
        Err("`25h` is out of range: must be 0s to 1d".to_owned())
    );
    assert!(same(&config, &Config::default()));
    config.broker.timeout = Duration::from_secs(90_000);
    assert_eq!(timeout.verify(&config), Err("must be 0s to 1d".to_owned()));
    config.broker.timeout = Duration::from_secs(86_400);
    assert_eq!(timeout.verify(&config), Ok(()));

    let held = setting("max_held_per_ip").unwrap();
    assert!(held.set(&mut config, "0").is_err());
    assert_eq!(held.set(&mut config, "off"), Ok(()));
    assert_eq!(held.set(&mut config, "2"), Ok(()));
    assert_eq!(config.broker.max_held_per_ip, Some(2));

    let expires = setting("expires").unwrap();
    assert_eq!(
        expires.set(&mut config, "text/css=366d,text/html=0s"),
        Ok(())
    );
    assert!(expires.set(&mut config, "text/css=367d").is_err());
}

#[test]
fn what_is_refused_is_not_suggested() {
    let wrong = [
        "",
        " ",
        "/",
        "//",
        "*",
        "**",
        "a b",
        "x",
        "x/",
        "x y/",
        "null",
        "file://x y",
        "a@b",
        "*.x.example",
        "a.example",
        "a.example/x y",
        "http://a b",
        "http://u@a",
        "*:x",
        "8080",
        ":8080",
        "*:8080",
        "1",
        "-1",
        "1.5",
        "1 s",
        "10",
        "10sec",
        "7 days",
        "99999999999h",
        "5 kb",
        "5kb",
        "5 gigs",
        "none",
        "unlimited",
        "yes",
        "no",
        "0",
        "off",
        "auto",
        "true",
        "trace2",
        "drop_first",
        "text/css",
        "text/css=",
        "x=y",
        "=",
        ".x=a/b",
        "10.0.0.0/99",
        "\u{e9}",
    ];
    for setting in SETTINGS.iter() {
        for text in wrong {
            let Err(error) = setting.set(&mut Config::default(), text) else {
                continue;
            };
            let Some((_, rest)) = error.split_once("did you mean `") else {
                continue;
            };
            let better = rest.split('`').next().unwrap();
            // For a part of a map, or beyond the limits, it is at least spelt right.
            let taken = setting.set(&mut Config::default(), better);
            let part = error.contains(": `") && better.parse::<f64>().is_err();
            assert!(
                taken.is_ok() || taken.is_err_and(|e| e.contains("out of range") || part),
                "{} {text:?}: {error}",
                setting.key
            );
        }
    }
}

#[test]
fn each_setting_sets_a_field_of_its_own() {
    for setting in SETTINGS.iter() {
        let form = setting.form();
        let samples = [
            "[::1]:1",
            "10.0.0.0/8",
            "tiny-http",
            "true",
            "false",
            "/x",
            "7s",
            "7777",
            "77777",
            "open",
            "drop-newest",
            "https://x.example",
            "x.html",
            "text/css=7s",
            "x=a/b",
            "websocket",
            "lax",
            "debug",
        ];
        let mut config = Config::default();
        let changed = samples.iter().any(|sample| {
            setting.set(&mut config, sample).is_ok() && !same(&config, &Config::default())
        }) || setting.set(&mut config, "7").is_ok()
            && !same(&config, &Config::default());
        assert!(changed, "{}: no sample for {form:?}", setting.key);
        // Back to the default again by its text, so that nothing else was touched.
        assert_eq!(setting.set(&mut config, &setting.default_text()), Ok(()));
        assert!(same(&config, &Config::default()), "{}", setting.key);
    }
}

#[test]
fn the_documented_defaults() {
    let config = Config::default();
    assert_eq!(config.listen[0].to_string(), "127.0.0.1:8080");
    assert_eq!(config.connector, Connector::Native);
    assert_eq!(config.broker.timeout, Duration::from_secs(30));
    assert_eq!(config.broker.max_interval, Duration::from_secs(120));
    assert_eq!(config.site.max_body, 1 << 20);
    assert_eq!(config.broker.max_queued_total, 256 << 20);
    assert_eq!(config.broker.queue.overflow, Overflow::Disconnect);
    assert_eq!(config.broker.max_sessions_per_browser, Some(1));
    assert_eq!(config.site.directory_index, ["index.html"]);
    assert_eq!(config.demo, None);
    assert!(config.native.io_threads >= 1 && config.workers >= config.native.io_threads);
    assert!(config.native.max_connections >= 1);
}

#[test]
fn words() {
    let overflow = Word::<Overflow>::KIND;
    assert_eq!(overflow.parse("drop-oldest"), Ok(Overflow::DropOldest));
    assert_eq!(overflow.parse("drop_newest"), Ok(Overflow::DropNewest));
    assert_eq!(
        overflow.form().placeholder,
        "drop-oldest|drop-newest|disconnect"
    );
    assert_eq!(
        overflow.parse("drop-oldes").unwrap_err(),
        "`drop-oldes` is none of drop-oldest, drop-newest, disconnect; \
         did you mean `drop-oldest`?"
    );
    assert_eq!(
        Word::<Connector>::KIND.parse("nginx").unwrap_err(),
        "`nginx` is none of native, tiny-http"
    );
    assert_eq!(
        Word::<LevelFilter>::KIND.parse("WARN"),
        Ok(LevelFilter::Warn)
    );
    assert_eq!(
        Word::<CallbackPolling>::KIND.parse("off"),
        Ok(CallbackPolling::Off)
    );
    let words = Overflow::WORDS.iter().map(|(word, _)| *word);
    assert_eq!(
        words.collect::<Vec<_>>(),
        ["drop-oldest", "drop-newest", "disconnect"]
    );
}

#[cfg(feature = "link")]
#[test]
fn names_among_linked_processes() {
    for good in ["judge", "a.b-c:d", "n/judge"] {
        assert_eq!(alias(good).as_deref(), Ok(good));
    }
    for bad in ["", "_x", "a b", "/x", "n/", "n/_x", "_n/x", "a/b/c"] {
        assert!(alias(bad).is_err() && node_name(bad).is_err(), "{bad}");
    }
    assert!(node_name("hub.example").is_ok() && node_name("n/judge").is_err());
    assert!(node_name(&"x".repeat(129)).is_err());
}
