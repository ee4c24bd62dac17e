//! House rules that a machine can check: who may import whom, sizes, characters, banned calls.
//!
//! Each test collects everything that breaks its rule before it fails.

mod functions;
mod layers;
mod source;
mod tables;

use source::{Source, bare, sources};

const LINE_LENGTH: usize = 100;
const FILE_LENGTH: usize = 500;
const FUNCTION_LENGTH: usize = 100;
/// Tests with real sockets and processes, in which time passes.
const ON_SOCKETS: &[&str] = &[
    "tests/browser",
    "tests/cli",
    "tests/client/end_to_end",
    "tests/client/failures",
    "tests/client/support",
    "tests/client/websocket",
    "tests/common/wait",
    "tests/faults",
    "tests/http",
    "tests/interop",
    "tests/link/bridge",
    "tests/link/ending",
    "tests/link/hostile",
    "tests/link/hub",
    "tests/link/nodes",
    "tests/link/support",
    "tests/native",
    "tests/tcp/exhaustion",
    "tests/tcp/reactor/mod",
    "tests/tcp/reactor/receipt",
    "tests/tcp/server",
    "tests/tcp/stress",
];
/// Most lines of a file of tests.
const TEST_LENGTH: usize = 700;
/// Files that may be longer than that, with the reason. A ratchet: it only ever shrinks.
const LONG_FILES: [(&str, &str); 0] = [];

#[test]
fn imports_point_downwards() {
    let mut broken =
        Broken::new("a module imports what is not below it (see the drawing in src/lib.rs)");
    for source in sources().iter().filter(|s| s.is_rust() && s.below("src")) {
        for (line, wrong) in layers::forbidden(&source.path, &bare(&source.text)) {
            broken.at(source, line, &wrong);
        }
    }
    broken.judge();
}

#[test]
fn lines_are_at_most_100_characters_long() {
    let mut broken = Broken::new("a line is too long");
    let kinds = [".rs", ".js", ".mjs", ".css", ".sh", ".py", "/run"];
    for source in sources()
        .iter()
        .filter(|s| kinds.iter().any(|kind| s.path.ends_with(kind)))
    {
        for (line, text) in source.text.lines().enumerate() {
            if text.chars().count() > LINE_LENGTH && !text.contains("://") {
                broken.at(source, line, "");
            }
        }
    }
    broken.judge();
}

#[test]
fn rust_sources_are_ascii() {
    let mut broken = Broken::new("a character is not ASCII");
    for source in sources().iter().filter(|s| s.is_rust()) {
        for (line, text) in source.text.lines().enumerate() {
            if let Some(c) = text.chars().find(|c| !c.is_ascii()) {
                broken.at(source, line, &c.escape_unicode().to_string());
            }
        }
    }
    broken.judge();
}

#[test]
fn files_are_short() {
    let mut broken = Broken::new("a file is too long");
    for source in sources()
        .iter()
        .filter(|s| s.is_rust() || s.path.ends_with(".js"))
    {
        let lines = source.text.lines().count();
        let excused = LONG_FILES.iter().any(|(path, _)| *path == source.path);
        let most = if source.below("src") {
            FILE_LENGTH
        } else {
            TEST_LENGTH
        };
        if lines > most && !excused {
            broken.at(source, lines, "");
        }
    }
    broken.judge();
}

#[test]
fn functions_are_short() {
    let mut broken = Broken::new("a function is too long");
    for source in sources().iter().filter(|s| s.is_rust()) {
        for function in functions::functions(&bare(&source.text)) {
            if function.lines > FUNCTION_LENGTH {
                broken.at(source, function.first, &format!("{} lines", function.lines));
            }
        }
    }
    broken.judge();
}

#[test]
fn files_say_what_they_are() {
    let mut broken = Broken::new("a file does not begin with what it is about");
    for source in sources().iter().filter(|s| s.is_rust()) {
        if !source.text.starts_with("//!") {
            broken.at(source, 0, "");
        }
        let contents = source.path.ends_with("/mod.rs") && source.path.matches('/').count() == 2;
        let scoped = source.text.contains("In scope") && source.text.contains("Out of scope");
        if contents && source.below("src") && !scoped {
            broken.at(source, 0, "what is in scope, what is not?");
        }
    }
    broken.judge();
}

#[test]
fn whatever_can_grow_is_in_the_list_of_bounds() {
    let list = include_str!("../../docs/bounds.md");
    let mut broken = Broken::new("what bounds it is to be said in docs/bounds.md");
    let serves = |s: &&Source| s.is_rust() && tables::serves(&s.path);
    for source in sources().iter().filter(serves) {
        let text = bare(&source.text);
        for (line, name) in tables::tables(without_tests(&text)) {
            if !list.contains(&format!("`{}: {name}`", source.path)) {
                broken.at(source, line, name);
            }
        }
    }
    broken.judge();
}

