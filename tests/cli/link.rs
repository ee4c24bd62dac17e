//! `bayeux link` and `bayeux serve --link`, run as users run them.

use std::time::Duration;

use bayeux::link::{Config, Fault, Key, Message, Methods, Node};

use crate::common::program::{File, Running, output, text};
use crate::common::wait::PATIENCE;

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
        (&["post", "adder", "sub"], 1, "unknown event"),
        (&["post", "adder", "add", "7"], 1, "invalid arguments"),
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

/// A command, its arguments, and what it says.
type Refusal = (&'static str, Vec<String>, &'static str);

fn refused(cases: Vec<Refusal>) {
    for (command, arguments, part) in cases {
        let mut all = vec![command];
        all.extend(arguments.iter().map(String::as_str));
        let output = output(&all);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[cfg(not(feature = "tls"))]
#[test]
fn certificates_need_a_build_with_tls() {
    let part = "this program was built without TLS; build it with the feature `tls`";
    let serve = "--link 127.0.0.1:0 --link-tls-cert a --link-tls-key b --link-tls-client-ca c";
    let link = "aliases --name x --tls-cert a --tls-key b --tls-ca c";
    refused(vec![
        ("serve", words(serve), part),
        ("check", words("--link-tls-client-ca c"), part),
        ("link", words(link), part),
    ]);
}

#[cfg(feature = "tls")]
mod tls {
    use std::path::PathBuf;

    use super::*;
    use crate::common::certificates;

    /// One of the files made by `tests/certificates/make`.
    fn file(name: &str) -> String {
        certificates::file(name).to_str().unwrap().to_owned()
    }

    /// The options of links with a certificate and the root of the others.
    fn options(prefix: &str, ca: &str, name: &str, root: &str) -> Vec<String> {
        let (pem, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        vec![
            format!("--{prefix}tls-cert={pem}"),
            format!("--{prefix}tls-key={key}"),
            format!("--{prefix}{ca}={root}"),
        ]
    }

    /// `bayeux link` under a name, with a certificate.
    fn link(address: &str, name: &str, certificate: &str, more: &[&str]) -> (i32, String, String) {
        let mut all = words(&format!("link aliases --address {address} --name {name}"));
        all.extend(options("", "tls-ca", certificate, &file("link-root.pem")));
        let all = all.iter().map(String::as_str).chain(more.iter().copied());
        let output = output(&all.collect::<Vec<_>>());
        let code = output.status.code().unwrap();
        (code, text(&output.stdout), text(&output.stderr))
    }

    fn worker(address: &str, more: &[&str]) -> (i32, String, String) {
        link(address, "worker", "link-worker", more)
    }

    /// A server whose links take the workers that this root has signed.
    fn serve(root: &str, more: &[&str]) -> (Running, String) {
        let mut all = words("serve --listen=127.0.0.1:0 --link=127.0.0.1:0 --link-name=hub");
        all.extend(options("link-", "tls-client-ca", "link-hub", root));
        let all: Vec<&str> = all
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        let running = Running::start(&all);
        let address = running.line("links on ");
        (running, address)
    }

    #[test]
    fn certificates_stand_for_a_key_or_beside_it() {
        let (_server, address) = serve(&file("link-root.pem"), &[]);
        let (code, out, error) = worker(&address, &[]);
        let is_listed = out.starts_with("bayeux\thub\t");
        assert!(code == 0 && is_listed, "{out}{error}");
        // Of another root; of no such name; the other is not whom it should be.
        let elsewhere = ["--tls-server-name=boss"];
        for (name, certificate, more, part) in [
            ("worker", "client", &[][..], "error: "),
            ("boss", "link-worker", &[], "wrong key or name"),
            ("worker", "link-worker", &elsewhere, "TLS: "),
        ] {
            let (code, _, error) = link(&address, name, certificate, more);
            assert!(
                code == 1 && error.contains(part),
                "{name}, {certificate}: {error}"
            );
        }
        let key = File::new("beside", SECRET);
        let (_server, address) = serve(&file("link-root.pem"), &["--link-key-file", key.path()]);
        let with_key = worker(&address, &["--key-file", key.path()]);
        assert_eq!(with_key.0, 0, "{}", with_key.2);
        let (code, _, error) = worker(&address, &[]);
        assert!(code == 1 && error.contains("wrong key or name"), "{error}");
        let (code, _, _) = super::link(&address, &key, &["aliases"]);
        assert_eq!(code, 1, "a key alone does not do");
    }

    #[test]
    fn they_are_read_again() {
        let root = std::env::temp_dir().join(format!("bayeux-link-{}.pem", std::process::id()));
        let _removed = Removed(root.clone());
        let put = |name: &str| assert!(std::fs::copy(file(name), &root).is_ok());
        put("link-root.pem");
        let (server, address) = serve(root.to_str().unwrap(), &[]);
        assert_eq!(worker(&address, &[]).0, 0);
        put("root.pem");
        server.signal("HUP");
        while !server.line("").contains("certificate and key read again") {}
        assert_eq!(worker(&address, &[]).0, 1, "of no root now");
        std::fs::write(&root, "no certificate").unwrap();
        server.signal("HUP");
        while !server.line("").contains("stay as they were") {}
        put("link-root.pem");
        server.signal("HUP");
        while !server.line("").contains("certificate and key read again") {}
        assert_eq!(worker(&address, &[]).0, 0);
    }

    struct Removed(PathBuf);

    impl Drop for Removed {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let whole = "--link-tls-cert a --link-tls-key b --link-tls-client-ca c";
        refused(vec![
            ("serve", words("--link 127.0.0.1:0"), "needs link_key_file"),
            ("check", words(whole), "--link-tls-cert: needs link"),
            (
                "check",
                words("--link-tls-key b"),
                "cannot be without link_tls_cert",
            ),
            ("check", words("--link-name a/b"), "is no name of a node"),
            ("link", words("aliases"), "--key-file"),
            ("link", words("aliases --tls-cert a"), "--tls-key"),
            (
                "link",
                words("aliases --key-file k --tls-ca a"),
                "--tls-cert",
            ),
        ]);
        let toml = "link = \"127.0.0.1:0\"\nlink_tls_cert = \"a\"\n\
                    link_tls_key = \"b\"\nlink_tls_client_ca = \"c\"\n";
        let toml = File::new("links", toml);
        let output = output(&["check", "--config", toml.path()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(shown.contains("link_tls_client_ca = \"c\" # "), "{shown}");
    }
}
