//! The arguments: those of the settings, made from their table, and those of each command.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::value::RawValue;

use super::output::Failure;
use crate::config::{Config, SETTINGS, Setting, duration};
use crate::link::DEFAULT_ADDRESS;

/// The argument for the configuration file.
pub(super) const CONFIG: &str = "config";
/// The switch `--json`, where JSON is an argument too.
pub(super) const JSON_OUTPUT: &str = "json-output";

/// The whole program.
pub(super) fn program() -> Command {
    let about = "A Bayeux (CometD) publish-subscribe server, and clients for the command line.";
    let serve = with_settings(Command::new("serve"))
        .about("Serve until interrupted (also without a subcommand)")
        .after_help(AFTER_SETTINGS);
    let check = with_settings(Command::new("check"))
        .about("Check a configuration as `serve` would, and print what is in force")
        .after_help(AFTER_SETTINGS);
    with_settings(Command::new("bayeux"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .after_help(AFTER_SETTINGS)
        .args_conflicts_with_subcommands(true)
        .subcommand(serve)
        .subcommand(publish())
        .subcommand(subscribe())
        .subcommand(call())
        .subcommand(shell())
        .subcommand(link())
        .subcommand(check)
}

/// A program that does nothing but serve.
pub(super) fn server() -> Command {
    with_settings(Command::new("server"))
        .about("Serve until interrupted")
        .after_help(AFTER_SETTINGS)
}

const AFTER_SETTINGS: &str = "\
Each setting is also an environment variable (BAYEUX_MAX_BODY for --max-body) and a key of the \
configuration file (max_body). A flag wins over the environment, that over the file, that over the \
default. Lists may be repeated or separated by commas.";

fn publish() -> Command {
    let channel = required("channel", "CHANNEL", "Such as /chat/demo");
    Command::new("publish")
        .about("Publish one message")
        .args(remote())
        .args([url(), channel])
        .arg(required("json", "JSON", "The data of the message"))
}

fn subscribe() -> Command {
    let help = "Channels and patterns, such as /chat/demo or /chat/**";
    Command::new("subscribe")
        .about("Print messages, one line of JSON for each, until interrupted")
        .args(remote())
        .arg(url())
        .arg(required("channel", "CHANNEL", help).num_args(1..))
}

fn call() -> Command {
    let help = "Print the whole message of the answer, not only its data";
    let service = required("service", "SERVICE", "Such as /service/echo");
    Command::new("call")
        .about("Ask a service, and print the data of its answer as one line of JSON")
        .args(remote())
        .args([timeout_of_calls(), switch(JSON_OUTPUT, "json", help)])
        .args([url(), service])
        .arg(required("json", "JSON", "The data of the request"))
        .after_help("Exit codes: 0 answered; 1 refused, or no answer in time; 2 wrong arguments.")
}

fn shell() -> Command {
    let user = "Who says what `say` says [default: $USER]";
    let autojoin = "Subscribe to /service/* and /private/<own client id> first";
    Command::new("shell")
        .about("Talk to a server command by command; `help` lists them")
        .args(remote())
        .arg(timeout_of_calls())
        .arg(switch(
            JSON_OUTPUT,
            "json",
            "Show messages as lines of JSON",
        ))
        .arg(option("user", "NAME", user))
        .arg(switch("autojoin", "autojoin", autojoin))
        .arg(url())
        .after_help(
            "Where standard input is no terminal, it is read as a script: messages and answers go \
             to standard output, all else to standard error, and the exit code is 1 if a command \
             failed.",
        )
}

fn link() -> Command {
    let aliases = Command::new("aliases").about("List what can be posted to, and who exports it");
    let post = message(Command::new("post")).about("Post a message and wait until it is handled");
    let call = message(Command::new("call")).about("Call and print the answer");
    let commands = [aliases, post, call].map(|command| command.args(link_options()));
    Command::new("link")
        .about("Post to and call linked processes")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(commands)
}

/// The options of every command that links with others.
fn link_options() -> [Arg; 7] {
    let address = "A node that listens, such as `bayeux serve --link`";
    let key = "The key that all nodes share, at least 16 bytes";
    let name = "What to call this node; with TLS, a name its certificate is for";
    let certificate = "This node's certificate (PEM), to link by TLS; with the feature `tls` only";
    let private = "The private key of that certificate (PEM)";
    let roots = "Who signs the certificates of other nodes (PEM)";
    let other = "Whom the other's certificate is to be for [default: the host of the address]";
    [
        option("address", "ADDRESS", address).default_value(DEFAULT_ADDRESS),
        option("key-file", "FILE", key).required_unless_present("tls-cert"),
        option("name", "NAME", name),
        option("tls-cert", "FILE", certificate).requires_all(["tls-key", "tls-ca", "name"]),
        option("tls-key", "FILE", private).requires("tls-cert"),
        option("tls-ca", "FILE", roots).requires("tls-cert"),
        option("tls-server-name", "NAME", other).requires("tls-cert"),
    ]
}

/// The arguments of a command that sends a message to a linked process.
fn message(command: Command) -> Command {
    let args = required("json", "JSON", "The arguments").required(false);
    command
        .arg(required("alias", "ALIAS", "Such as adder, or node/adder"))
        .arg(required("event", "EVENT", "What it is about"))
        .arg(args.default_value("null"))
        .arg(option("timeout", "DURATION", "How long it may take").default_value("10s"))
}

/// The options of every command that talks to a server.
fn remote() -> Vec<Arg> {
    let transport = "How to talk to the server; `auto` falls back from WebSocket to long-polling \
                     [default: websocket for ws: and wss:, else auto]";
    let header = "A header for every HTTP request; may be repeated";
    let ext = "Members for the `ext` of the handshake, such as credentials";
    let debug = "Show on standard error which messages come and go";
    vec![
        option("transport", "TRANSPORT", transport).value_parser([
            "auto",
            "long-polling",
            "websocket",
        ]),
        option("header", "NAME: VALUE", header).action(ArgAction::Append),
        option("ext", "JSON", ext),
        #[cfg(feature = "client-tls")]
        option(
            "ca",
            "FILE",
            "Root certificates (PEM) to check the server's against [default: Mozilla's]",
        ),
        switch("debug", "debug", debug),
    ]
}

fn url() -> Arg {
    let help = "The endpoint, such as http://127.0.0.1:8080/cometd, or with ws:";
    required("url", "URL", help)
}

fn timeout_of_calls() -> Arg {
    let help = "How long to wait for the answer of a service";
    option("timeout", "DURATION", help).default_value("10s")
}

/// `--name VALUE`.
fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

/// `--long`.
fn switch(id: &'static str, long: &'static str, help: &'static str) -> Arg {
    Arg::new(id)
        .long(long)
        .action(ArgAction::SetTrue)
        .help(help)
}

/// An argument by its place.
fn required(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name(value).required(true).help(help)
}

/// The value of an argument that the parser has made sure is there.
pub(super) fn value<'a>(matches: &'a ArgMatches, name: &str) -> &'a str {
    matches
        .get_one::<String>(name)
        .expect("because the argument is required")
}

