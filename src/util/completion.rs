//! A result that another thread will bring.

use std::sync::Arc;

use parking_lot::Mutex;

/// Who is told that the result is there.
pub(crate) trait Notify {
    /// Called on the thread that brought the result, once. Must not block.
    fn notify(&self);
}

/// Where the result will be.
pub(crate) struct Completion<T, N>(Arc<Shared<T, N>>);

/// The duty to bring the result. Dropped without, it brings what stands for a lost one, so that
/// nobody waits for ever.
pub(crate) struct Promise<T, N: Notify> {
    shared: Option<Arc<Shared<T, N>>>,
    lost: fn() -> T,
}

struct Shared<T, N> {
    notify: N,
    result: Mutex<Option<T>>,
}

impl<T, N: Notify> Completion<T, N> {
    /// Both ends.
    pub(crate) fn new(notify: N, lost: fn() -> T) -> (Self, Promise<T, N>) {
        let result = Mutex::new(None);
        let shared = Arc::new(Shared { notify, result });
        let promise = Promise {
            shared: Some(Arc::clone(&shared)),
            lost,
        };
        (Self(shared), promise)
    }

    /// The result, if it is there; it can be taken once.
    pub(crate) fn take(&self) -> Option<T> {
        self.0.result.lock().take()
    }
}

impl<T, N: Notify> Promise<T, N> {
    pub(crate) fn complete(mut self, result: T) {
        self.bring(|| result);
    }

    fn bring(&mut self, result: impl FnOnce() -> T) {
        if let Some(shared) = self.shared.take() {
            *shared.result.lock() = Some(result());
            shared.notify.notify();
        }
    }
}

impl<T, N: Notify> Drop for Promise<T, N> {
    fn drop(&mut self) {
        self.bring(self.lost);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    impl Notify for Arc<AtomicUsize> {
        fn notify(&self) {
            self.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_result_comes_once_and_so_does_the_word_of_it() {
        let told = Arc::new(AtomicUsize::new(0));
        let (completion, promise) = Completion::new(Arc::clone(&told), || "lost");
        assert_eq!((completion.take(), told.load(Ordering::Relaxed)), (None, 0));
        promise.complete("done");
        assert_eq!(
            (completion.take(), told.load(Ordering::Relaxed)),
            (Some("done"), 1)
        );
        assert_eq!(completion.take(), None);
        let (completion, promise) = Completion::new(Arc::clone(&told), || "lost");
        drop(promise);
        assert_eq!(
            (completion.take(), told.load(Ordering::Relaxed)),
            (Some("lost"), 2)
        );
    }
}