#[test]
fn clocks_are_read_in_one_place() {
    let now = ["Instant::now", "SystemTime::now"];
    banned(
        &now,
        |s| s.below("src") && s.path != "src/clock.rs",
        "time is an argument",
    );
}

#[test]
fn nothing_sleeps() {
    let call = ["sleep("];
    banned(&call, |s| s.below("src"), "waiting is done on a condition");
    let in_tests = |s: &Source| s.below("tests") && !ON_SOCKETS.iter().any(|at| s.is_at(at));
    banned(&call, in_tests, "only end-to-end tests may sleep");
}

#[test]
fn threads_have_names() {
    let mut broken = Broken::new("use thread::Builder and give a name");
    for source in sources().iter().filter(|s| s.is_rust() && s.below("src")) {
        for (line, text) in without_tests(&bare(&source.text)).lines().enumerate() {
            if text.contains("thread::spawn(") {
                broken.at(source, line, text.trim());
            }
        }
    }
    broken.judge();
}

#[test]
fn every_page_is_part_of_the_program() {
    let all = sources();
    let list = all
        .iter()
        .find(|s| s.path == "src/server/pages.rs")
        .expect("the list of pages");
    let mut broken = Broken::new("a page is not in the list of src/server/pages.rs");
    for source in all.iter().filter(|s| s.below("htdocs")) {
        let name = &source.path["htdocs/".len()..];
        if !list.text.contains(&format!("\"{name}\"")) {
            broken.at(source, 0, "");
        }
    }
    broken.judge();
}

#[test]
fn nothing_is_left_unfinished() {
    let calls = [
        concat!("todo", "!"),
        concat!("unimplemented", "!"),
        concat!("dbg", "!"),
    ];
    banned(&calls, |_| true, "unfinished");
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut broken = Broken::new("something is left to be done");
    for source in sources().iter().filter(|s| s.path.contains('/')) {
        for (line, text) in source.text.lines().enumerate() {
            let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
            // Lock files have check sums.
            if words.any(|word| marks.contains(&word)) && !text.contains("sha512-") {
                broken.at(source, line, text.trim());
            }
        }
    }
    broken.judge();
}

#[test]
fn no_path_of_a_machine() {
    let mut broken = Broken::new("a path exists on one machine only");
    let starts = ["work", "farm", "root", "home", "Users"].map(|name| format!("/{name}/"));
    for source in &sources() {
        for (line, text) in source.text.lines().enumerate() {
            for start in &starts {
                for (at, _) in text.match_indices(start.as_str()) {
                    let before = text[..at].chars().last();
                    let after = text[at + start.len()..].chars().next();
                    let inside = before.is_some_and(|c| c.is_alphanumeric() || "._-".contains(c));
                    if !inside && after.is_some_and(|c| c.is_ascii_lowercase()) {
                        broken.at(source, line, text.trim());
                    }
                }
            }
        }
    }
    broken.judge();
}

/// Fails where code, not a comment or a literal, has one of the words.
fn banned(words: &[&str], among: impl Fn(&Source) -> bool, why: &str) {
    let mut broken = Broken::new(why);
    for source in sources().iter().filter(|s| s.is_rust() && among(s)) {
        for (line, text) in bare(&source.text).lines().enumerate() {
            if words.iter().any(|word| has_word(text, word)) {
                broken.at(source, line, text.trim());
            }
        }
    }
    broken.judge();
}

/// Whether the text has the word, and not only as the end of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().last();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The file up to its unit tests, which stand at its end.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ")
        .map_or(text, |at| &text[..at])
}

/// Everything that breaks a rule.
struct Broken {
    rule: String,
    places: Vec<String>,
}

impl Broken {
    fn new(rule: &str) -> Self {
        Self {
            rule: rule.to_owned(),
            places: Vec::new(),
        }
    }

    /// `line` counts from zero.
    fn at(&mut self, source: &Source, line: usize, what: &str) {
        self.places
            .push(format!("{}:{}: {what}", source.path, line + 1));
    }

    fn judge(self) {
        assert!(
            self.places.is_empty(),
            "{}:\n{}",
            self.rule,
            self.places.join("\n")
        );
    }
}