/// The value of `--timeout`.
pub(super) fn timeout(matches: &ArgMatches) -> Result<Duration, Failure> {
    let value = duration(value(matches, "timeout"));
    value.map_err(|why| Failure::wrong(format!("--timeout: {why}")))
}

/// The text, if it is JSON, to be sent as it was typed; else what is wrong with it.
pub(super) fn json(text: &str) -> Result<&RawValue, String> {
    serde_json::from_str(text).map_err(|error| {
        // A shell takes the quotes away, so a word is the most frequent mistake.
        let word = text
            .chars()
            .all(|c| c.is_alphanumeric() || " .,!?-_".contains(c));
        let hint = match word && !text.trim().is_empty() {
            true => format!("; did you mean '\"{text}\"'?"),
            false => String::new(),
        };
        format!("`{text}` is not JSON: {error}{hint}")
    })
}

/// The arguments of a command that reads a configuration.
fn with_settings(command: Command) -> Command {
    let help = "Configuration file (TOML) [env: BAYEUX_CONFIG]";
    let config = option(CONFIG, "FILE", help);
    command.arg(config).args(SETTINGS.iter().map(argument))
}

/// The argument of one setting. Its value is read later, together with the other layers.
fn argument(setting: &'static Setting<Config>) -> Arg {
    let form = setting.form();
    let (short, long) = texts(setting);
    let arg = Arg::new(setting.key)
        .long(setting.flag())
        .value_name(form.placeholder)
        .help_heading(setting.section)
        .help(short)
        .long_help(long)
        .action(if form.list {
            ArgAction::Append
        } else {
            ArgAction::Set
        });
    if form.switch {
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    } else {
        arg
    }
}

