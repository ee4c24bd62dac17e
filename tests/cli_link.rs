//! `bayeux link` and `bayeux serve --link`, run as users run them.

#![cfg(all(feature = "cli", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "not all of the harness is used")]

#[path = "cli/harness.rs"]
mod harness;

use std::time::Duration;

use bayeux::link::{Config, Fault, Key, Message, Methods, Node};
use harness::{File, PATIENCE, Running, output, text};

const SECRET: &str = "a secret of more than 16 bytes";

/// Exit code, standard output and standard error of `bayeux link`.
fn link(address: &str, key: &File, arguments: &[&str]) -> (i32, String, String) {
    let mut all = vec![
        "link",
        arguments[0],
        "--address",
        address,
        "--key-file",
        key.path(),
    ];
    all.extend(&arguments[1..]);
    let output = output(&all);
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn linked_processes_can_be_listed_called_and_posted_to() {
    let key = File::new("key", SECRET);
    let server = Running::start(&[
        "serve",
        "--listen=127.0.0.1:0",
        "--link=127.0.0.1:0",
        "--link-key-file",
        key.path(),
    ]);
    let address = server.line("links on ");
    let worker = Node::start(Config::named(
        "worker",
        Key::new(SECRET.as_bytes()).unwrap(),
    ));
    let worker = worker.unwrap();
    let add = |message: &Message| Ok::<i64, Fault>(message.args::<Vec<i64>>()?.iter().sum());
    worker
        .export("adder", Methods::new().on("add", add))
        .unwrap()
        .keep();
    worker.connect(&address).unwrap();
    assert!(worker.wait_for("bayeux", PATIENCE));
    let (code, out, _) = link(&address, &key, &["aliases"]);
    let lines: Vec<String> = out
        .lines()
        .map(|line| line.rsplit_once('\t').unwrap().0.to_owned())
        .collect();
    assert_eq!(
        (code, lines),
        (0, vec!["adder\tworker".into(), "bayeux\tbayeux".into()])
    );
    let call = |arguments: &[&str]| link(&address, &key, arguments);
    assert_eq!(
        call(&["call", "adder", "add", "[1,2]"]),
        (0, "3\n".into(), String::new())
    );
    assert_eq!(call(&["post", "adder", "add", "[1]"]).0, 0);
    let receivers = call(&["call", "bayeux", "publish", "[\"/news\", 1]"]);
    assert_eq!(receivers, (0, "0\n".into(), String::new()));
    for (arguments, code, part) in [
        (&["call", "adder", "add", "x"][..], 2, "is not JSON"),
        (&["call", "adder", "add", "7"], 1, "invalid arguments"),
        (&["call", "adder", "sub"], 1, "unknown event"),
        (&["call", "a b", "add"], 1, "nobody exports"),
        (
            &["call", "nobody", "x", "--timeout", "100ms"],
            1,
            "nobody exports",
        ),
        (
            &["call", "adder", "add", "--timeout", "5"],
            2,
            "has no unit",
        ),
    ] {
        let (status, _, error) = call(arguments);
        assert!(
            status == code && error.contains(part),
            "{arguments:?}: {status}, {error}"
        );
    }
    let wrong = File::new("wrong", "another secret of 16 bytes");
    let (code, _, error) = link(&address, &wrong, &["aliases"]);
    assert!(code == 1 && error.contains("wrong key or name"), "{error}");
    let short = File::new("short", "short");
    assert_eq!(link(&address, &short, &["aliases"]).0, 2);
    worker.shutdown(Duration::from_secs(1));
}
