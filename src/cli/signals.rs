//! SIGTERM and SIGINT: the first is told to the program, the second ends it.

#[cfg(unix)]
pub(super) use unix::Signals;

#[cfg(not(unix))]
pub(super) use elsewhere::Signals;

#[cfg(unix)]
mod unix {
    use std::io::{self, Read};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::{flag, low_level};

    /// Waits for the first signal.
    pub(in crate::cli) struct Signals {
        told: UnixStream,
    }

    impl Signals {
        /// From here on the first signal does not end the process, but the second does.
        pub(in crate::cli) fn catch() -> io::Result<Self> {
            let (told, tell) = UnixStream::pair()?;
            let seen = Arc::new(AtomicBool::new(false));
            for signal in [SIGTERM, SIGINT] {
                // In this order: the first signal only sets what makes the next one deadly.
                flag::register_conditional_default(signal, Arc::clone(&seen))?;
                flag::register(signal, Arc::clone(&seen))?;
                low_level::pipe::register(signal, tell.try_clone()?)?;
            }
            Ok(Self { told })
        }

        /// Blocks until the first signal.
        pub(in crate::cli) fn wait(mut self) -> io::Result<()> {
            self.told.read_exact(&mut [0])
        }
    }
}

#[cfg(not(unix))]
mod elsewhere {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use std::time::Duration;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;

    /// Waits for the first signal.
    pub(in crate::cli) struct Signals {
        seen: Arc<AtomicBool>,
    }

    impl Signals {
        /// From here on the first signal does not end the process, but the second does.
        pub(in crate::cli) fn catch() -> io::Result<Self> {
            let seen = Arc::new(AtomicBool::new(false));
            for signal in [SIGTERM, SIGINT] {
                flag::register_conditional_shutdown(signal, 1, Arc::clone(&seen))?;
                flag::register(signal, Arc::clone(&seen))?;
            }
            Ok(Self { seen })
        }

        /// Blocks until the first signal.
        pub(in crate::cli) fn wait(self) -> io::Result<()> {
            while !self.seen.load(Ordering::SeqCst) {
                thread::park_timeout(Duration::from_millis(100));
            }
            Ok(())
        }
    }
}
