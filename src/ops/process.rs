//! What the system says about this process.

use crate::counters::Family;
use crate::counters::Kind::{Counter, Gauge};
use crate::util::machine::file_limit;

/// Figures of the running process, from `/proc` on Linux; elsewhere only the file limit is known.
/// What the system does not tell is absent.
pub(super) fn process() -> Vec<Family> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
    let (stat, status) = if cfg!(target_os = "linux") {
        (read("stat"), read("status"))
    } else {
        (None, None)
    };
    let status = status.as_deref().unwrap_or_default();
    let number = |value: Option<u64>| value.map(|value| value as f64);
    let cpu = stat.as_deref().and_then(cpu_seconds);
    let resident = field(status, "VmRSS:").map(|kibibytes| kibibytes * 1024);
    let threads = number(field(status, "Threads:"));
    let (open, most) = (number(open_files()), number(file_limit()));
    let table = [
        (
            Counter,
            "process_cpu_seconds_total",
            "CPU time of the process.",
            cpu,
        ),
        (
            Gauge,
            "process_resident_memory_bytes",
            "Memory in RAM.",
            number(resident),
        ),
        (
            Gauge,
            "process_open_fds",
            "Open files, sockets included.",
            open,
        ),
        (
            Gauge,
            "process_max_fds",
            "Most files that may be open.",
            most,
        ),
        (Gauge, "process_threads", "Threads of the process.", threads),
    ];
    let known = table
        .into_iter()
        .filter_map(|(kind, name, help, value)| Some(Family::new(kind, name, help).number(value?)));
    known.collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc_are_read() {
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
        let families = process();
        let number = |name: &str| {
            let found = families.iter().find(|family| family.name == name);
            found.map(|family| family.samples[0].1)
        };
        assert!(number("process_cpu_seconds_total").is_some());
        assert!(number("process_resident_memory_bytes").unwrap() > 100_000.0);
        assert!(number("process_open_fds").unwrap() >= 3.0);
        assert!(number("process_threads").unwrap() >= 1.0);
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let limit = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let limit = limit.unwrap().split_ascii_whitespace().next().unwrap();
        assert_eq!(number("process_max_fds"), limit.parse().ok());
    }
}
