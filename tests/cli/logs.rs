//! The logs of a running server: renamed, on a full disk, on a pipe; and what of others is shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::program::{File, Running, ask, output, text};
use crate::common::wait::until;

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bayeux-logs-{}-{next}", std::process::id());
        let folder = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Waits until a file has a line with this in it.
    fn has(&self, name: &str, part: &str) {
        until(part, || {
            let text = self.read(name);
            if text.lines().any(|line| line.contains(part)) {
                Ok(())
            } else {
                Err(text)
            }
        });
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where others would read a certificate again, there is nothing to do; it is no reason to end.
#[test]
fn a_hangup_ends_no_server() {
    let mut server = Running::start(&["--listen=127.0.0.1:0"]);
    let url = server.line("listening on ");
    for _ in 0..3 {
        server.signal("HUP");
    }
    assert_eq!(ask("POST", &url, "[]").status, 200);
    server.signal("HUP");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn renamed_logs_are_opened_again() {
    let folder = Folder::new();
    let flag = |name: &str, file: &str| format!("--{name}={}", folder.path(file).display());
    let (log, access) = (flag("log-file", "log"), flag("access-log", "access"));
    let mut server = Running::start(&["--listen=127.0.0.1:0", &log, &access]);
    let url = server.line("listening on ");
    let get = |path: &str| ask("GET", &url.replace("/cometd", path), "");
    get("/first");
    folder.has("access", "/first");
    for name in ["log", "access"] {
        fs::rename(folder.path(name), folder.path(&format!("{name}.1"))).unwrap();
    }
    get("/second");
    server.signal("HUP");
    folder.has("log", "the log was opened again");
    folder.has("log", "the access log was opened again");
    get("/third");
    folder.has("access", "/third");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let paths = |name: &str| -> Vec<String> {
        let text = folder.read(name);
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .map(|line: serde_json::Value| line["path"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(paths("access.1"), ["/first", "/second"]);
    assert_eq!(paths("access"), ["/third"]);
    assert!(folder.read("log.1").contains("listening on "));
    assert!(folder.read("log").ends_with("[INFO] stopped\n"));
}

/// A disk that is full takes a part of a line, and the rest when there is room again.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_no_broken_line() {
    let folder = Folder::new();
    let access = folder.path("access");
    // A file may have 64 blocks of 512 bytes, at the end of a line or in the middle.
    let script = "ulimit -f 64; trap '' XFSZ; exec \"$0\" \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        script,
        env!("CARGO_BIN_EXE_bayeux"),
        "serve",
        "--listen=127.0.0.1:0",
    ]);
    command.arg("--ops-listen=127.0.0.1:0");
    command.arg(format!("--access-log={}", access.display()));
    let server = Running::of(command);
    let url = server.line("listening on ");
    let metrics = server.line("metrics on ");
    let dropped = || {
        let numbers = ask("GET", &metrics, "").text().to_owned();
        let line = numbers.lines().find_map(|line| line.strip_prefix(DROPPED));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    while dropped() == 0 {
        ask("GET", &url.replace("/cometd", "/something"), "");
    }
    server.line_with("[ERROR] the access log cannot be written: ");
    // Somebody makes room.
    fs::rename(&access, folder.path("full")).unwrap();
    server.signal("HUP");
    server.line_with("the access log was opened again");
    ask("GET", &url.replace("/cometd", "/room"), "");
    folder.has("access", "/room");
    server.line_with("[WARN] the access log has lost ");
    for line in folder.read("access").lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[cfg(target_os = "linux")]
const DROPPED: &str = "bayeux_access_log_dropped_total ";

#[test]
fn a_key_that_everybody_can_read_is_told() {
    let key = File::new("key", "a key that linked processes share");
    let check = ["check", "--link=127.0.0.1:0", "--link-key-file", key.path()];
    let mode = |mode| fs::set_permissions(Path::new(key.path()), fs::Permissions::from_mode(mode));
    mode(0o600).unwrap();
    assert_eq!(text(&output(&check).stderr), "ok\n");
    let serve = [
        "--listen=127.0.0.1:0",
        "--link=127.0.0.1:0",
        "--link-key-file",
        key.path(),
    ];
    mode(0o644).unwrap();
    let expected = format!(
        "link_key_file: everybody on this machine can read {} (mode 644); 600 is for its owner",
        key.path()
    );
    let told = text(&output(&check).stderr);
    assert_eq!(told, format!("warning: {expected}\nok\n"));
    let server = Running::start(&serve);
    assert!(server.line_with("[WARN]").ends_with(&expected));
    // Whoever links with it hears of it too.
    let address = server.line("links on ");
    let link = [
        "link",
        "aliases",
        "--address",
        &address,
        "--key-file",
        key.path(),
    ];
    let told = text(&output(&link).stderr);
    assert!(
        told.starts_with("warning: everybody on this machine can read "),
        "{told}"
    );
}

/// What others send commands no terminal, nor does it pass for something else.
#[test]
fn what_others_send_is_shown_with_escapes() {
    let server = Running::start(&["--listen=127.0.0.1:0"]);
    let url = server.line("listening on ");
    let mut subscriber = Running::start(&["subscribe", &url, "/cli/*"]);
    let lines = subscriber.output();
    subscriber.line("subscribed to ");
    let data = "\"a\u{202e}b\u{2028}c\u{2066}\u{e0041}\"";
    assert_eq!(
        output(&["publish", &url, "/cli/a", data]).status.code(),
        Some(0)
    );
    let line = lines.recv_timeout(crate::common::wait::PATIENCE).unwrap();
    assert!(
        line.contains(r"a\u202eb\u2028c\u2066\udb40\udc41"),
        "{line}"
    );
    let call = output(&["call", &url, "/service/echo", data]);
    assert!(text(&call.stdout).contains(r"a\u202eb\u2028c\u2066\udb40\udc41"));
}
