//! From the path of a URL to names below a root: decoded once, and only names that cannot lead
//! anywhere else.

use std::path::{Component, Path, PathBuf};

use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};

/// A path that is safe to look up below a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct SitePath {
    names: Vec<String>,
    /// It ended with a slash.
    is_directory: bool,
}

impl SitePath {
    /// Decodes the path of a URL; `None` if any of its names is not one that may be served.
    pub(in crate::http) fn parse(path: &str) -> Option<Self> {
        if path.len() > LONGEST_PATH {
            return None;
        }
        let mut names = Vec::new();
        let mut parts = path.strip_prefix('/')?.split('/').peekable();
        while let Some(part) = parts.next() {
            if part.is_empty() && parts.peek().is_none() {
                return Some(Self {
                    names,
                    is_directory: true,
                });
            }
            let name = decode(part)?;
            if !is_servable(&name) {
                return None;
            }
            names.push(name);
        }
        Some(Self {
            names,
            is_directory: false,
        })
    }

    pub(super) fn is_directory(&self) -> bool {
        self.is_directory
    }

    /// The last name, empty for the root.
    pub(super) fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    /// The names joined by slashes.
    pub(super) fn joined(&self) -> String {
        self.names.join("/")
    }

    /// The place in the file system.
    pub(super) fn below(&self, root: &Path) -> PathBuf {
        let mut full = root.to_owned();
        full.extend(&self.names);
        full
    }

    /// The URL of this directory with the slash at its end, encoded anew: it begins with one slash
    /// only, so it cannot name another host.
    pub(super) fn with_slash(&self, query: Option<&str>) -> String {
        let mut url = String::from("/");
        for name in &self.names {
            url.extend(utf8_percent_encode(name, NAME));
            url.push('/');
        }
        if let Some(query) = query {
            url.push('?');
            url.extend(utf8_percent_encode(query, QUERY));
        }
        url
    }
}

/// Whether a name may be served at all: it is one plain name on every system, and not hidden
/// (which covers `.` and `..`).
pub(in crate::http) fn is_servable(name: &str) -> bool {
    let hidden = name.starts_with('.');
    let odd = name
        .chars()
        .any(|c| c.is_control() || matches!(c, '/' | '\\'));
    let windows = cfg!(windows) && (name.contains(':') || name.ends_with(['.', ' ']));
    let mut components = Path::new(name).components();
    let plain = matches!(components.next(), Some(Component::Normal(part)) if part == name)
        && components.next().is_none();
    !name.is_empty() && name.len() <= LONGEST_NAME && !hidden && !odd && !windows && plain
}

/// Decodes the escapes of one name, strictly.
fn decode(part: &str) -> Option<String> {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let whole = part.split('%').skip(1).all(is_escape);
    let decoded = percent_decode_str(part).decode_utf8().ok()?;
    whole.then(|| decoded.into_owned())
}

/// In bytes; no usual file system has longer ones.
const LONGEST_NAME: usize = 255;

/// In bytes, before decoding: half of what Linux takes, so that a root fits in front.
const LONGEST_PATH: usize = 2048;

