//! What is asked of a running server: a handler of an internal site.

use std::sync::Arc;

use super::exposition::exposition;
use super::process::process;
use crate::counters::Family;
use crate::http::{Body, ContentRequest, Mount, Response};

/// Who knows the numbers.
pub(crate) trait Source: Send + Sync + 'static {
    /// Whether new clients are welcome: not while draining.
    fn is_ready(&self) -> bool;

    /// The numbers now. Called for each request of `/metrics`, from any thread; what the system
    /// says about the process is added by the caller.
    fn families(&self) -> Vec<Family>;
}

/// Health and metrics, for [`Site::internal`](crate::http::Site::internal): `/healthz`, `/readyz`
/// and `/metrics`, and 404 for all else that no other handler has.
pub(crate) fn handler(source: Arc<dyn Source>) -> Mount {
    Mount::new("/", MAX_BODY, move |request: &ContentRequest| {
        answer(&request.method, &request.path, &*source)
    })
}

/// Nothing here has a use for a body. A short one is read past, so that its request is told that
/// the method is wrong.
const MAX_BODY: usize = 1024;

fn answer(method: &str, path: &str, source: &dyn Source) -> Response {
    if !matches!(method, "GET" | "HEAD") {
        return Response::text(405, "only GET and HEAD").header("Allow", "GET, HEAD");
    }
    match path {
        "/healthz" => Response::text(200, "ok"),
        "/readyz" if source.is_ready() => Response::text(200, "ready"),
        "/readyz" => Response::text(503, "draining"),
        "/metrics" => {
            let mut families = source.families();
            families.extend(process());
            Response {
                body: Body::Bytes(exposition(&families).into_bytes()),
                ..Response::uncached(200, "text/plain; version=0.0.4; charset=utf-8")
            }
        }
        _ => Response::text(404, "there are /healthz, /readyz and /metrics"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Kind;

    struct Server {
        ready: bool,
    }

    impl Source for Server {
        fn is_ready(&self) -> bool {
            self.ready
        }

        fn families(&self) -> Vec<Family> {
            vec![Family::new(Kind::Gauge, "bayeux_sessions", "Sessions.").number(5.0)]
        }
    }

    fn text(response: &Response) -> &str {
        std::str::from_utf8(response.body.in_memory().unwrap()).unwrap()
    }

    #[test]
    fn answers() {
        for (ready, method, target, status, body) in [
            (true, "GET", "/healthz", 200, "ok\n"),
            (true, "HEAD", "/healthz", 200, "ok\n"),
            (false, "GET", "/healthz", 200, "ok\n"),
            (true, "GET", "/readyz", 200, "ready\n"),
            (false, "GET", "/readyz", 503, "draining\n"),
            (true, "POST", "/healthz", 405, "only GET and HEAD\n"),
            (
                true,
                "GET",
                "/",
                404,
                "there are /healthz, /readyz and /metrics\n",
            ),
            (
                true,
                "GET",
                "/metrics/",
                404,
                "there are /healthz, /readyz and /metrics\n",
            ),
        ] {
            let answer = answer(method, target, &Server { ready });
            assert_eq!(answer.status, status, "{method} {target}");
            assert_eq!(text(&answer), body, "{method} {target}");
            let headers = String::from_utf8_lossy(&answer.headers);
            assert!(headers.contains("Cache-Control: no-store\r\n"), "{headers}");
            assert_eq!(headers.contains("Allow: GET, HEAD\r\n"), status == 405);
        }
    }

    #[test]
    fn metrics() {
        let answer = answer("GET", "/metrics", &Server { ready: true });
        let headers = String::from_utf8_lossy(&answer.headers);
        assert_eq!(
            headers,
            "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
        );
        assert!(text(&answer).contains("\nbayeux_sessions 5\n"));
        assert_eq!(
            text(&answer).contains("\nprocess_cpu_seconds_total "),
            cfg!(target_os = "linux")
        );
    }
}
