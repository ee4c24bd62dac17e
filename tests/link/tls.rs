//! Links over TLS with certificates of both ends: who is let in, who is not and why, and that they
//! are made again.

use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::link::{Config, Event, Key, Keys, LinkEnd, Message, Methods, Node, Tls, TlsFailure};
use bayeux::tcp::tls::rustls::ClientConfig;
use bayeux::tcp::tls::rustls::pki_types::ServerName;
use bayeux::tcp::tls::{certificates, mutual_configs, private_key, provider, roots};

use crate::common::certificates::file;
use crate::common::ports::lasting_address;
use crate::common::wait::{PATIENCE, eventually};
use crate::support::{config, key};

fn tls(certificate: &str, root: &str) -> Tls {
    let (pem, key) = (format!("{certificate}.pem"), format!("{certificate}.key"));
    Tls::from_files(&file(&pem), &file(&key), &file(root)).unwrap()
}

fn hub_tls() -> Tls {
    tls("link-hub", "link-root.pem")
}

fn worker_tls() -> Tls {
    tls("link-worker", "link-root.pem")
}

/// Trusts the hub, and shows it this instead of a certificate of the same root.
fn showing(shown: Option<&str>) -> Tls {
    let [pem, key] = ["pem", "key"].map(|end| file(&format!("link-worker.{end}")));
    let (server, _) = mutual_configs(&pem, &key, &file("link-root.pem")).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&file("link-root.pem")).unwrap());
    let client = match shown {
        None => client.with_no_client_auth(),
        Some(name) => {
            let chain = certificates(&file(&format!("{name}.pem"))).unwrap();
            let key = private_key(&file(&format!("{name}.key"))).unwrap();
            client.with_client_auth_cert(chain, key).unwrap()
        }
    };
    Tls::new(server, Arc::new(client))
}

/// With little patience, as the other tests have.
fn over(name: &str, tls: Tls) -> Config {
    let backoff = config(name).backoff;
    let mut config = Config::with_tls(name, tls);
    (config.backoff, config.workers) = (backoff, 2);
    config
}

/// A node, and how its links fail and end.
fn watched(config: Config) -> (Node, Receiver<LinkEnd>) {
    let node = Node::start(config).unwrap();
    let (seen, failures) = channel();
    node.observe(move |event| match event {
        Event::LinkFailed { reason, .. } | Event::LinkDown { reason, .. } => {
            // The test may be over.
            let _ = seen.send(reason.clone());
        }
        _ => {}
    });
    (node, failures)
}

/// Answers with what it was sent, and by whom.
fn echo() -> Methods {
    Methods::new().on("echo", |message: &Message| {
        let value: u32 = message.args()?;
        Ok((value, message.sender().name.to_string()))
    })
}

/// A hub that exports `echo`, a worker that is linked to it, and how links of the hub fail.
struct Scene {
    address: String,
    worker: Node,
    failures: Receiver<LinkEnd>,
    _hub: Node,
}

fn scene(change: impl Fn(&mut Config)) -> Scene {
    let [mut hub, mut worker] =
        [("hub", hub_tls()), ("worker", worker_tls())].map(|(n, t)| over(n, t));
    change(&mut hub);
    change(&mut worker);
    let (hub, failures) = watched(hub);
    let address = hub.listen("127.0.0.1:0").unwrap()[0].to_string();
    hub.export("echo", echo()).unwrap().keep();
    let worker = Node::start(worker).unwrap();
    worker.connect(&address).unwrap();
    assert!(worker.wait_for("echo", PATIENCE));
    Scene {
        address,
        worker,
        failures,
        _hub: hub,
    }
}

impl Scene {
    /// Somebody calls the hub. Why it is not let in: as the hub sees it, and as it sees it itself.
    fn intrude(&self, config: Config) -> (LinkEnd, LinkEnd) {
        let (node, own) = watched(config);
        let outgoing = node.connect(&self.address).unwrap();
        let ends = (
            self.failures.recv_timeout(PATIENCE).unwrap(),
            own.recv_timeout(PATIENCE).unwrap(),
        );
        outgoing.close();
        assert_eq!(node.stats().nodes, 0);
        node.shutdown(Duration::ZERO);
        // It may have come more than once.
        eventually("it has gone", || {
            self.failures
                .recv_timeout(Duration::from_millis(300))
                .is_err()
        });
        ends
    }

