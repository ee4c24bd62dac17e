//! Files below a directory of the file system.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use super::path::{SitePath, is_servable};
use super::serve::{Asset, Content, Found};

/// A directory whose files are served.
#[derive(Clone, Debug)]
pub(super) struct DocumentRoot {
    /// Absolute and free of links, so that what lies below it begins with it.
    root: PathBuf,
}

impl DocumentRoot {
    /// Serves the files below `path`.
    ///
    /// # Errors
    ///
    /// If it is not there or no directory.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = fs::canonicalize(path)?;
        if !fs::metadata(&root)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        Ok(Self { root })
    }

    /// Looks for what a path means; `gzip` says whether the compressed form will do.
    pub(super) fn find(&self, path: &SitePath, index: &[String], gzip: bool) -> Found {
        let place = path.below(&self.root);
        let outcome = self.resolve(&place).and_then(|real| {
            let is_dir = fs::metadata(&real)?.is_dir();
            match (is_dir, path.is_directory()) {
                (true, true) => self.index(&place, index, gzip),
                (true, false) => Ok(Found::Directory),
                (false, true) => Ok(Found::Missing),
                (false, false) => self.asset(&place, path.name(), gzip),
            }
        });
        outcome.unwrap_or_else(|error| not_found(&place, &error))
    }

    fn index(&self, directory: &Path, index: &[String], gzip: bool) -> io::Result<Found> {
        for name in index {
            match self.asset(&directory.join(name), name, gzip) {
                Ok(Found::Missing) => {}
                Err(error) if is_absence(&error) => {}
                other => return other,
            }
        }
        Ok(Found::NoIndex)
    }

    /// Opens the file at a place, or its compressed sibling.
    fn asset(&self, place: &Path, name: &str, gzip: bool) -> io::Result<Found> {
        let Some(plain) = self.open_file(place)? else {
            return Ok(Found::Missing);
        };
        let sibling = self.sibling(place, &plain);
        let has_gzip = sibling.is_some();
        let (opened, is_gzip) = match sibling {
            Some(sibling) if gzip => (sibling, true),
            _ => (plain, false),
        };
        Ok(Found::Asset(Asset {
            tag: tag(&opened, is_gzip),
            content: Content::File(opened.file),
            len: opened.len,
            modified: opened.modified,
            name: name.to_owned(),
            has_gzip,
            is_gzip,
        }))
    }

    /// The compressed form of a file, if it is not older than the plain one.
    fn sibling(&self, place: &Path, plain: &Opened) -> Option<Opened> {
        let mut name = place.as_os_str().to_owned();
        name.push(".gz");
        let sibling = self.open_file(Path::new(&name)).ok()??;
        (sibling.modified >= plain.modified).then_some(sibling)
    }

    /// Opens a plain file. Its kind is looked at before, since opening a pipe would wait for its
    /// other end. Whoever can exchange files below the root between the look and the opening can
    /// as well put the files there.
    fn open_file(&self, place: &Path) -> io::Result<Option<Opened>> {
        let real = self.resolve(place)?;
        if !fs::metadata(&real)?.is_file() {
            return Ok(None);
        }
        let file = File::open(&real)?;
        let metadata = file.metadata()?;
        let (len, modified) = (metadata.len(), metadata.modified().ok());
        Ok(metadata.is_file().then_some(Opened {
            file,
            len,
            modified,
        }))
    }

    /// Follows all links; what then lies outside the root, or is hidden, is not there.
    fn resolve(&self, place: &Path) -> io::Result<PathBuf> {
        let real = fs::canonicalize(place)?;
        let below = real
            .strip_prefix(&self.root)
            .map_err(|_| ErrorKind::NotFound)?;
        let servable = below.components().all(|part| match part {
            Component::Normal(name) => name.to_str().is_some_and(is_servable),
            _ => false,
        });
        if servable {
            Ok(real)
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }
}

