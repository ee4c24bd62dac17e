//! Settings that do not go together.

use std::time::Duration;

use super::*;
use crate::config::{Connector, ListenAddress};
use crate::http::SameSite;

fn refused(change: impl FnOnce(&mut Config)) -> (&'static str, String) {
    let mut config = Config::default();
    change(&mut config);
    let error = config.check().unwrap_err();
    assert_eq!(error.conflicts.len(), 1, "{error}");
    (error.conflicts[0].key, error.conflicts[0].message.clone())
}

fn address(text: &str) -> ListenAddress {
    text.parse().unwrap()
}

#[test]
fn rules() {
    let (key, _) = refused(|c| c.listen.clear());
    assert_eq!(key, "listen");
    let (key, message) = refused(|c| {
        c.broker.require_browser_cookie = true;
        c.site.allowed_origins = vec!["https://app.example".parse().unwrap(), "*".parse().unwrap()];
    });
    assert_eq!(key, "require_browser_cookie");
    assert!(message.contains("allowed_origin `*`"), "{message}");
    let (key, message) = refused(|c| {
        c.connector = Connector::TinyHttp;
        c.listen.push(address("0.0.0.0:80"));
    });
    assert_eq!(key, "connector");
    assert!(message.contains("0.0.0.0:80"), "{message}");
    let (key, message) = refused(|c| c.ops_listen = Some(address("[::]:9090")));
    assert_eq!(key, "ops_listen");
    assert!(
        message.ends_with("did you mean `127.0.0.1:9090`?"),
        "{message}"
    );
    assert_eq!(refused(|c| c.broker.timeout = Duration::ZERO).0, "interval");
    assert_eq!(refused(|c| c.proxy_protocol = true).0, "proxy_protocol");
    assert_eq!(
        refused(|c| c.site.max_body = c.broker.traffic.max_input_total + 1).0,
        "max_body"
    );
    assert_eq!(
        refused(|c| c.native.max_message = Some(c.broker.traffic.max_input_total + 1)).0,
        "max_message"
    );
    assert_eq!(
        refused(|c| c.broker.queue.bytes = c.broker.max_queued_total + 1).0,
        "max_queue_bytes"
    );
    assert_eq!(
        refused(|c| c.site.document_root = Some("/no/such".into())).0,
        "document_root"
    );
}

#[test]
fn cookies_that_would_not_come_back() {
    assert_eq!(
        refused(|c| c.site.cookie.name = "a b".to_owned()).0,
        "cookie_name"
    );
    let (key, message) = refused(|c| c.site.cookie.domain = Some("1.2.3.4".to_owned()));
    assert_eq!(key, "cookie_domain");
    assert!(message.contains("`app.example`"), "{message}");
    let (key, _) = refused(|c| {
        c.site.cookie.same_site = SameSite::None;
        c.site.cookie.secure = Some(false);
    });
    assert_eq!(key, "cookie_secure");
}

#[test]
fn transports() {
    let names = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        let names: Vec<_> = config.transports().map(Transport::name).collect();
        names.join(" ")
    };
    assert_eq!(
        names(|_| {}),
        "websocket eventsource long-polling callback-polling"
    );
    assert_eq!(
        names(|c| c.connector = Connector::TinyHttp),
        "long-polling callback-polling"
    );
    assert_eq!(
        names(|c| c.site.callback_polling = CallbackPolling::Off),
        "websocket eventsource long-polling"
    );
    assert_eq!(
        names(|c| c.transport = vec![Transport::LongPolling, Transport::WebSocket]),
        "websocket long-polling"
    );
    let (key, _) = refused(|c| {
        c.connector = Connector::TinyHttp;
        c.transport = vec![Transport::WebSocket];
    });
    assert_eq!(key, "transport");
}

