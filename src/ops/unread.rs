//! Requests whose body has not been read: dropping one reads the rest of it, however long that
//! takes and however much memory the declared length asks for.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tiny_http::{Request, Response};

/// Bodies up to this length have been read by the library when the request comes here.
const READ_AHEAD: usize = 1024;
/// A declared length beyond this may not be dropped: the memory for it is asked for at once, and
/// the process ends if there is none.
const MOST_DROPPED: usize = 64 << 20;
/// Requests that may be waiting for the rest of their bodies at a time.
const MOST_WAITING: usize = 4;

/// Gets rid of requests with unread bodies. Nothing here has a use for a body.
#[derive(Default)]
pub(super) struct Unread {
    waiting: Arc<AtomicUsize>,
}

impl Unread {
    /// The request, if it can be answered and dropped without waiting for its client. If not it is
    /// refused on a thread of its own.
    pub(super) fn keep_if_read(&self, request: Request) -> Option<Request> {
        let length = request.body_length().unwrap_or(0);
        let expects = request
            .headers()
            .iter()
            .any(|header| header.field.equiv("Expect"));
        if length == 0 || (length <= READ_AHEAD && !expects) {
            return Some(request);
        }
        let places = self.waiting.fetch_add(1, Ordering::Relaxed);
        if length > MOST_DROPPED || places >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            log::warn!("operations listener: request with {length} bytes left alone");
            // Its connection stays open unanswered, which costs one file and one sleeping thread.
            mem::forget(request);
            return None;
        }
        let waiting = Arc::clone(&self.waiting);
        let refuse = move || {
            // A client that gets its answer closes, which ends the waiting.
            let _ =
                request.respond(Response::from_string("no bodies here\n").with_status_code(413));
            waiting.fetch_sub(1, Ordering::Relaxed);
        };
        if let Err(error) = thread::Builder::new()
            .name("ops-refuse".to_owned())
            .spawn(refuse)
        {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            log::warn!("operations listener: no thread: {error}");
        }
        None
    }
}
