//! The files of the repository, and Rust text without its comments and literals.

use std::fs;
use std::path::Path;

/// A file of the repository.
pub(crate) struct Source {
    /// From the root of the repository, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Whether the file lies below that folder.
    pub(crate) fn below(&self, folder: &str) -> bool {
        self.path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether it is that Rust file, given without its ending, or below that folder.
    pub(crate) fn is_at(&self, place: &str) -> bool {
        self.below(place) || self.path.strip_suffix(".rs") == Some(place)
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// All files of the repository, without what tools put there.
pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(root, root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        found.iter().any(|source| source.path == "src/lib.rs"),
        "the walk finds the sources"
    );
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    const FOREIGN: [&str; 5] = [".git", "target", "node_modules", ".cache", "__pycache__"];
    let entries = fs::read_dir(folder).expect("the folder can be read");
    for entry in entries.map(|entry| entry.expect("the entry can be read")) {
        let path = entry.path();
        let name = entry.file_name();
        if FOREIGN.iter().any(|foreign| name == *foreign) {
            continue;
        }
        let kind = entry.file_type().expect("the entry has a type");
        if kind.is_dir() {
            collect(root, &path, found);
        } else if kind.is_file() {
            found.extend(read(root, &path));
        }
    }
}

fn read(root: &Path, path: &Path) -> Option<Source> {
    // Pictures and the like have names, and lines that nobody judges.
    let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
    let relative = path.strip_prefix(root).expect("the walk started there");
    let path = relative
        .to_str()
        .expect("names are UTF-8")
        .replace('\\', "/");
    Some(Source { path, text })
}

/// Rust text with comments and the insides of literals made blank, line by line as before.
pub(crate) fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (skipped, kept) = literal_or_comment(rest, out.chars().last());
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        out.push_str(&rest[..kept]);
        out.extend(
            rest[kept..skipped]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        rest = &rest[skipped..];
    }
    out
}

/// How long the comment or literal at the start of `rest` is (0: there is none), and how much of
/// its beginning stays.
fn literal_or_comment(rest: &str, before: Option<char>) -> (usize, usize) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), 0);
    }
    if rest.starts_with("/*") {
        return (rest.find("*/").map_or(rest.len(), |end| end + 2), 0);
    }
    if let Some(body) = rest.strip_prefix('"') {
        return (1 + end_of_string(body), 1);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && (rest.starts_with('r') || rest.starts_with("br")) {
        let start = if rest.starts_with('b') { 2 } else { 1 };
        let hashes = rest[start..].bytes().take_while(|b| *b == b'#').count();
        if rest[start + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = start + hashes + 1;
            let end = rest[body..]
                .find(&close)
                .map_or(rest.len(), |at| body + at + close.len());
            return (end, body);
        }
    }
    (character(rest), 1)
}

fn end_of_string(body: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    body.len()
}

/// The length of a character literal; 0 where the quote begins a lifetime or there is none.
fn character(rest: &str) -> usize {
    let Some(body) = rest.strip_prefix('\'') else {
        return 0;
    };
    if let Some(escape) = body.strip_prefix('\\') {
        return escape
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == '\'')
            .map_or(0, |(at, _)| at + 3);
    }
    let mut chars = body.chars();
    match (chars.next(), chars.next()) {
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}