    fn is_fine(&self) {
        for n in 0..20 {
            let answer = self.worker.call("echo", "echo", &n, PATIENCE);
            assert_eq!(answer, Ok((n, "worker".to_owned())));
        }
        assert_eq!(self.worker.stats().links, 1);
    }
}

/// What a client of TLS 1.3 sees when it is refused after its own part of the handshake: the
/// server's word, unless the connection is reset before it is read.
fn is_refusal(end: &LinkEnd) -> bool {
    matches!(
        end,
        LinkEnd::Tls(TlsFailure::Refused(_)) | LinkEnd::Connection(_)
    )
}

#[test]
fn posts_and_calls_both_ways() {
    let (hub, _) = watched(over("hub", hub_tls()));
    let (worker, _) = watched(over("worker", worker_tls()));
    let heard = Arc::new(Mutex::new(Vec::new()));
    for node in [&hub, &worker] {
        let heard = Arc::clone(&heard);
        let note = move |message: &Message| {
            let n: u32 = message.args()?;
            heard
                .lock()
                .unwrap()
                .push((message.sender().name.to_string(), n));
            Ok(())
        };
        node.export(&format!("at-{}", node.name()), echo().on("note", note))
            .unwrap()
            .keep();
    }
    let address = hub.listen("127.0.0.1:0").unwrap()[0].to_string();
    let port = address.rsplit(':').next().unwrap();
    worker.connect(&format!("localhost:{port}")).unwrap();
    for (from, to) in [(&worker, &hub), (&hub, &worker)] {
        let alias = format!("at-{}", to.name());
        assert!(from.wait_for(&alias, PATIENCE));
        for n in 0..200 {
            from.post(&alias, "note", &n).unwrap();
        }
        let answer = from.call(&alias, "echo", &7, PATIENCE);
        assert_eq!(answer, Ok((7, from.name().to_owned())));
        let expected: Vec<_> = (0..200).map(|n| (from.name().to_owned(), n)).collect();
        assert_eq!(std::mem::take(&mut *heard.lock().unwrap()), expected);
        // Longer than any buffer on its way, and than a record.
        let long = "x".repeat(200_000);
        let refused = from.call::<()>(&alias, "echo", &long, PATIENCE);
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .starts_with("invalid arguments")
        );
    }
}

#[test]
fn who_has_no_certificate_of_the_root_is_refused() {
    let scene = scene(|_| {});
    let (hub, own) = scene.intrude(over("worker", showing(None)));
    assert_eq!(hub, LinkEnd::Tls(TlsFailure::NoCertificate));
    assert!(is_refusal(&own), "{own:?}");
    let (hub, own) = scene.intrude(over("worker", showing(Some("client"))));
    let LinkEnd::Tls(TlsFailure::Certificate(why)) = hub else {
        panic!("{hub:?}")
    };
    assert!(why.contains("UnknownIssuer"), "{why}");
    assert!(is_refusal(&own), "{own:?}");
    scene.is_fine();
}

#[test]
fn who_speaks_no_tls_is_refused() {
    let scene = scene(|_| {});
    let (hub, own) = scene.intrude(config("worker"));
    assert!(
        matches!(hub, LinkEnd::Tls(TlsFailure::Failed(_))),
        "{hub:?}"
    );
    assert!(
        matches!(own, LinkEnd::Protocol(_) | LinkEnd::Connection(_)),
        "{own:?}"
    );
    scene.is_fine();
    // The other way round.
    let (plain, failures) = watched(config("hub"));
    let address = plain.listen("127.0.0.1:0").unwrap()[0].to_string();
    let (worker, own) = watched(over("worker", worker_tls()));
    worker.connect(&address).unwrap();
    let end = failures.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(end, LinkEnd::Protocol(_)), "{end:?}");
    let end = own.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(end, LinkEnd::Tls(TlsFailure::Failed(_))),
        "{end:?}"
    );
}

#[test]
fn who_says_nothing_has_the_time_of_the_hello() {
    let scene = scene(|config| config.limits.hello_timeout = Duration::from_millis(800));
    let mut silent = TcpStream::connect(&scene.address).unwrap();
    assert_eq!(scene.failures.recv_timeout(PATIENCE), Ok(LinkEnd::NoHello));
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    // Closed or reset, and nothing was said.
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
    scene.is_fine();
}

