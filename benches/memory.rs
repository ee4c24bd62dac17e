//! What a session costs while nothing happens, and a subscription, in bytes taken from the
//! allocator.
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bayeux::BrokerConfig;
use bayeux::connector::Executed;
use bayeux::connector::WakeSink;
use common::{Discard, broker, connect, goal, handshake, open, send, size};
use serde_json::{Value, json};

struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);

/// What glibc takes for so many bytes.
fn chunk(size: usize) -> i64 {
    let bytes = ((size + 8).next_multiple_of(16)).max(32);
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(chunk(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(chunk(layout.size()), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    sessions();
    subscriptions();
}

fn sessions() {
    let sessions = size(57_000, 200);
    for (name, private) in [("one channel for all", false), ("a channel for each", true)] {
        let broker = broker(BrokerConfig {
            max_sessions_per_browser: None,
            ..BrokerConfig::default()
        });
        let sink = Arc::new(Discard::default()) as Arc<dyn WakeSink>;
        let mut held = Vec::with_capacity(sessions);
        let before = LIVE.load(Ordering::Relaxed);
        for n in 0..sessions as u64 {
            let channel = if private {
                format!("/private/{n}")
            } else {
                "/news".to_owned()
            };
            let id = open(&broker, &json!(channel));
            let Executed::Later(exchange) = send(&broker, &sink, n, &connect(&id)) else {
                panic!("the connect is held")
            };
            held.push(exchange);
        }
        let stats = broker.stats();
        assert_eq!(stats.held as usize, sessions);
        assert_eq!(stats.subscriptions as usize, sessions);
        let bytes = (LIVE.load(Ordering::Relaxed) - before) as f64 / sessions as f64;
        goal(
            &format!("{name}: bytes a parked session"),
            bytes,
            bytes < 1024.0,
        );
        held.clear();
        drop(broker);
        let left = LIVE.load(Ordering::Relaxed) - before;
        assert!(left < 64 * 1024, "{left} bytes are left behind");
    }
}

/// What subscriptions take against what is counted for them.
fn subscriptions() {
    let (sessions, each) = (size(100, 20), 1000);
    let deep = |n: usize| Value::from(format!("/{n}{}", "/x".repeat(31)));
    for (name, shared) in [
        ("a pattern for each", false),
        ("patterns that others have too", true),
    ] {
        let broker = broker(BrokerConfig {
            max_share_per_ip: 100,
            ..BrokerConfig::default()
        });
        let ids: Vec<String> = (0..sessions).map(|_| handshake(&broker)).collect();
        let before = LIVE.load(Ordering::Relaxed);
        for (n, id) in ids.iter().enumerate() {
            let first = if shared { 0 } else { n * each };
            let patterns: Value = (first..first + each).map(deep).collect();
            let message = json!({"channel": "/meta/subscribe", "clientId": id,
                "subscription": patterns});
            let reply = common::ask(&broker, &json!([message]));
            assert_eq!(reply[0]["successful"], true, "{}", reply[0]["error"]);
        }
        let bytes = (LIVE.load(Ordering::Relaxed) - before) as f64;
        let stats = broker.stats();
        assert_eq!(stats.subscriptions as usize, sessions * each);
        println!(
            "{name}: {:.0} bytes a subscription",
            bytes / stats.subscriptions as f64
        );
        let ratio = bytes / stats.subscription_bytes as f64;
        let right = (0.8..=1.2).contains(&ratio);
        goal(
            &format!("{name}: bytes to bytes that are counted"),
            ratio,
            right,
        );
    }
}
