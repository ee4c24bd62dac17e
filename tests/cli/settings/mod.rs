//! Every setting, seen from outside: a row starts the program once without the setting and once
//! with it, and tells what a client sees of either. One that nobody obeys shows no difference.

mod counters;
mod logs;
mod observe;
mod server;

use std::collections::BTreeSet;

use bayeux::config::SETTINGS;
use server::Server;

/// `setting = "value", observer, "seen without it" => "seen with it";`, where flags that both need
/// may stand before the observer.
macro_rules! settings {
    ($(
        $(#[$gate:meta])*
        $key:ident = $value:literal, $([$($with:literal),+],)? $observe:path,
            $default:literal => $changed:literal;
    )+) => {
        const ROWS: &[&str] = &[$($(#[$gate])* stringify!($key),)+];

        $(
            $(#[$gate])*
            #[test]
            fn $key() {
                let flag = format!("--{}={}", stringify!($key).replace('_', "-"), $value);
                let mut with: Vec<&str> = vec![$($($with),+)?];
                if stringify!($key) != "ops_listen" {
                    with.push("--ops-listen=127.0.0.1:0");
                }
                assert_eq!(seen(&with, None, $observe, $default), $default, "without {flag}");
                assert_eq!(seen(&with, Some(&flag), $observe, $changed), $changed, "with {flag}");
            }
        )+
    };
}

settings! {
    listen = "127.0.0.1:0", observe::addresses, "1" => "2";
    connector = "tiny-http", observe::websocket_offered, "websocket" => "no websocket";
    trusted_proxy = "127.0.0.1", observe::forwarded_scheme, "no Secure" => "Secure";
    proxy_protocol = "true", ["--trusted-proxy=127.0.0.1"],
        observe::client_in_a_proxy_header, "127.0.0.1" => "192.0.2.7";
    connector_exposed = "true", observe::exposed_connector, "exit code 2" => "exit code 0";
    allowed_host = "app.example", observe::request_to_another_host, "200" => "421";
    path = "/push", observe::served_at_push, "no endpoint" => "endpoint";
    #[cfg(feature = "tls")]
    tls_cert = "{certificates}/server.pem", ["--tls-key={certificates}/server.key"],
        observe::tls, "refused" => "https";
    #[cfg(feature = "tls")]
    tls_key = "{certificates}/server.key", ["--tls-cert={certificates}/server.pem"],
        observe::tls, "refused" => "https";
    shutdown_timeout = "0s", ["--document-root={dir}/pages"],
        observe::download_at_the_end, "download" => "no download";

    timeout = "100ms", observe::held_connect, "nothing" => "200";
    interval = "1500ms", observe::advised_interval, "0" => "1500";
    max_interval = "100ms", observe::expiry,
        "nothing" => r#"bayeux_sessions_ended_total{reason="expired"}"#;
    max_client_interval = "2s", observe::granted_interval, "50000" => "2000";
    anonymous_publish = "true", observe::publishing_without_a_session,
        "402::session_unknown" => "successful";
    broadcast_to_publisher = "false", observe::own_message, "copy" => "no copy";
    transport = "long-polling", observe::websocket_offered, "websocket" => "no websocket";
    expose_sender = "true", observe::sender, "no sender" => "sender";
    meta_connect_deliver_only = "true", observe::message_with_a_publish_reply,
        "message" => "no message";
    timesync = "true", ["--demo=false"], observe::ping,
        "403:denied_by_security_policy:channel_create_denied" => "successful";

    max_sessions = "1", observe::second_handshake, "200" => "503";
    max_subscriptions = "1", observe::second_subscription,
        "successful" => "403:too_many:subscribe_denied";
    max_subscription_bytes = "1KiB", observe::second_subscription,
        "successful" => "403:busy:subscribe_denied";
    max_share_per_ip = "1", ["--max-subscription-bytes=16KiB"], observe::second_subscription,
        "successful" => "403:busy:subscribe_denied";
    max_queue_messages = "2", observe::messages_after_absence,
        "0123 successful" => " 402::session_unknown";
    max_queue_bytes = "1KiB", observe::messages_after_absence,
        "0123 successful" => " 402::session_unknown";
    max_queued_total = "3KiB", ["--max-queue-bytes=3KiB"], observe::two_absent,
        "no loser" => "loser";
    overflow = "drop-oldest", ["--max-queue-messages=2"], observe::messages_after_absence,
        " 402::session_unknown" => "23 successful";
    max_held_per_ip = "1", observe::second_held_connect, "nothing" => "503";

    max_sessions_per_browser = "2", observe::second_window, "multiple-clients" => "nothing";
    require_browser_cookie = "true", observe::client_id_without_its_cookie,
        "successful" => "402::session_unknown";
    multiple_clients_interval = "345ms", observe::wait_of_the_second_window, "2000" => "345";
    cookie_name = "OTHER", observe::cookie_that_is_set, "BAYEUX_BROWSER" => "OTHER";
    cookie_same_site = "lax", observe::cookie_that_is_set,
        "BAYEUX_BROWSER" => "BAYEUX_BROWSER; SameSite=Lax";
    cookie_secure = "true", observe::cookie_that_is_set,
        "BAYEUX_BROWSER" => "BAYEUX_BROWSER; Secure";
    cookie_domain = "app.example", observe::cookie_that_is_set,
        "BAYEUX_BROWSER" => "BAYEUX_BROWSER; Domain=app.example";
    cookie_partitioned = "true", observe::cookie_that_is_set,
        "BAYEUX_BROWSER" => "BAYEUX_BROWSER; Partitioned";
    allowed_origin = "https://app.example", observe::page_of_another_origin, "403" => "200";
    allowed_headers = "", ["--allowed-origin=https://app.example"],
        observe::header_of_another_page, "x-csrf-token" => "no x-csrf-token";
    callback_polling = "open", observe::script_without_a_referrer, "403" => "200";

    max_body = "300", observe::body_of_400_bytes, "200" => "413";
    max_message = "300", observe::frame_of_400_bytes, "[]" => "closed with 1009";
    max_header = "1KiB", observe::head_of_2_kib, "200" => "431";
    max_messages = "1", observe::two_messages, "200" => "400";
    max_depth = "4", observe::ten_arrays_deep, "200" => "400";
    max_input_total = "64KiB", ["--max-body=64KiB"],
        observe::second_unfinished_body_of_40_kib, "nothing" => "503";
    max_output_total = "64KiB", ["--document-root={dir}/pages"],
        observe::request_beside_readers_that_stopped, "200" => "503";
    max_reply_bytes = "1KiB", observe::second_of_two_long_replies,
        "successful" => "503:/service/echo:busy";
    header_timeout = "100ms", observe::half_a_head, "nothing" => "408";
    body_timeout = "100ms", observe::half_a_body, "nothing" => "408";
    idle_timeout = "100ms", observe::idle_connection, "nothing" => "closed";
    write_timeout = "100ms", ["--document-root={dir}/pages"], observe::reader_that_stopped,
        "nothing" => "closed";
    websocket_ping_interval = "100ms", observe::silent_websocket, "nothing" => "ping";
    websocket_ping_timeout = "100ms", ["--websocket-ping-interval=100ms"],
        observe::websocket_that_does_not_answer_pings, "nothing" => "cut";
    max_connections = "1", observe::second_connection, "200" => "nothing";
    max_connections_per_ip = "1", observe::second_connection, "200" => "closed";

    #[cfg(target_os = "linux")]
    io_threads = "200", ["--workers=2"], observe::two_hundred_threads,
        "no 200 threads" => "200 threads";
    #[cfg(target_os = "linux")]
    workers = "200", ["--io-threads=1"], observe::two_hundred_threads,
        "no 200 threads" => "200 threads";

    document_root = "{dir}/pages", observe::style_sheet, "not found\n" => "p {}";
    demo = "false", observe::demo_page, "200" => "404";
    directory_index = "start.html", ["--document-root={dir}/pages"], observe::folder,
        "index" => "start";
    mime = "odd=text/odd", ["--document-root={dir}/pages"], observe::media_type,
        "application/octet-stream" => "text/odd;charset=utf-8";
    expires = "text/css=1h", ["--document-root={dir}/pages"], observe::expiry_of_a_style_sheet,
        "no Expires" => "Expires";

    link = "127.0.0.1:0", ["--link-key-file={dir}/key"], observe::link_by_key,
        "nothing" => "link";
    link_name = "hub", ["--link=127.0.0.1:0", "--link-key-file={dir}/key"],
        observe::name_among_linked, "bayeux" => "hub";
    link_key_file = "{dir}/key", ["--link=127.0.0.1:0"], observe::link_by_key,
        "refused" => "link";
    #[cfg(feature = "tls")]
    link_tls_cert = "{certificates}/link-hub.pem", [
        "--link=127.0.0.1:0", "--link-name=hub", "--link-tls-key={certificates}/link-hub.key",
        "--link-tls-client-ca={certificates}/link-root.pem"
    ], observe::link_by_certificate, "refused" => "link";
    #[cfg(feature = "tls")]
    link_tls_key = "{certificates}/link-hub.key", [
        "--link=127.0.0.1:0", "--link-name=hub", "--link-tls-cert={certificates}/link-hub.pem",
        "--link-tls-client-ca={certificates}/link-root.pem"
    ], observe::link_by_certificate, "refused" => "link";
    #[cfg(feature = "tls")]
    link_tls_client_ca = "{certificates}/link-root.pem", [
        "--link=127.0.0.1:0", "--link-name=hub", "--link-tls-cert={certificates}/link-hub.pem",
        "--link-tls-key={certificates}/link-hub.key"
    ], observe::link_by_certificate, "refused" => "link";
    link_authoriser = "judge", ["--link=127.0.0.1:0", "--link-key-file={dir}/key"],
        observe::handshake, "successful" => "403:authoriser_unavailable:handshake_denied";

    ops_listen = "127.0.0.1:0", observe::internal_site, "nothing" => "metrics";
    access_log = "{dir}/access", observe::line_of_a_request, "nothing" => "line";
    log_level = "error", observe::last_words, "INFO" => "no INFO";
    log_file = "{dir}/log", observe::file_of_the_log, "no log" => "log";
    log_queue = "4KiB", ["--access-log=-"], observe::lines_that_nobody_reads,
        "nothing" => "bayeux_access_log_dropped_total";
}

/// What the observer sees of a server with these flags.
fn seen(
    with: &[&str],
    flag: Option<&str>,
    observe: fn(&Server) -> String,
    expected: &str,
) -> String {
    Server::start(with, flag, expected)
        .map_or_else(|_| "refused".to_owned(), |server| observe(&server))
}

#[test]
fn every_setting_has_a_row() {
    let rows: BTreeSet<&str> = ROWS.iter().copied().collect();
    let without: Vec<&str> = SETTINGS
        .iter()
        .map(|setting| setting.key)
        .filter(|key| !rows.contains(key))
        .filter(|key| cfg!(target_os = "linux") || !["io_threads", "workers"].contains(key))
        .filter(|key| cfg!(feature = "tls") || !key.starts_with("link_tls_"))
        .collect();
    assert!(without.is_empty(), "settings without a row: {without:?}");
}