/// One line for `-h`, all there is for `--help`.
fn texts(setting: &Setting<Config>) -> (String, String) {
    let mut paragraphs = paragraphs(setting.about);
    let first = paragraphs
        .first()
        .map(|first| first.trim_end_matches('.'))
        .unwrap_or_default();
    let short = format!("{first} [default: {}]", setting.default);
    let form = setting.form();
    let spelling = Some(form.spelling).filter(|spelling| !spelling.is_empty());
    let value: Vec<&str> = spelling.into_iter().chain(setting.limits).collect();
    if !value.is_empty() {
        paragraphs.push(format!("Value: {}.", value.join("; ")));
    }
    if form.list {
        paragraphs.push("May be repeated, or be a list separated by commas.".to_owned());
    }
    paragraphs.push(format!(
        "[default: {}] [env: {}]",
        setting.default,
        setting.variable()
    ));
    (short, paragraphs.join("\n"))
}

/// The paragraphs of a text, each on one line: the terminal decides where they break.
fn paragraphs(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let paragraphs = lines
        .split(|line| line.is_empty())
        .filter(|lines| !lines.is_empty());
    paragraphs.map(|lines| lines.join(" ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        program().debug_assert();
    }

    #[test]
    fn switches_and_lists() {
        let matches = program()
            .try_get_matches_from(["bayeux", "--demo", "--listen", "a:1,b:2", "--listen=c:3"])
            .unwrap();
        assert_eq!(matches.get_one::<String>("demo").unwrap(), "true");
        let listen: Vec<&String> = matches.get_many("listen").unwrap().collect();
        assert_eq!(listen, ["a:1,b:2", "c:3"]);
        let matches = program()
            .try_get_matches_from(["bayeux", "serve", "--demo=false"])
            .unwrap();
        let serve = matches.subcommand_matches("serve").unwrap();
        assert_eq!(serve.get_one::<String>("demo").unwrap(), "false");
        // A switch takes its value behind `=` only, so this is not read as `--demo=serve`.
        assert!(
            program()
                .try_get_matches_from(["bayeux", "--demo", "serve"])
                .is_err()
        );
        for twice in [
            ["bayeux", "--timeout=1s", "--timeout=2s"],
            ["bayeux", "--demo", "--demo"],
        ] {
            assert!(program().try_get_matches_from(twice).is_err());
        }
    }

    #[test]
    fn data_is_json_and_stays_as_it_is() {
        for good in ["null", "1.50", "\"a\\u00e9\"", "{\"b\":1, \"a\" : [ ]}"] {
            assert_eq!(json(good).unwrap().get(), good);
        }
        let wrong = |text| json(text).unwrap_err();
        assert!(wrong("hello world").ends_with("did you mean '\"hello world\"'?"));
        assert!(wrong("{\"a\":}").starts_with("`{\"a\":}` is not JSON: "));
        assert!(!wrong("{\"a\":}").contains("did you mean"));
        assert!(!wrong("").contains("did you mean"));
        assert!(wrong("1 2").contains("is not JSON"));
    }

    #[test]
    fn help_has_units_and_defaults() {
        let (short, long) = texts(
            SETTINGS
                .iter()
                .find(|setting| setting.key == "timeout")
                .unwrap(),
        );
        assert_eq!(
            short,
            "How long a connect is held when there is nothing to say [default: 30s]"
        );
        assert!(
            long.contains("\nValue: a number with ms, s, m, h or d; 0s to 1d."),
            "{long}"
        );
        assert!(
            long.ends_with("\n[default: 30s] [env: BAYEUX_TIMEOUT]"),
            "{long}"
        );
        for setting in SETTINGS.iter() {
            let (short, long) = texts(setting);
            assert!(!short.contains(".."), "{short}");
            assert!(long.contains(&setting.variable()), "{long}");
        }
    }
}