#[test]
fn a_cookie_that_browsers_drop_is_said() {
    type Change = fn(&mut Config);
    let table: [(&str, Change); 3] = [
        ("cookie_same_site", |c| {
            c.site.cookie.same_site = SameSite::None;
        }),
        ("cookie_partitioned", |c| c.site.cookie.partitioned = true),
        ("cookie_name", |c| {
            c.site.cookie.name = "__Secure-id".to_owned();
        }),
    ];
    let mended: [Change; 3] = [
        |c| c.site.cookie.secure = Some(true),
        |c| c.trusted_proxy = vec!["127.0.0.1".parse().unwrap()],
        |c| c.site.allowed_origins = vec!["*".parse().unwrap()],
    ];
    let warnings = |changes: &[Change]| {
        let mut config = Config::default();
        changes.iter().for_each(|change| change(&mut config));
        assert_eq!(config.check(), Ok(()));
        config.warnings()
    };
    for (key, change) in table {
        let [warning] = &warnings(&[change])[..] else {
            panic!("{key}")
        };
        assert_eq!(warning.key, key);
        let why = "trusted_proxy or cookie_secure: over plain http browsers drop such a cookie";
        assert!(warning.message.ends_with(why), "{warning}");
        assert_eq!(warning.message.contains("tls_cert"), cfg!(feature = "tls"));
        for mend in mended {
            assert_eq!(warnings(&[change, mend]), [], "{key}");
        }
    }
    assert_eq!(warnings(&[]), []);
}

#[cfg(feature = "tls")]
#[test]
fn tls() {
    let some = Some("/some.pem".into());
    assert_eq!(refused(|c| c.tls_cert = some.clone()).0, "tls_cert");
    assert_eq!(refused(|c| c.tls_key = some.clone()).0, "tls_key");
    let (key, message) = refused(|c| {
        (c.tls_cert, c.tls_key) = (some.clone(), some.clone());
        c.connector = Connector::TinyHttp;
    });
    assert_eq!(key, "connector");
    assert!(message.contains("`native`"), "{message}");
}

#[test]
fn settings_that_need_each_other() {
    let mut of_one_origin = Config::default();
    of_one_origin.site.allowed_origins = vec!["https://a.example".parse().unwrap()];
    of_one_origin.broker.require_browser_cookie = true;
    assert_eq!(of_one_origin.check(), Ok(()));
    let (key, message) = refused(|c| c.link_authoriser = Some("judge".to_owned()));
    assert_eq!(key, "link_authoriser");
    assert!(message.starts_with("needs link"), "{message}");
}

#[test]
fn certificates_of_links() {
    let file = || Some("/some.pem".into());
    let whole = |c: &mut Config| {
        (c.link_tls_cert, c.link_tls_key) = (file(), file());
        c.link_tls_client_ca = file();
    };
    let says = |(key, message): (&str, String), part| {
        let part = if cfg!(feature = "tls") {
            part
        } else {
            "the feature `tls`"
        };
        assert!(message.contains(part), "{message}");
        key.to_owned()
    };
    let part = refused(|c| c.link_tls_key = file());
    assert_eq!(
        says(part, "cannot be without link_tls_cert"),
        "link_tls_key"
    );
    assert_eq!(says(refused(whole), "needs link, "), "link_tls_cert");
    let mut config = Config {
        link: Some(address("127.0.0.1:0")),
        ..Config::default()
    };
    assert!(config.check().is_err(), "neither key nor certificates");
    whole(&mut config);
    assert_eq!(config.check().is_ok(), cfg!(feature = "tls"));
}

#[test]
fn limits_of_data() {
    let (key, message) = refused(|c| c.site.max_depth = 100_000);
    assert_eq!((key, message.as_str()), ("max_depth", "must be 4 to 1000"));
    let mut config = Config::default();
    config.site.max_depth = 0;
    config.site.max_messages = 0;
    let error = config.check().unwrap_err();
    assert_eq!(
        error.to_string(),
        "max_messages: must be 1 or more; max_depth: must be 4 to 1000"
    );
    config = Config::default();
    config.broker.max_held_per_ip = Some(0);
    assert!(config.check().is_err());
}

#[test]
fn accepted() {
    let exposed = Config {
        connector: Connector::TinyHttp,
        connector_exposed: true,
        listen: vec![address("0.0.0.0:80")],
        ..Config::default()
    };
    assert_eq!(exposed.check(), Ok(()));
    let mut polling = Config {
        ops_listen: Some(address("localhost:9090")),
        ..Config::default()
    };
    polling.site.document_root = Some(std::env::temp_dir());
    polling.broker.timeout = Duration::ZERO;
    polling.broker.interval = Duration::from_secs(5);
    assert_eq!(polling.check(), Ok(()));
}

#[test]
fn demo_pages() {
    let mut config = Config::default();
    assert!(config.serves_demo());
    config.site.document_root = Some("/".into());
    assert!(!config.serves_demo());
    assert!(
        Config {
            demo: Some(true),
            ..config.clone()
        }
        .serves_demo()
    );
    config.site.document_root = None;
    config.demo = Some(false);
    assert!(!config.serves_demo());
}
