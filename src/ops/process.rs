//! What the system says about this process.

/// Figures of the running process; those that the system does not tell are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// CPU time used so far, all threads, user and system; seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory of the process that is in RAM; bytes.
    pub resident_bytes: Option<u64>,
    /// Open files, sockets included.
    pub open_files: Option<u64>,
    /// Most files that may be open.
    pub file_limit: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// Asks the system: `/proc` on Linux; elsewhere only the file limit is known.
pub fn process() -> Process {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    let (stat, status) = if cfg!(target_os = "linux") {
        (read("stat"), read("status"))
    } else {
        (None, None)
    };
    let status = status.as_deref().unwrap_or_default();
    Process {
        cpu_seconds: stat.as_deref().and_then(cpu_seconds),
        resident_bytes: field(status, "VmRSS:").map(|kibibytes| kibibytes * 1024),
        open_files: open_files(),
        file_limit: file_limit(),
        threads: field(status, "Threads:"),
    }
}

/// User and system time from `stat`.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The kernel counts in its unit for user space, which is 1/100 s on all current platforms.
    const TICKS_PER_SECOND: f64 = 100.0;
    // The second field is the program's name, which may contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11);
    let user: u32 = times.next()?.parse().ok()?;
    let system: u32 = times.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// A number from `status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    // One of them is the listing itself.
    let listed = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(listed.saturating_sub(1))
}

fn file_limit() -> Option<u64> {
    #[cfg(unix)]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    return None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 8 0 9";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(cpu_seconds("7 (x"), None);
        assert_eq!(cpu_seconds("7 (x) S 1"), None);
        let status = "Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t  5120 kB\nThreads:\t4\n";
        assert_eq!(field(status, "VmRSS:"), Some(5120));
        assert_eq!(field(status, "Threads:"), Some(4));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process() {
        let process = process();
        assert!(process.cpu_seconds.is_some());
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.open_files.unwrap() >= 3);
        assert!(process.threads.unwrap() >= 1);
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let limit = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let limit = limit.unwrap().split_ascii_whitespace().next().unwrap();
        assert_eq!(process.file_limit, limit.parse().ok());
    }
}
