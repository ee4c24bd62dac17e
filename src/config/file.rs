//! The configuration file: TOML, one key for each setting, all at the top level.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::layers::{Entry, Problem, Source, unknown_key};
use super::table::setting;
use crate::settings::Setting;

/// Reads the entries of a file from its text. Lists may be arrays, and `expires` a table.
///
/// The error has all problems, each with its line; `path` is only for naming the file.
pub fn read_file(path: &Path, text: &str) -> Result<Vec<Entry>, Vec<Problem>> {
    let source = |offset: usize| Source::File {
        path: path.to_owned(),
        line: line(text, offset),
    };
    let table = DeTable::parse(text).map_err(|error| {
        let source = source(error.span().map_or(0, |span| span.start));
        let message = error.message().trim_end_matches('.');
        vec![Problem::new(source, None, message)]
    })?;
    let mut entries: Vec<(usize, Entry)> = Vec::new();
    let mut problems: Vec<(usize, Problem)> = Vec::new();
    for (key, value) in table.get_ref() {
        let offset = key.span().start;
        let (key, value, source) = (key.get_ref(), value.get_ref(), source(offset));
        let Some(form) = setting(key).map(Setting::form) else {
            problems.push((offset, explain(key, value, source)));
            continue;
        };
        let text = match value {
            DeValue::Array(array) if form.list => {
                joined(array.iter().map(|element| scalar(element.get_ref())))
            }
            DeValue::Table(map) if form.list && form.placeholder.contains('=') => {
                joined(map.iter().map(|(name, value)| {
                    Some(format!("{}={}", name.get_ref(), scalar(value.get_ref())?))
                }))
            }
            value => scalar(value),
        };
        if let Some(text) = text {
            entries.push((offset, Entry::new(key, &text, source)));
            continue;
        }
        let shape = match form.list {
            true => "a list of strings",
            false => "one value",
        };
        let message = format!("{} cannot be here; {shape} is wanted", name(value));
        problems.push((offset, Problem::new(source, Some(key), message)));
    }
    // The parser sorts by key; people read by line.
    entries.sort_by_key(|(offset, _)| *offset);
    problems.sort_by_key(|(offset, _)| *offset);
    if problems.is_empty() {
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    } else {
        Err(problems.into_iter().map(|(_, problem)| problem).collect())
    }
}

/// A scalar as it would be written on the command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The elements of a list as they would be written there, if all of them are scalars.
fn joined(elements: impl Iterator<Item = Option<String>>) -> Option<String> {
    Some(elements.collect::<Option<Vec<_>>>()?.join(","))
}

/// The problem of a key that is none; sections are what people try most.
fn explain(key: &str, value: &DeValue<'_>, source: Source) -> Problem {
    match value {
        DeValue::Table(table) if table.keys().any(|key| setting(key.get_ref()).is_some()) => {
            let message = "there are no sections; write the keys of";
            Problem::new(source, None, format!("{message} `{key}` at the top level"))
        }
        _ => unknown_key(key, source),
    }
}

/// What a value is, in an error text.
fn name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The line in which a byte stands, counted from 1.
fn line(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String, usize)>, Vec<String>> {
        let plain = |entry: Entry| match entry.source {
            Source::File { line, .. } => (entry.key, entry.text, line),
            source => panic!("{source}"),
        };
        read_file(Path::new("b.toml"), text)
            .map(|entries| entries.into_iter().map(plain).collect())
            .map_err(|problems| problems.iter().map(Problem::to_string).collect())
    }

    #[test]
    fn every_shape() {
        let text = "# comment\ntimeout = \"2s\"\nmax_sessions = 8\ndemo = true\n\
                    listen = [\"127.0.0.1:1\", '[::1]:2']\nallowed_origin = \"http://a,http://b\"\n\
                    [expires]\n\"text/css\" = \"1h\"\n\"image/png\" = \"1d\"\n";
        let owned = |key: &str, text: &str, line| (key.to_owned(), text.to_owned(), line);
        assert_eq!(
            read(text).unwrap(),
            [
                owned("timeout", "2s", 2),
                owned("max_sessions", "8", 3),
                owned("demo", "true", 4),
                owned("listen", "127.0.0.1:1,[::1]:2", 5),
                owned("allowed_origin", "http://a,http://b", 6),
                owned("expires", "image/png=1d,text/css=1h", 7),
            ]
        );
        assert_eq!(
            read("expires = [\"text/css=1h\"]").unwrap(),
            [owned("expires", "text/css=1h", 1)]
        );
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn every_fault_with_its_line() {
        for (text, errors) in [
            (
                "\nmax-body = 1",
                vec!["b.toml:2: unknown key `max-body`; did you mean `max_body`?"],
            ),
            ("xyzzy = 1", vec!["b.toml:1: unknown key `xyzzy`"]),
            (
                "z = 1\ntimeout = [\"1s\"]\na = 2",
                vec![
                    "b.toml:1: unknown key `z`",
                    "b.toml:2: timeout: an array cannot be here; one value is wanted",
                    "b.toml:3: unknown key `a`",
                ],
            ),
            (
                "listen = { a = 1 }",
                vec!["b.toml:1: listen: a table cannot be here; a list of strings is wanted"],
            ),
            (
                "timeout = 1979-05-27",
                vec!["b.toml:1: timeout: a date cannot be here; one value is wanted"],
            ),
            (
                "[limits]\nmax_body = 5",
                vec![
                    "b.toml:1: there are no sections; write the keys of `limits` at the top level",
                ],
            ),
            (
                "path = \"/a\"\npath = \"/b\"",
                vec!["b.toml:2: duplicate key"],
            ),
            (
                "a = 1\nb = \nc = 1",
                vec!["b.toml:2: string values must be quoted, expected literal string"],
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), errors, "{text}");
        }
    }
}