#[test]
fn a_name_has_to_be_certified() {
    let scene = scene(|_| {});
    for name in ["boss", "hub", "not.a:host"] {
        let (hub, own) = scene.intrude(over(name, worker_tls()));
        assert_eq!(hub, LinkEnd::Denied, "{name}");
        assert!(matches!(own, LinkEnd::Bye(_)), "{own:?}");
    }
    scene.is_fine();
}

#[test]
fn a_key_beside_it_is_asked_for() {
    let keyed = |config: &mut Config| config.keys = Keys::common(key());
    let scene = scene(keyed);
    let other = Key::new(b"not the secret of the tests").unwrap();
    for keys in [Keys::none(), Keys::common(other)] {
        let mut config = over("worker", worker_tls());
        config.keys = keys;
        assert_eq!(scene.intrude(config).0, LinkEnd::Denied);
    }
    scene.is_fine();
}

#[test]
fn the_one_that_is_called_is_not_believed_either() {
    let scene = scene(|_| {});
    let elsewhere = ServerName::try_from("elsewhere.example").unwrap();
    for (tls, why) in [
        (worker_tls().server_name(elsewhere), "elsewhere.example"),
        // The hub is not of the root that this one trusts.
        (tls("client", "root.pem"), "UnknownIssuer"),
    ] {
        let (hub, own) = scene.intrude(over("worker", tls));
        let LinkEnd::Tls(TlsFailure::Certificate(said)) = &own else {
            panic!("{own:?}")
        };
        assert!(said.contains(why), "{said}");
        assert!(is_refusal(&hub), "{hub:?}");
    }
    scene.is_fine();
}

#[cfg(unix)]
#[test]
fn an_address_without_a_host_needs_a_name() {
    let (node, failures) = watched(over("worker", worker_tls()));
    let (hub, _) = watched(over("hub", hub_tls()));
    let path = std::env::temp_dir().join(format!("bayeux-link-tls-{}", std::process::id()));
    let address = format!("unix:{}", path.display());
    hub.listen(&address).unwrap();
    node.connect(&address).unwrap();
    let end = failures.recv_timeout(PATIENCE).unwrap();
    assert!(end.to_string().contains("does not name a host"), "{end}");
    let named = worker_tls().server_name(ServerName::try_from("hub").unwrap());
    let (node, _) = watched(over("worker", named));
    node.connect(&address).unwrap();
    eventually("it is linked", || node.stats().links == 1);
}

#[test]
fn a_link_is_made_again() {
    let address = lasting_address().to_string();
    let start = || {
        let (hub, _) = watched(over("hub", hub_tls()));
        hub.listen(&address).unwrap();
        hub.export("echo", echo()).unwrap().keep();
        hub
    };
    let (worker, ends) = watched(over("worker", worker_tls()));
    let hub = start();
    worker.connect(&address).unwrap();
    let answers = |n: u32| {
        assert!(worker.wait_for("echo", PATIENCE));
        let answer = worker.call("echo", "echo", &n, PATIENCE);
        assert_eq!(answer, Ok((n, "worker".to_owned())));
    };
    answers(1);
    hub.shutdown(Duration::ZERO);
    assert!(matches!(ends.recv_timeout(PATIENCE), Ok(LinkEnd::Bye(_))));
    eventually("it has gone", || worker.stats().nodes == 0);
    let _again = start();
    answers(2);
}

#[test]
fn what_is_wrong_with_the_files_is_said() {
    let [pem, key, root] = ["link-hub.pem", "link-hub.key", "link-root.pem"].map(file);
    let garbage = std::env::temp_dir().join(format!("bayeux-root-{}", std::process::id()));
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&garbage, no_certificate).unwrap();
    for (pem, key, root, said) in [
        (&pem, &key, &garbage, "cannot trust a certificate of "),
        (&pem, &key, &key, "link-hub.key has no certificate"),
        (&root, &key, &root, "link-hub.key is not the key of "),
    ] {
        let error = Tls::from_files(pem, key, root).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    std::fs::remove_file(&garbage).unwrap();
}
