//! SIGTERM and SIGINT: the first is told to the program, the second ends it. To a server SIGHUP is
//! told every time; others it ends, as their terminal is gone.

#[cfg(unix)]
pub(super) use unix::Signals;

#[cfg(not(unix))]
pub(super) use elsewhere::Signals;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

#[cfg(unix)]
mod unix {
    use std::io::{self, Read};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::{flag, low_level};

    use super::Signal;

    /// Waits for signals.
    pub(in crate::cli) struct Signals {
        told: UnixStream,
        stop: Arc<AtomicBool>,
        reload: Arc<AtomicBool>,
    }

    impl Signals {
        /// From here on the first signal does not end the process, but the second does; and if
        /// `reloads`, SIGHUP never does.
        pub(in crate::cli) fn catch(reloads: bool) -> io::Result<Self> {
            let (told, tell) = UnixStream::pair()?;
            let reload = Arc::new(AtomicBool::new(false));
            if reloads {
                flag::register(SIGHUP, Arc::clone(&reload))?;
                low_level::pipe::register(SIGHUP, tell.try_clone()?)?;
            }
            let seen = Arc::new(AtomicBool::new(false));
            for signal in [SIGTERM, SIGINT] {
                // In this order: the first signal only sets what makes the next one deadly.
                flag::register_conditional_default(signal, Arc::clone(&seen))?;
                flag::register(signal, Arc::clone(&seen))?;
                low_level::pipe::register(signal, tell.try_clone()?)?;
            }
            Ok(Self {
                told,
                stop: seen,
                reload,
            })
        }

        /// Blocks until a signal.
        pub(in crate::cli) fn wait(&mut self) -> io::Result<Signal> {
            loop {
                self.told.read_exact(&mut [0])?;
                if self.stop.load(Ordering::SeqCst) {
                    return Ok(Signal::Stop);
                }
                // What came twice before it was looked at is done once.
                if self.reload.swap(false, Ordering::SeqCst) {
                    return Ok(Signal::Reload);
                }
            }
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

    use super::Signal;

    /// Waits for the first signal.
    pub(in crate::cli) struct Signals {
        seen: Arc<AtomicBool>,
    }

    impl Signals {
        /// From here on the first signal does not end the process, but the second does. There is
        /// no SIGHUP here.
        pub(in crate::cli) fn catch(_reloads: bool) -> io::Result<Self> {
            let seen = Arc::new(AtomicBool::new(false));
            for signal in [SIGTERM, SIGINT] {
                flag::register_conditional_shutdown(signal, 1, Arc::clone(&seen))?;
                flag::register(signal, Arc::clone(&seen))?;
            }
            Ok(Self { seen })
        }

        /// Blocks until the first signal.
        pub(in crate::cli) fn wait(&mut self) -> io::Result<Signal> {
            while !self.seen.load(Ordering::SeqCst) {
                thread::park_timeout(Duration::from_millis(100));
            }
            Ok(Signal::Stop)
        }
    }
}
