//! Files that are part of the program.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use siphasher::sip128::SipHasher24;

use super::path::SitePath;
use super::serve::{Asset, Content, Found};

/// A list of files: their paths without the first slash, and what they hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Embedded {
    files: HashMap<Cow<'static, str>, File>,
    /// All their directories; the root is the empty name.
    directories: HashSet<&'static str>,
}

#[derive(Clone, Debug)]
struct File {
    bytes: &'static [u8],
    tag: String,
}

impl Embedded {
    /// Takes the list and computes the entity tags.
    pub(super) fn new(list: &'static [(&'static str, &'static [u8])]) -> Self {
        let mut all = Self::default();
        for (path, bytes) in list {
            let mut rest = *path;
            while let Some((directory, _)) = rest.rsplit_once('/') {
                all.directories.insert(directory);
                rest = directory;
            }
            all.directories.insert("");
            all.insert((*path).into(), bytes);
        }
        all
    }

    /// Adds a file, but no directory that it would be in.
    pub(super) fn insert(&mut self, path: Cow<'static, str>, bytes: &'static [u8]) {
        let tag = tag(bytes);
        self.files.insert(path, File { bytes, tag });
    }

    /// Looks for what a path means; `gzip` says whether the compressed form will do.
    pub(super) fn find(&self, path: &SitePath, index: &[String], gzip: bool) -> Found {
        let joined = path.joined();
        let is_dir = self.directories.contains(&joined[..]);
        match (is_dir, path.is_directory()) {
            (true, true) => self.index(&joined, index, gzip),
            (true, false) => Found::Directory,
            (false, true) => Found::Missing,
            (false, false) => self
                .asset(&joined, gzip)
                .map_or(Found::Missing, Found::Asset),
        }
    }

    fn index(&self, directory: &str, index: &[String], gzip: bool) -> Found {
        let slash = if directory.is_empty() { "" } else { "/" };
        let found = index
            .iter()
            .find_map(|name| self.asset(&format!("{directory}{slash}{name}"), gzip));
        found.map_or(Found::NoIndex, Found::Asset)
    }

    fn asset(&self, path: &str, gzip: bool) -> Option<Asset> {
        let plain = self.files.get(path)?;
        let sibling = self.files.get(&format!("{path}.gz")[..]);
        let chosen = sibling.filter(|_| gzip);
        let file = chosen.unwrap_or(plain);
        Some(Asset {
            content: Content::Static(file.bytes),
            len: file.bytes.len() as u64,
            tag: file.tag.clone(),
            modified: None,
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            has_gzip: sibling.is_some(),
            is_gzip: chosen.is_some(),
        })
    }
}

/// Tags tell versions apart, they prove nothing: so the hash needs no key.
fn tag(bytes: &[u8]) -> String {
    format!("\"{:032x}\"", SipHasher24::new().hash(bytes).as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[(&str, &[u8])] = &[
        ("index.html", b"root"),
        ("demo/chat/index.html", b"chat"),
        ("demo/chat/app.js", b"plain"),
        ("demo/chat/app.js.gz", b"packed"),
    ];

    fn find(path: &str, gzip: bool) -> Found {
        let index = ["index.html".to_owned()];
        Embedded::new(FILES).find(&SitePath::parse(path).unwrap(), &index, gzip)
    }

    fn asset(path: &str, gzip: bool) -> Asset {
        match find(path, gzip) {
            Found::Asset(asset) => asset,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn files_and_indexes_are_found() {
        for (path, expected) in [
            ("/", &b"root"[..]),
            ("/index.html", b"root"),
            ("/demo/chat/", b"chat"),
            ("/demo/chat/index.html", b"chat"),
            ("/demo/chat/app.js", b"plain"),
        ] {
            let Content::Static(bytes) = asset(path, false).content else {
                panic!("{path}");
            };
            assert_eq!(bytes, expected, "{path}");
        }
        assert!(matches!(find("/demo/chat", false), Found::Directory));
        assert!(matches!(find("/demo/", false), Found::NoIndex));
        for path in [
            "/demo/chat/x",
            "/index.html/",
            "/dem",
            "/demo/chat/app",
            "/chat/",
        ] {
            assert!(matches!(find(path, false), Found::Missing), "{path}");
        }
        let nothing = Embedded::new(&[]);
        let root = SitePath::parse("/").unwrap();
        assert!(matches!(nothing.find(&root, &[], false), Found::Missing));
    }

    #[test]
    fn compressed_forms_and_tags() {
        let (plain, packed) = (
            asset("/demo/chat/app.js", false),
            asset("/demo/chat/app.js", true),
        );
        assert_eq!((plain.has_gzip, plain.is_gzip), (true, false));
        assert_eq!((packed.has_gzip, packed.is_gzip), (true, true));
        assert_eq!(packed.name, "app.js");
        assert_ne!(plain.tag, packed.tag);
        assert_eq!(plain.tag, asset("/demo/chat/app.js", false).tag);
        assert_eq!(asset("/", false).name, "index.html");
    }
}
