//! `bayeux shell` at a terminal: typed to, key by key, through a pseudo terminal.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::pty;

use crate::common::program::{Running, bayeux, output};
use crate::common::wait::{PATIENCE, until};

/// The person's side of the terminal.
struct Terminal {
    child: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    /// What was shown and not yet expected, without the escape sequences.
    seen: String,
    /// Within such a sequence.
    escaped: bool,
}

impl Terminal {
    fn open(arguments: &[&str]) -> Self {
        let flags = pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY;
        let near = pty::openpt(flags).unwrap();
        pty::grantpt(&near).unwrap();
        pty::unlockpt(&near).unwrap();
        let name = pty::ptsname(&near, Vec::new()).unwrap();
        let far = OpenOptions::new()
            .read(true)
            .write(true)
            // Else it becomes the terminal of a test run that leads a session, and hangs it up.
            .custom_flags(i32::try_from(pty::OpenptFlags::NOCTTY.bits()).unwrap())
            .open(name.to_str().unwrap())
            .unwrap();
        let child = bayeux(arguments)
            .env("TERM", "xterm")
            .stdin(far.try_clone().unwrap())
            .stdout(far.try_clone().unwrap())
            .stderr(far)
            .spawn()
            .unwrap();
        let keys = File::from(near);
        let mut shown = keys.try_clone().unwrap();
        let (send, screen) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error: the other side has been closed.
            while let Ok(count @ 1..) = shown.read(&mut bytes) {
                let _ = send.send(bytes[..count].to_vec());
            }
        });
        Self {
            child,
            keys,
            screen,
            seen: String::new(),
            escaped: false,
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown, behind what was expected before; returns what is between.
    fn expect(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                let before = self.seen[..at].to_owned();
                self.seen.drain(..at + text.len());
                return before;
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            let more = self.screen.recv_timeout(left);
            let more = more.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen));
            self.look(&more);
        }
    }

    /// An escape sequence is what is between an escape and the next letter.
    fn look(&mut self, shown: &[u8]) {
        for byte in shown {
            match byte {
                0x1b => self.escaped = true,
                byte if self.escaped => self.escaped = !byte.is_ascii_alphabetic(),
                byte => self.seen.push(char::from(*byte)),
            }
        }
    }

    fn wait(&mut self) -> Option<i32> {
        let status = until("it ends", || {
            self.child.try_wait().unwrap().ok_or("it runs")
        });
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PROMPT: &str = "> ";
const UP: &str = "\u{1b}[A";
const ENTER: &str = "\r";
const CONTROL_A: &str = "\u{1}";
const CONTROL_C: &str = "\u{3}";
const CONTROL_D: &str = "\u{4}";

#[test]
fn a_person_types() {
    let server = Running::start(&["--listen=127.0.0.1:0", "--demo"]);
    let url = server.line("listening on ");
    let mut terminal = Terminal::open(&["shell", "--user=me", &url]);
    terminal.expect("-- connected over ");
    terminal.expect(PROMPT);
    let mut say = |keys: &[&str], shown: &str| {
        terminal.press(&keys.concat());
        // What comes while the editor begins may be written behind its prompt, which is not drawn
        // again then.
        if !terminal.expect(shown).ends_with(PROMPT) {
            terminal.expect(PROMPT);
        }
    };
    say(&["subscribe /room", ENTER], "-- subscribed to /room");
    say(&["say hello", ENTER], "me: hello");
    say(&["dance", ENTER], "error: unknown command `dance`");
    say(&["publish /room {", ENTER], "error: `{` is not JSON");
    // The history, a line that is mended at its beginning, and one that is given up.
    say(&[UP, UP, UP, ENTER], "me: hello");
    say(&["xsay again", CONTROL_A, CONTROL_D, ENTER], "me: again");
    say(&["say never", CONTROL_C], "");
    say(&["say instead", ENTER], "me: instead");
    // What comes meanwhile is shown above the line, which stays as it is.
    terminal.press("say the");
    terminal.expect("say the");
    let other = r#"{"user":"you","chat":"meanwhile"}"#;
    assert!(output(&["publish", &url, "/room", other]).status.success());
    terminal.expect("you: meanwhile");
    terminal.expect("> say the");
    terminal.press(&[" end", ENTER].concat());
    terminal.expect("me: the end");
    terminal.expect(PROMPT);
    terminal.press(CONTROL_D);
    assert_eq!(terminal.wait(), Some(0), "mistakes are no failure here");
}
