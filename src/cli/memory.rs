//! Gives memory back to the system.
//!
//! glibc keeps what is freed, and much of it for good: blocks as large as one that was freed before
//! come from the heap from then on, and of a heap only the end is returned. After a storm the
//! process would look as large as in its middle. Other allocators are left alone.

use std::io;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::io;
    use std::thread;
    use std::time::Duration;

    /// Blocks of at least so many bytes are mapped one by one, and unmapped when they are freed.
    /// Bodies and responses of most applications are smaller.
    const MAPPED: libc::c_int = 128 << 10;
    /// How often free pages inside the heaps are looked for. To do so takes well under a
    /// millisecond, or a few with tens of thousands of clients.
    const PERIOD: Duration = Duration::from_secs(5);

    pub(super) fn start() -> io::Result<()> {
        // SAFETY: sets a parameter of the allocator; any thread may do so at any time.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        }
        let thread = thread::Builder::new().name("bayeux-trim".to_owned());
        thread.spawn(run)?;
        Ok(())
    }

    /// Ends with the process.
    fn run() {
        loop {
            thread::park_timeout(PERIOD);
            // SAFETY: frees nothing that is in use; any thread may call it at any time.
            #[allow(unsafe_code)]
            unsafe {
                libc::malloc_trim(0);
            }
        }
    }
}

/// Begins to; call it once, before other threads are started.
pub(super) fn give_back() -> io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::start()?;
    Ok(())
}
