//! Abusers share the processors with the server and with the clients that are measured.

/// From now on the calling thread, with all that it starts, stands back: what is measured is what a
/// server does for abusers, not what they do themselves. For figures it runs only when nobody else
/// wants to; in a test, where deadlines count and others are busy too, just less often.
pub(crate) fn stand_back(for_figures: bool) {
    // Linux counts both for the thread alone.
    if !cfg!(target_os = "linux") {
        return;
    }
    if for_figures && is_idle() {
        return;
    }
    let _ = rustix::process::nice(10);
}

/// Whether `chrt` could make it so.
fn is_idle() -> bool {
    let thread = std::fs::read_link("/proc/thread-self").unwrap_or_default();
    let Some(number) = thread.file_name() else {
        return false;
    };
    let mut chrt = std::process::Command::new("chrt");
    let status = chrt.args(["--idle", "--pid", "0"]).arg(number).status();
    status.is_ok_and(|status| status.success())
}