const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\');

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Option<(String, bool)> {
        SitePath::parse(path).map(|path| (path.joined(), path.is_directory()))
    }

    #[test]
    fn plain_paths_are_decoded_once() {
        let table = [
            ("/", "", true),
            ("/index.html", "index.html", false),
            ("/sub/", "sub", true),
            ("/sub/page.html", "sub/page.html", false),
            ("/a%20b.txt", "a b.txt", false),
            ("/%C3%BC.txt", "\u{fc}.txt", false),
            ("/%c3%bc.txt", "\u{fc}.txt", false),
            ("/\u{fc}.txt", "\u{fc}.txt", false),
            ("/%73tyle.css", "style.css", false),
            ("/a%2520b.txt", "a%20b.txt", false),
            ("/a+b", "a+b", false),
            ("/a..b/c...", "a..b/c...", false),
            ("/%3Cscript%3E", "<script>", false),
            ("/C:/x", "C:/x", false),
            ("/..;/x", "", false),
        ];
        for (path, joined, is_directory) in table {
            let expected =
                (!joined.is_empty() || is_directory).then(|| (joined.to_owned(), is_directory));
            assert_eq!(parsed(path), expected, "{path}");
        }
    }

    #[test]
    fn hostile_paths_have_no_meaning() {
        let long = format!("/{}", "a".repeat(LONGEST_NAME + 1));
        let deep = format!("/{}etc/passwd", "../".repeat(20));
        let longest = "/abc".repeat(LONGEST_PATH / 4 + 1);
        for path in [
            "",
            "x",
            "../x",
            "*",
            "/..",
            "/../x",
            "/sub/../../x",
            "/sub/../x",
            "/.",
            "/./x",
            "/./../x",
            "/...",
            "/.../x",
            "/....//x",
            "/%2e%2e/x",
            "/.%2e/x",
            "/%2e./x",
            "/%2E%2E/x",
            "/..%2fx",
            "/%2e%2e%2fx",
            "/sub/..%2f..%2fx",
            "/..%5cx",
            "/..\\x",
            "/a\\b",
            "/a%5cb",
            "/a%2fb",
            "/%2fetc/passwd",
            "//etc/passwd",
            "//../x",
            "/a//b",
            "//",
            "/sub//",
            "/..%00/x",
            "/a%00.html",
            "/a\0b",
            "/sub/..%09/x",
            "/a%09b",
            "/a%0d%0aX:1",
            "/a%7f",
            "/%c0%ae%c0%ae/x",
            "/%c0%ae%c0%ae%c0%afx",
            "/%uff0e%uff0e/x",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/%ff",
            "/%ed%a0%80",
            "/.hidden",
            "/%2ehidden",
            "/.git/config",
            "/.git/",
            "/sub/.env",
            "/a%c2%85b",
            &long,
            &deep,
            &longest,
        ] {
            assert_eq!(parsed(path), None, "{path:?}");
        }
    }

    #[test]
    fn names_that_only_look_like_climbing_stay_below_the_root() {
        let root = Path::new("/root");
        for path in [
            "/C:/x",
            "/file:/x",
            "/%252e%252e/x",
            "/%252e%252e%252fx",
            "/\u{2025}/x",
            "/\u{ff0e}\u{ff0e}/x",
            "/~/x",
        ] {
            let full = SitePath::parse(path).unwrap().below(root);
            assert!(full.starts_with(root), "{path}");
            let only_names = full
                .components()
                .skip(1)
                .all(|part| matches!(part, Component::Normal(_)));
            assert!(only_names, "{path}");
        }
    }

    #[test]
    fn no_spelling_of_six_pieces_leads_out() {
        const PIECES: [&str; 9] = ["/", ".", "..", "%2e", "%2F", "\\", "%5c", "%00", "a"];
        let root = Path::new("/root");
        let mut served = 0;
        for number in 0..PIECES.len().pow(6) {
            let digits = (0..6).map(|place| number / PIECES.len().pow(place) % PIECES.len());
            let path: String = ["/"]
                .into_iter()
                .chain(digits.map(|digit| PIECES[digit]))
                .collect();
            let Some(parsed) = SitePath::parse(&path) else {
                continue;
            };
            served += 1;
            let full = parsed.below(root);
            let below = full.strip_prefix(root).unwrap();
            let plain = |part| matches!(part, Component::Normal(_));
            assert!(below.components().all(plain), "{path}");
            assert_eq!(below.components().count(), parsed.names.len(), "{path}");
            assert!(!parsed.joined().contains(['\\', '\0', '%']), "{path}");
        }
        assert!(served > 100, "{served}");
    }

    #[test]
    fn the_slash_form_is_encoded_and_stays_on_this_host() {
        let table = [
            ("/sub", None, "/sub/"),
            (
                "/a%20b/%C3%BC",
                Some("x=1&y=%20"),
                "/a%20b/%C3%BC/?x=1&y=%20",
            ),
            ("/a%3Fb%23c", Some(""), "/a%3Fb%23c/?"),
            ("/x", Some("\u{fc}<\">\\"), "/x/?%C3%BC%3C%22%3E%5C"),
            ("/evil.example", None, "/evil.example/"),
        ];
        for (path, query, url) in table {
            assert_eq!(SitePath::parse(path).unwrap().with_slash(query), url);
        }
    }
}
