//! Finds what can grow: fields and types that are collections, in Rust text without comments.

/// Collections of the standard library and of this crate, and pointers that keep an allocation.
const KINDS: [&str; 10] = [
    "BTreeMap<",
    "BTreeSet<",
    "BinaryHeap<",
    "HashMap<",
    "HashSet<",
    "Numbered<",
    "OneOrMany<",
    "Slab<",
    "VecDeque<",
    "Weak<",
];

/// Whether a file is part of what a server does for strangers.
pub(crate) fn serves(path: &str) -> bool {
    let others = ["client", "cli", "config", "settings"];
    let other = |name: &str| path.starts_with(&format!("src/{name}/"));
    path.starts_with("src/") && !path.contains("/tests") && !others.iter().any(|name| other(name))
}

/// The fields and types that are or have a collection, with their lines, from zero.
pub(crate) fn tables(bare: &str) -> Vec<(usize, &str)> {
    let lines = bare.lines().enumerate();
    let declared = lines.filter_map(|(line, text)| Some((line, declared(text)?)));
    declared.collect()
}

fn declared(line: &str) -> Option<&str> {
    let at = KINDS.iter().filter_map(|kind| find(line, kind)).min()?;
    let before = visible(line[..at].trim_start());
    for keyword in ["struct ", "type "] {
        if let Some(rest) = before.strip_prefix(keyword) {
            return word(rest);
        }
    }
    let (name, kind) = before.split_once(": ")?;
    let is_field = word(name) == Some(name) && line.trim_end().ends_with(',');
    (is_field && !kind.starts_with('&')).then_some(name)
}

/// What is declared, without who may see it.
fn visible(declaration: &str) -> &str {
    if let Some(rest) = declaration.strip_prefix("pub(") {
        return rest.split_once(") ").map_or(rest, |(_, rest)| rest);
    }
    declaration.strip_prefix("pub ").unwrap_or(declaration)
}

/// Where the text has a word that ends so, and is not the end of a longer one.
fn find(line: &str, kind: &str) -> Option<usize> {
    let at = line.find(kind)?;
    let before = line[..at].chars().last();
    (!before.is_some_and(|c| c.is_alphanumeric() || c == '_')).then_some(at)
}

fn word(text: &str) -> Option<&str> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    Some(&text[..end.unwrap_or(text.len())]).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_found_and_uses_are_not() {
        let text = "struct A {\n  b: Mutex<HashMap<K, V>>,\n  pub(crate) c: Weak<D>,\n  \
            d: Vec<u8>,\n}\npub struct E(VecDeque<F>);\ntype G = BTreeMap<u8, u8>;\n\
            fn h(i: &HashMap<J, K>,\n) {\nlet l: HashMap<M, N> = x;\n\
            self.o = HashMap::new();\nMyHashMap<P>,\n}\n";
        assert_eq!(tables(text), [(1, "b"), (2, "c"), (5, "E"), (6, "G")]);
    }

    #[test]
    fn what_runs_for_strangers() {
        assert!(serves("src/broker/table.rs"));
        assert!(!serves("src/client/model.rs") && !serves("src/link/router/tests/net.rs"));
        assert!(!serves("tests/tidy/main.rs"));
    }
}