/// What the README of the published crate leads to is in the crate.
#[test]
fn the_readme_leads_nowhere_outside_the_crate() {
    let readme = include_str!("../../README.md");
    let links = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let broken: Vec<_> = links.filter(|link| !link.contains("://")).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

/// What the pages say stands in a file of ours is in a file that is there.
#[test]
fn pages_name_files_that_are_there() {
    let mut broken = Broken::new("there is no such file");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = |s: &&Source| s.below("docs") || s.path == "README.md";
    let ours = [
        "tests/",
        "src/",
        "examples/",
        "benches/",
        "htdocs/",
        "docs/",
    ];
    for source in sources().iter().filter(pages) {
        for (line, text) in source.text.lines().enumerate() {
            let named = text.split('`').skip(1).step_by(2);
            for name in named.filter(|name| ours.iter().any(|folder| name.starts_with(folder))) {
                let path = name.split([':', ' ']).next().unwrap_or(name);
                // What stands for several files is in a folder.
                let path = path.split('*').next().unwrap_or(path);
                let (folder, _) = path.rsplit_once('/').unwrap_or((path, ""));
                let path = if name.contains('*') { folder } else { path };
                if !root.join(path).exists() {
                    broken.at(source, line, name);
                }
            }
        }
    }
    broken.judge();
}

/// The same for modules, named by their path below `src`, and for tests, which are known by their
/// long names.
#[test]
fn tables_name_modules_and_tests_that_are_there() {
    let mut broken = Broken::new("there is no such module or test");
    let modules = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let is_name = |text: &str| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !text.is_empty() && text.chars().all(letter)
    };
    let all = all_of_rust();
    for source in sources().iter().filter(|s| s.below("docs")) {
        for (line, text) in source.text.lines().enumerate() {
            for code in text.split('`').skip(1).step_by(2) {
                let is_path = code.contains('/') && code.split('/').all(is_name);
                let top = code.split('/').next().filter(|_| is_path);
                let file = modules.join(code);
                let is_there = file.is_dir() || file.with_extension("rs").is_file();
                if top.is_some_and(|top| modules.join(top).is_dir()) && !is_there {
                    broken.at(source, line, code);
                }
                let name = code.rsplit("::").next().unwrap_or(code);
                let is_long = is_name(name) && name.matches('_').count() > 2;
                // Settings and numbers of the metrics may have long names too.
                let known = [
                    format!("fn {name}("),
                    format!(" {name}: "),
                    format!("\"{name}\""),
                ];
                if is_long && !known.iter().any(|known| all.contains(known)) {
                    broken.at(source, line, code);
                }
            }
        }
    }
    broken.judge();
}

/// The parity table leaves no item out, and names no test that is not there.
#[test]
fn the_parity_table_is_whole() {
    let table = include_str!("../../docs/parity-server.md");
    let items = [('B', 121), ('E', 5), ('P', 3), ('X', 20)];
    let mut broken: Vec<String> = items
        .iter()
        .flat_map(|(letter, last)| without_a_row(table, *letter, 1..=*last))
        .collect();
    let all = all_of_rust();
    for code in table.split('`').skip(1).step_by(2) {
        let Some((file, tests)) = code.split_once(": ") else {
            continue;
        };
        let is_test = ["e2e", "hooks", "settings"].contains(&file) || file.starts_with("tests/");
        let groups = ["files"];
        for test in tests
            .split(", ")
            .filter(|test| is_test && !groups.contains(test))
        {
            // Rows of the table of settings are tests too.
            let row = file == "settings" && all.contains(&format!("\n    {test} = \""));
            if !row && !all.contains(&format!("fn {test}(")) {
                broken.push(format!("{file}: there is no test {test}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The same for the table of `tcp`, which names methods and options too.
#[test]
fn the_parity_table_of_tcp_is_whole() {
    let table = include_str!("../../docs/parity-tcp.md");
    let mut broken = without_a_row(table, 'T', 1..=80);
    broken.extend(without_a_row(table, 'X', 18..=18));
    let all = all_of_rust();
    let is_name = |code: &&str| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        code.contains('_') && code.chars().all(letter)
    };
    for name in table.split('`').skip(1).step_by(2).filter(is_name) {
        let is_there = [format!("fn {name}("), format!("pub {name}: ")];
        if !is_there.iter().any(|text| all.contains(text)) {
            broken.push(format!("there is no {name}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn without_a_row(table: &str, letter: char, numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    let row = |number: &u32| format!("\n| {letter}{number} ");
    numbers
        .filter(|number| table.matches(&row(number)).count() != 1)
        .map(|number| format!("{letter}{number}: one row is wanted"))
        .collect()
}

fn all_of_rust() -> String {
    sources()
        .iter()
        .filter(|s| s.is_rust())
        .map(|s| &*s.text)
        .collect()
}
