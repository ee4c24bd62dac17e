//! Who may name whom: the drawing in `lib.rs` as a table.

/// Modules from the bottom to the top; those of one row do not see each other.
const LAYERS: [&[&str]; 10] = [
    &["clock", "counters", "settings", "util"],
    &["refusals", "log_writer"],
    &["protocol", "tcp"],
    &["transport", "extensions"],
    &["broker"],
    &["http", "demo"],
    &["connectors", "link", "client", "ops"],
    &["config", "bridge", "connector"],
    &["server"],
    &["cli"],
];

/// What a module may name although a lower layer would not do, and what it may not although it
/// would.
const NOT: [(&str, &[&str]); 5] = [
    // No clock, no threads, no counters: bytes in, bytes out.
    ("protocol", &["clock", "counters", "refusals"]),
    // Stands alone; what it refuses the connectors tell.
    ("tcp", &["refusals"]),
    // The way up from sockets to sessions leads through `connectors`.
    ("broker", &["tcp"]),
    ("http", &["tcp"]),
    // Stands alone with `tcp`; `bridge` brings it together with the server.
    (
        "link",
        &[
            "protocol",
            "transport",
            "broker",
            "extensions",
            "http",
            "demo",
        ],
    ),
];

/// What the file at `path` below `src` names and must not, with the line, from zero. `bare` is its
/// text without comments and literals.
pub(crate) fn forbidden(path: &str, bare: &str) -> Vec<(usize, String)> {
    let module = module_of(path);
    let Some(own) = layer(module) else {
        // The crate's root and the program put the modules together; anything else is unknown.
        let known = matches!(module, "lib" | "main");
        return if known {
            Vec::new()
        } else {
            vec![(0, format!("`{module}` has no layer"))]
        };
    };
    let allowed = |other: &str| {
        let lower = layer(other).is_some_and(|layer| layer < own);
        let denied = NOT
            .iter()
            .any(|(who, whom)| *who == module && whom.contains(&other));
        other == module || lower && !denied
    };
    let named = named(bare).into_iter().filter(|(_, other)| !allowed(other));
    named
        .map(|(line, other)| (line, format!("`{module}` names `{other}`")))
        .collect()
}

fn module_of(path: &str) -> &str {
    let rest = path.strip_prefix("src/").unwrap_or(path);
    let first = rest.split('/').next().unwrap_or(rest);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// The words after each `crate::`, with their lines.
fn named(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, start) in text.match_indices("crate::") {
        let line = text[..at].matches('\n').count();
        if text[..at]
            .chars()
            .last()
            .is_some_and(|c| c.is_alphanumeric() || c == '_')
        {
            continue;
        }
        let rest = &text[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(heads(group).into_iter().map(|head| (line, head))),
            None => found.extend(word(rest).map(|word| (line, word))),
        }
    }
    found
}

/// The first words of the entries of a group, which may go over several lines.
fn heads(group: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut found = Vec::new();
    let mut fresh = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if fresh && (c.is_alphanumeric() || c == '_') => {
                found.extend(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    found
}

fn word(text: &str) -> Option<&str> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

#[test]
fn the_drawing_is_the_table() {
    let root = include_str!("../../src/lib.rs");
    let (_, drawing) = root.split_once("# The layers").unwrap();
    let (_, drawing) = drawing.split_once("```text\n").unwrap();
    let (drawing, _) = drawing.split_once("//! ```").unwrap();
    let rows = drawing.lines().map(|row| {
        let row = row.strip_prefix("//!").unwrap();
        row.split_whitespace().collect::<Vec<_>>()
    });
    let mut rows: Vec<_> = rows.collect();
    rows.reverse();
    let sorted = |row: &[&'static str]| {
        let mut row = row.to_vec();
        row.sort_unstable();
        row
    };
    let table = LAYERS.iter().map(|row| sorted(row));
    let drawn = rows.iter().map(|row| sorted(row));
    assert_eq!(drawn.collect::<Vec<_>>(), table.collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_applied() {
        let fine = [
            ("src/broker/facade.rs", "use crate::protocol::ChannelName;"),
            ("src/broker/facade.rs", "use crate::broker::queue::Queue;"),
            (
                "src/http/mod.rs",
                "use crate::{broker::Broker, protocol::{Batch, parse}};",
            ),
            ("src/main.rs", "use crate::cli;"),
            ("src/tcp/poll.rs", "let x = mycrate::broker::y();"),
        ];
        for (path, text) in fine {
            assert_eq!(forbidden(path, text), [], "{path}: {text}");
        }
        let wrong = [
            (
                "src/protocol/batch.rs",
                "use crate::clock::Clock;",
                "`protocol` names `clock`",
            ),
            (
                "src/tcp/mod.rs",
                "fn x() -> crate::http::Site",
                "`tcp` names `http`",
            ),
            (
                "src/broker/mod.rs",
                "use crate::{\nclock::C,\nhttp::S};",
                "`broker` names `http`",
            ),
            (
                "src/client/mod.rs",
                "use crate::link::L;",
                "`client` names `link`",
            ),
            ("src/unheard.rs", "", "`unheard` has no layer"),
        ];
        for (path, text, message) in wrong {
            assert_eq!(
                forbidden(path, text),
                [(0, message.to_owned())],
                "{path}: {text}"
            );
        }
    }
}
