//! `bayeux shell`, driven through pipes.

use std::io::Write as _;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::Receiver;

use crate::common::program::{Running, output, text};
use crate::common::wait::PATIENCE;

struct Shell {
    process: Running,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Shell {
    fn start(arguments: &[&str]) -> Self {
        let arguments = [&["shell", "--user=me"], arguments].concat();
        let mut process = Running::with_input(&arguments, Stdio::piped());
        let (input, lines) = (process.child.stdin.take(), process.output());
        process.line("-- connected over ");
        Self {
            process,
            input,
            lines,
        }
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Types a command, and waits for what is said about it on standard error.
    fn obey(&mut self, line: &str, said: &str) {
        self.say(line);
        assert_eq!(self.process.line(said), "", "{line}");
    }

    fn shown(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// The exit code, and what was shown that nobody asked for.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        drop(self.input.take());
        let code = self.process.wait().code();
        (code, self.lines.iter().collect())
    }
}

fn server() -> (Running, String) {
    let server = Running::start(&["--listen=127.0.0.1:0", "--demo"]);
    let url = server.line("listening on ");
    (server, url)
}

#[test]
fn two_people_talk() {
    let (_server, url) = server();
    let mut shells = [
        Shell::start(&[&url]),
        Shell::start(&["--transport=long-polling", &url]),
    ];
    for shell in &mut shells {
        shell.obey("subscribe /chat/room", "-- subscribed to /chat/room");
        shell.obey("subscribe /chat/**", "-- subscribed to /chat/**");
        shell.obey("subscribe /chat/room", "-- subscribed to /chat/room");
    }
    shells[0].say("say hello  there");
    for shell in &shells {
        assert_eq!(shell.shown(), "me: hello  there");
    }
    let publish = "publish /chat/other {\"user\":\"you\",\"action\":\"waves\"}";
    shells[1].obey(publish, "-- published on /chat/other");
    shells[1].say("# what is published last is where it goes on");
    shells[1].say("say again");
    for shell in &mut shells {
        // On long-polling the two connections of who also sends may overtake each other.
        let mut shown = [shell.shown(), shell.shown()];
        shown.sort();
        assert_eq!(shown, ["me: again", "you waves"]);
        shell.obey("unsubscribe /chat/**", "-- unsubscribed from /chat/**");
    }
    shells[0].obey("publish /chat/other 1", "-- published on /chat/other");
    shells[0].obey("publish /chat/room [1, 2]", "-- published on /chat/room");
    for shell in shells {
        assert_eq!(shell.shown(), "[/chat/room] [1, 2]", "each once");
        assert_eq!(shell.end(), (Some(0), Vec::new()));
    }
}

#[test]
fn what_a_command_brought_is_shown_before_the_next_command() {
    let (_server, url) = server();
    for transport in ["--transport=websocket", "--transport=long-polling"] {
        let mut shell = Shell::start(&[transport, &url]);
        let channels = 0..20;
        let script: Vec<_> = channels
            .clone()
            .map(|n| format!("subscribe /a/{n}\nsay {n}\nunsubscribe /a/{n}"))
            .collect();
        shell.say(&script.join("\n"));
        let expected = channels.map(|n| format!("me: {n}")).collect();
        assert_eq!(shell.end(), (Some(0), expected), "{transport}");
    }
}

#[test]
fn services_are_called() {
    let (_server, url) = server();
    let mut shell = Shell::start(&[&url]);
    shell.say("call /service/echo {\"x\":1}");
    assert_eq!(shell.shown(), "[/service/echo] successful {\"x\":1}");
    assert_eq!(shell.end(), (Some(0), Vec::new()));
    let mut shell = Shell::start(&["--json", "--autojoin", &url]);
    shell.process.line("-- subscribed to /service/*");
    shell.process.line("-- subscribed to /private/");
    shell.say("call /service/echo 7");
    assert!(shell.shown().contains(r#""data":7"#));
    shell.obey("subscribe /a", "-- subscribed to /a");
    shell.obey("publish /a [1,\t2]", "-- published on /a");
    assert_eq!(shell.shown(), r#"{"channel":"/a","data":[1, 2]}"#);
    assert_eq!(shell.end(), (Some(0), Vec::new()));
}

#[test]
fn a_script_that_fails_says_so() {
    let (_server, url) = server();
    let mut shell = Shell::start(&[&url]);
    for (line, error) in [
        ("dance", "error: unknown command `dance`; `help` lists them"),
        (
            "say hello",
            "error: no active channel: publish or subscribe to one first",
        ),
        ("publish /a", "error: usage: publish CHANNEL JSON"),
        (
            "publish /a *",
            "error: `*` is not JSON: expected value at line 1 column 1",
        ),
        ("publish a 1", "error: not a usable channel: \"a\""),
        (
            "subscribe /a/*/b",
            "error: not a usable channel: \"/a/*/b\"",
        ),
        ("unsubscribe /a", "error: not subscribed to /a"),
        ("connect", "error: connected already"),
    ] {
        shell.obey(line, error);
    }
    shell.say("call /service/none 1");
    assert!(shell.process.line("error: ").contains("unknown_service"));
    shell.say("subscribe /meta/x");
    shell.process.line("-- subscribed to /meta/x");
    shell.say("help");
    for command in [
        "publish",
        "say",
        "subscribe",
        "unsubscribe",
        "call",
        "disconnect",
        "quit",
    ] {
        shell.process.line(&format!("-- {command} "));
    }
    assert_eq!(shell.end(), (Some(1), Vec::new()));
}

#[test]
fn disconnect_and_connect() {
    let (_server, url) = server();
    let mut shell = Shell::start(&[&url]);
    shell.obey("subscribe /a", "-- subscribed to /a");
    shell.obey("disconnect", "-- disconnected");
    for line in ["publish /a 1", "disconnect", "say hello"] {
        shell.obey(line, "error: not connected; `connect` begins anew");
    }
    shell.say("connect");
    shell.process.line("-- connected over WebSocket");
    shell.obey("publish /a 1", "-- published on /a");
    shell.obey("subscribe /a", "-- subscribed to /a");
    shell.obey("publish /a 2", "-- published on /a");
    assert_eq!(shell.shown(), "[/a] 2");
    shell.say("quit");
    assert_eq!(
        shell.process.wait().code(),
        Some(1),
        "three commands failed"
    );
}

#[test]
fn without_a_server_there_is_no_shell() {
    let refused = output(&["shell", "http://127.0.0.1:1/cometd"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("no connection"));
    let wrong = output(&["shell", "--timeout=soon", "http://127.0.0.1:1/cometd"]);
    assert_eq!(wrong.status.code(), Some(2));
}
