//! What the machine offers: defaults that follow it.

use std::thread::available_parallelism;

/// More than this is no default, whatever the file limit says: some systems allow a billion files,
/// and a machine that holds more connections has somebody who sets the number.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// Raises the limit of open files to what the system allows, and tells what it is then; `None`
/// where there is no such limit.
///
/// To be called before [`Config::default`](crate::Config::default), whose `max_connections` follows
/// the limit. Changes the whole process, so a library does not do it by itself; the program does.
pub fn raise_file_limit() -> Option<u64> {
    #[cfg(all(unix, feature = "tcp"))]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            let raised = Rlimit {
                current: limit.maximum,
                maximum: limit.maximum,
            };
            // Refused on some systems above a limit of the kernel; then it stays as it is.
            let _ = setrlimit(Resource::Nofile, raised);
        }
    }
    file_limit()
}

/// How many files, so also sockets, the process may have open.
pub(crate) fn file_limit() -> Option<u64> {
    #[cfg(all(unix, feature = "tcp"))]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(all(unix, feature = "tcp")))]
    return None;
}

/// The part of the file limit that connections may take.
pub(crate) fn connections() -> String {
    share_for_connections(file_limit()).to_string()
}

/// A tenth stays for files, the internal site, and clients of one's own.
fn share_for_connections(limit: Option<u64>) -> u64 {
    let limit = limit.unwrap_or(u64::MAX);
    (limit / 10 * 9 + limit % 10 * 9 / 10).clamp(1, MOST_CONNECTIONS)
}

/// One I/O thread for each core.
pub(crate) fn io_threads() -> String {
    cores().min(256).to_string()
}

/// Twice the cores: user code may block.
pub(crate) fn workers() -> String {
    (2 * cores()).min(1024).to_string()
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_follow_the_cores() {
        let cores = available_parallelism().unwrap().get();
        assert_eq!(io_threads(), cores.min(256).to_string());
        assert_eq!(workers(), (2 * cores).min(1024).to_string());
    }

    #[test]
    fn connections_follow_the_file_limit() {
        for (limit, connections) in [
            (Some(0), 1),
            (Some(1024), 921),
            (Some(100_000), 90_000),
            (Some(u64::MAX), MOST_CONNECTIONS),
            (None, MOST_CONNECTIONS),
        ] {
            assert_eq!(share_for_connections(limit), connections, "{limit:?}");
        }
    }
}