impl Asset {
    /// Reads a file that is short.
    pub(super) fn read_ahead(mut self) -> Found {
        if let Content::File(file) = &mut self.content {
            let len = usize::try_from(self.len).unwrap_or(usize::MAX);
            if len <= SHORT {
                let mut bytes = vec![0; len];
                if let Err(error) = file.read_exact(&mut bytes) {
                    log::warn!("a file cannot be read: {error}");
                    return Found::Trouble;
                }
                self.content = Content::Read(bytes);
            }
        }
        Found::Asset(self)
    }
}

/// Files of so many bytes are read when they are opened.
const SHORT: usize = 64 << 10;

struct Opened {
    file: File,
    len: u64,
    modified: Option<SystemTime>,
}

fn tag(opened: &Opened, is_gzip: bool) -> String {
    let since = opened
        .modified
        .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let nanoseconds = since.unwrap_or_default().as_nanos();
    let form = if is_gzip { "-gz" } else { "" };
    format!("\"{nanoseconds:x}-{:x}{form}\"", opened.len)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput
    )
}

fn not_found(place: &Path, error: &io::Error) -> Found {
    if is_absence(error) {
        return Found::Missing;
    }
    if error.kind() == ErrorKind::PermissionDenied {
        log::debug!("not allowed to read {}", place.display());
        return Found::Unreadable;
    }
    log::warn!("cannot open {}: {error}", place.display());
    Found::Trouble
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::TempDir;
    use std::time::Duration;

    /// Whoever runs the tests may often read everything.
    #[test]
    fn errors_of_the_system_are_told_apart() {
        let found = |kind: ErrorKind| not_found(Path::new("x"), &kind.into());
        assert!(matches!(
            found(ErrorKind::PermissionDenied),
            Found::Unreadable
        ));
        assert!(matches!(found(ErrorKind::NotFound), Found::Missing));
        assert!(matches!(found(ErrorKind::NotADirectory), Found::Missing));
        assert!(matches!(found(ErrorKind::Other), Found::Trouble));
    }

    fn site() -> TempDir {
        let dir = TempDir::new();
        dir.write("outside.txt", "secret");
        dir.write("root-beside/outside.txt", "secret");
        dir.write("root/index.html", "root");
        dir.write("root/a b.txt", "spaced");
        dir.write("root/sub/index.htm", "sub");
        dir.write("root/none/file.txt", "file");
        dir.write("root/odd/index.html/x", "index is a directory");
        dir.write("root/.hidden", "secret");
        dir.write("root/.git/config", "secret");
        dir
    }

    fn find(dir: &TempDir, path: &str, gzip: bool) -> Found {
        let root = DocumentRoot::open(&dir.path().join("root")).unwrap();
        let index = ["index.html".to_owned(), "index.htm".to_owned()];
        root.find(&SitePath::parse(path).unwrap(), &index, gzip)
    }

    fn text(found: Found) -> String {
        let Found::Asset(Asset {
            content: Content::File(mut file),
            len,
            ..
        }) = found
        else {
            panic!("{found:?}");
        };
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text.len() as u64, len);
        text
    }

    #[test]
    fn files_and_indexes_are_found() {
        let dir = site();
        for (path, content) in [
            ("/", "root"),
            ("/index.html", "root"),
            ("/a%20b.txt", "spaced"),
            ("/sub/", "sub"),
            ("/none/file.txt", "file"),
        ] {
            assert_eq!(text(find(&dir, path, false)), content, "{path}");
        }
        assert!(matches!(find(&dir, "/sub", false), Found::Directory));
        assert!(matches!(find(&dir, "/none/", false), Found::NoIndex));
        assert!(matches!(find(&dir, "/odd/", false), Found::NoIndex));
        for path in [
            "/nothing",
            "/nothing/",
            "/index.html/",
            "/index.html/x",
            "/sub/nothing",
        ] {
            assert!(matches!(find(&dir, path, false), Found::Missing), "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_nowhere_outside_nor_to_what_is_hidden() {
        let dir = site();
        let link = |aim: &str, name: &str| {
            std::os::unix::fs::symlink(aim, dir.path().join("root").join(name)).unwrap();
        };
        link("../outside.txt", "link.txt");
        link("..", "up");
        link("/etc/passwd", "passwd");
        link("../root-beside", "beside");
        link(".hidden", "shown");
        link(".git", "git");
        link("loop", "loop");
        link("nowhere", "dangling");
        link("none/file.txt", "inside.txt");
        link("sub", "other");
        let hostile = [
            "/link.txt",
            "/up/outside.txt",
            "/up/",
            "/up",
            "/passwd",
            "/beside/outside.txt",
            "/shown",
            "/git/config",
            "/git/",
            "/dangling",
        ];
        for path in hostile {
            assert!(matches!(find(&dir, path, false), Found::Missing), "{path}");
        }
        assert!(!matches!(find(&dir, "/loop", false), Found::Asset(_)));
        assert_eq!(text(find(&dir, "/inside.txt", false)), "file");
        assert_eq!(text(find(&dir, "/other/", false)), "sub");
    }

    #[test]
    fn the_compressed_form_is_taken_when_it_will_do_and_is_fresh() {
        let dir = site();
        dir.write("root/app.js", "plain");
        let packed = dir.write("root/app.js.gz", "packed");
        let forms = |gzip| match find(&dir, "/app.js", gzip) {
            Found::Asset(asset) => (asset.has_gzip, asset.is_gzip, asset.name, asset.tag),
            other => panic!("{other:?}"),
        };
        let (plain, gzip) = (forms(false), forms(true));
        assert_eq!(
            (plain.0, plain.1, gzip.0, gzip.1),
            (true, false, true, true)
        );
        assert_eq!((&gzip.2[..], plain.3 == gzip.3), ("app.js", false));
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        File::options()
            .write(true)
            .open(&packed)
            .unwrap()
            .set_modified(old)
            .unwrap();
        assert_eq!(text(find(&dir, "/app.js", true)), "plain");
        assert!(!forms(true).0);
        assert_eq!(text(find(&dir, "/app.js.gz", true)), "packed");
    }

    #[test]
    fn tags_change_with_time_and_length() {
        let dir = site();
        let path = dir.write("root/x", "1");
        let tag = || match find(&dir, "/x", false) {
            Found::Asset(asset) => asset.tag,
            other => panic!("{other:?}"),
        };
        let set = |seconds| {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_modified(moment)
                .unwrap();
        };
        set(1000);
        let first = tag();
        assert_eq!(first, tag());
        set(1001);
        let second = tag();
        dir.write("root/x", "12");
        set(1000);
        assert!(first != second && first != tag());
        assert!(first.starts_with('"') && first.ends_with('"'));
    }

    #[test]
    fn what_cannot_be_opened_is_told_apart() {
        let place = Path::new("/x");
        let outcome = |kind: ErrorKind| not_found(place, &kind.into());
        assert!(matches!(outcome(ErrorKind::NotFound), Found::Missing));
        assert!(matches!(outcome(ErrorKind::NotADirectory), Found::Missing));
        assert!(matches!(
            outcome(ErrorKind::PermissionDenied),
            Found::Unreadable
        ));
        assert!(matches!(outcome(ErrorKind::OutOfMemory), Found::Trouble));
    }

    #[cfg(unix)]
    #[test]
    fn sockets_and_other_odd_things_are_not_served() {
        let dir = site();
        let _socket =
            std::os::unix::net::UnixListener::bind(dir.path().join("root/socket")).unwrap();
        assert!(matches!(find(&dir, "/socket", false), Found::Missing));
    }

    #[test]
    fn the_root_must_be_a_directory() {
        let dir = site();
        assert!(DocumentRoot::open(&dir.path().join("nothing")).is_err());
        assert!(DocumentRoot::open(&dir.path().join("outside.txt")).is_err());
    }
}
